//! `StdoutStream`: writes to circusd's own stdout as it comes (spec h). On a terminal, control characters are made visible.

use super::render::Look;
use super::settings::{Settings, StreamError};
use super::{StreamClassRow, StreamSetup, Target};

pub(super) const ROW: StreamClassRow = StreamClassRow {
    name: "StdoutStream",
    summary: "Writes to the standard output of circusd.",
    settings: &[],
    note: None,
    build,
};

#[allow(clippy::unnecessary_wraps, reason = "the signature of StreamClassRow::build")]
fn build(_: &Settings<'_>) -> Result<StreamSetup, StreamError> {
    Ok(StreamSetup { target: Target::Stdout, look: Look::Raw })
}
