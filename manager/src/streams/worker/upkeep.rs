//! What targets need between two batches: compression of old files, fsync.

use super::Worker;
use super::commit::tell_trouble;
use super::routes::first_user;
use crate::streams::report::{Action, ScribeReport};
use crate::streams::sink::{Sink, SinkKey};
use std::time::Instant;

impl<R: Fn(ScribeReport)> Worker<R> {
    /// One step for one target.
    pub(super) fn compress(&mut self) {
        let Some(key) = self.compressing.pop_first() else {
            return;
        };
        // What it owes is written first; then it is noted again.
        let Some(sink) = self.sinks.get_mut(&key).filter(|sink| sink.wants_compression()) else {
            return;
        };
        sink.compress();
        let more = sink.wants_compression();
        self.tell_rotation(&key);
        if more {
            self.compressing.insert(key);
        }
    }

    /// Notes that a target may have old files to compress.
    pub(super) fn note_compression(&mut self, key: &SinkKey) {
        if self.sinks.get(key).is_some_and(Sink::wants_compression) && !self.compressing.contains(key) {
            self.compressing.insert(key.clone());
        }
    }

    /// Puts on the disk what has waited long enough.
    pub(super) fn sync_due(&mut self, now: Instant) {
        let due = |sink: &Sink| sink.sync_at().is_some_and(|at| at <= now);
        let due: Vec<SinkKey> = self.sinks.iter().filter(|(_, sink)| due(sink)).map(|(key, _)| key.clone()).collect();
        for key in due {
            if let Some(Err(error)) = self.sinks.get_mut(&key).map(Sink::sync) {
                tell_trouble(&self.report, first_user(&self.watchers, &key), &key, Action::Sync, error);
            }
        }
    }

    /// The end: puts on the disk what is to be there.
    pub(in crate::streams) fn sync_all(&mut self) {
        for sink in self.sinks.values_mut().filter(|sink| sink.sync_at().is_some()) {
            // Whoever could be told is gone.
            let _ = sink.sync();
        }
    }
}
