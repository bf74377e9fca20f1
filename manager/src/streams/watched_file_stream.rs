//! `WatchedFileStream`: appends to a file that others move away, as logrotate(8) does (spec h). Every file is looked for before a
//! batch; here a new one at the path is usual and nobody is told.

use super::file_stream::{FILENAME, FSYNC, TIME_FORMAT, file, time_prefix};
use super::rotation::Rotation;
use super::settings::{Settings, StreamError};
use super::sink::Moves;
use super::{StreamClassRow, StreamSetup};

pub(super) const ROW: StreamClassRow = StreamClassRow {
    name: "WatchedFileStream",
    summary: "Appends to a file that other programs rotate; opens it anew when it was moved or deleted.",
    settings: &[FILENAME, TIME_FORMAT, FSYNC],
    note: None,
    build,
};

fn build(settings: &Settings<'_>) -> Result<StreamSetup, StreamError> {
    Ok(StreamSetup { target: file(settings, Rotation::Never, Moves::Usual)?, look: time_prefix(settings)? })
}
