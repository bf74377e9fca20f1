//! `QueueStream`: nowhere. In Circus it is a queue in the memory of circusd, for programs that use Circus as a library; with a
//! configuration file nobody can read it and it only grows (spec h). Here output is taken and thrown away, and that is said.

use super::render::Look;
use super::settings::{Settings, StreamError};
use super::{StreamClassRow, StreamSetup, Target};

pub(super) const ROW: StreamClassRow = StreamClassRow {
    name: "QueueStream",
    summary: "Takes output and throws it away: nobody can read the queue that Circus keeps here.",
    settings: &[],
    note: Some("output is thrown away, because nobody can read such a queue from outside"),
    build,
};

#[allow(clippy::unnecessary_wraps, reason = "the signature of StreamClassRow::build")]
fn build(_: &Settings<'_>) -> Result<StreamSetup, StreamError> {
    Ok(StreamSetup { target: Target::Nowhere, look: Look::Raw })
}
