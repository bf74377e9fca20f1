//! What circusd and the worker of a stream say to each other. Both ends come from the same binary, so nothing here has to
//! stay as it is.
//!
//! To the worker: one line of JSON, the [`Opening`]; then frames, one a call: length of the data, pid, stream, time of arrival,
//! data. From the worker: one line of JSON, an [`Answer`], for the opening and for each call, in order.

use crate::python::ImportFailure;
use ringmaster_protocol::ring::{Record, Stream};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Bytes of whole lines in one call, unless one line alone is longer: enough that a call costs nothing beside its work, and
/// few enough for a class that rotates a file before it writes.
pub(in crate::streams) const LONGEST_CALL: usize = 8 << 10;

/// Bytes of a frame before its data; `HEAD` in `worker.py`.
const HEAD: usize = 4 + 4 + 1 + 8;

/// The longest line that a worker may send: a traceback.
pub(super) const MAX_LINE: usize = 1 << 20;

/// Which object to make.
#[derive(Debug, Serialize)]
pub(super) struct Opening<'a> {
    pub(super) class: &'a str,
    pub(super) settings: &'a BTreeMap<String, String>,
    pub(super) path: Option<&'a str>,
}

/// From the worker.
#[derive(Debug, Deserialize)]
#[serde(tag = "said", rename_all = "snake_case")]
pub(super) enum Answer {
    /// The object is there.
    Ready,
    /// A call has returned.
    Taken,
    /// A call has raised.
    Raised { message: String, traceback: String },
    /// The class cannot be found.
    NoImport(ImportFailure),
    /// The class has raised when it was called for an object.
    NoObject { message: String, traceback: String },
}

/// Appends the frame of one call.
pub(in crate::streams) fn call(data: &[u8], record: Record, pid: i32, stream: Stream, out: &mut Vec<u8>) {
    out.extend_from_slice(&u32::try_from(data.len()).unwrap_or(0).to_le_bytes());
    out.extend_from_slice(&pid.to_le_bytes());
    out.push(if stream == Stream::Stdout { 0 } else { 1 });
    out.extend_from_slice(&record.realtime_ns.to_le_bytes());
    out.extend_from_slice(data);
}

/// The length of the frame that `frames` begins with.
pub(super) fn first_frame(frames: &[u8]) -> Option<usize> {
    let (length, _) = frames.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()? + HEAD;
    (length <= frames.len()).then_some(length)
}
