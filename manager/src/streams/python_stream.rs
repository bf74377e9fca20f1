//! A stream class that is written in Python, by its dotted name (spec h): it is called with what processes write. How, and by
//! whom, is in [`python`](super::python).

use super::render::Look;
use super::settings::{Settings, StreamError};
use super::wrapping::Wrapping;
use super::{StreamClassRow, StreamSetup, Target};

pub(super) const ROW: StreamClassRow = StreamClassRow {
    name: "package.module.Class",
    summary: "Your own class, in a Python of its own: made with the other settings as keyword arguments, called with output.",
    settings: &[],
    note: None,
    build,
};

#[allow(clippy::unnecessary_wraps, reason = "the signature of StreamClassRow::build")]
fn build(settings: &Settings<'_>) -> Result<StreamSetup, StreamError> {
    let target = Target::Python { class: settings.class().to_owned(), settings: settings.all().clone() };
    Ok(StreamSetup { target, look: Look::Wrapped(Wrapping::Calls) })
}
