//! How far streams are taken, until the loop is told: it wakes for that, and so does the core, so one word about many batches
//! is better than one about each.
//!
//! Nothing waits for it in vain: it is told when no more is at hand, after as many bytes as a large batch has, and before the
//! word that the last of a process is written.

use super::Worker;
use crate::streams::cursor::BATCH;
use crate::streams::report::ScribeReport;
use ringmaster_protocol::message::ProcessId;
use ringmaster_protocol::ring::Stream;
use std::collections::BTreeMap;

/// Offsets that were not told yet.
#[derive(Debug, Default)]
pub(super) struct Taken {
    offsets: BTreeMap<(ProcessId, Stream), u64>,
    bytes: u64,
}

impl Taken {
    /// A stream is taken up to `offset`, and that is `bytes` more than before.
    pub(super) fn note(&mut self, process: ProcessId, stream: Stream, (offset, bytes): (u64, u64)) {
        self.offsets.insert((process, stream), offset);
        self.bytes = self.bytes.saturating_add(bytes);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }

    /// It is worth a word although there is more to write.
    pub(super) fn is_much(&self) -> bool {
        self.bytes >= BATCH
    }
}

impl<R: Fn(ScribeReport)> Worker<R> {
    /// Tells all that was not told.
    pub(in crate::streams) fn tell_taken(&mut self) {
        let Taken { offsets, .. } = std::mem::take(&mut self.taken);
        for ((process, stream), offset) in offsets {
            (self.report)(ScribeReport::Consumed { process, stream, offset });
        }
    }
}
