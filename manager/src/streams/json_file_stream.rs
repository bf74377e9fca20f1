//! `JsonFileStream`: one JSON object a line, in a file that is rotated like that of `FileStream`. Circus has no such class.
//!
//! Fields: `time` (RFC 3339, microseconds, offset), `watcher` (lower case), `wid`, `pid`, `stream`, `data` (the line without its
//! newline; bytes that are no UTF-8 become U+FFFD), and `partial: true` when the line goes on in the next object of that stream.

use super::file_stream::{BACKUP_COUNT, COMPRESS, FILENAME, FSYNC, MAX_AGE, MAX_BYTES, MAX_TOTAL_BYTES, sized_file};
use super::render::Look;
use super::settings::{Settings, StreamError};
use super::time_format::TimeFormat;
use super::wrapping::Wrapping;
use super::{StreamClassRow, StreamSetup};

pub(super) const ROW: StreamClassRow = StreamClassRow {
    name: "JsonFileStream",
    summary: "Appends one JSON object a line to a file; rotates it by size.",
    settings: &[FILENAME, MAX_BYTES, BACKUP_COUNT, COMPRESS, MAX_AGE, MAX_TOTAL_BYTES, FSYNC],
    note: None,
    build,
};

fn build(settings: &Settings<'_>) -> Result<StreamSetup, StreamError> {
    Ok(StreamSetup { target: sized_file(settings)?, look: Look::Wrapped(Wrapping::Json(TimeFormat::rfc_3339())) })
}
