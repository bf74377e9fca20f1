//! Captured output in the order of its arrival: runs of bytes between two records of a process's streams.

use super::Host;
use crate::message::{ProcessId, StreamState};
use crate::ring::{Record, Stream};

/// Bytes of one stream that arrived together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// Orders the runs of a process.
    pub seq: u64,
    /// Which stream.
    pub stream: Stream,
    /// First offset.
    pub from: u64,
    /// Offset behind the last.
    pub to: u64,
    /// Nanoseconds since the Unix epoch.
    pub realtime_ns: u64,
    /// Number of its record.
    pub record: u64,
}

/// Runs of `[from, state.head)` of one stream, at most about `bytes` of them. `record` is one at or before `from`, and
/// still in the ring; records of bytes that were dropped meanwhile are skipped.
pub fn runs(
    host: &impl Host,
    process: ProcessId,
    stream: Stream,
    state: &StreamState,
    (from, record): (u64, u64),
    bytes: u64,
) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    let mut gaps: Vec<u64> = Vec::new();
    let end = state.head.min(from.saturating_add(bytes));
    for number in record..state.records {
        let Some(record) = host.record(process, stream, number) else {
            break;
        };
        if let Some(last) = runs.last_mut() {
            last.to = record.offset.max(last.from).min(end);
        }
        if record.offset >= end {
            break;
        }
        if record.is_gap() {
            gaps.push(number);
        }
        runs.push(Run {
            seq: record.seq,
            stream,
            from: record.offset.max(from),
            to: end,
            realtime_ns: record.realtime_ns,
            record: number,
        });
    }
    runs.retain(|run| run.from < run.to && !gaps.contains(&run.record));
    runs
}

/// The record that covers `offset`, looked for from the newest backwards: for offsets near the end.
pub fn record_before(host: &impl Host, process: ProcessId, stream: Stream, state: &StreamState, offset: u64) -> u64 {
    let mut number = state.records.saturating_sub(1);
    let mut seq = u64::MAX;
    while let Some(record) = host.record(process, stream, number) {
        if record.seq >= seq || record == Record::default() {
            // The place has been used again, or given back: that record is gone.
            return number + 1;
        }
        if record.offset <= offset || number == 0 {
            break;
        }
        seq = record.seq;
        number -= 1;
    }
    number
}
