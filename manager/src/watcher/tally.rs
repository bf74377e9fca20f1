//! What has happened to a watcher, in numbers. Only grows, and begins anew with every circusd.

use crate::process::{Cause, Ended};
use ringmaster_protocol::message::Rusage;
use std::collections::BTreeMap;
use std::time::Duration;

/// The numbers.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tally {
    /// Processes that were started.
    pub starts: u64,
    /// Those of them that took the place of one that had ended, without a command.
    pub restarts: u64,
    /// Processes that could not be started.
    pub failed_starts: u64,
    /// Processes that have ended, by Circus's `exit_code`: a few hundred at most, since an exit status is a byte.
    pub exits: BTreeMap<Option<i32>, u64>,
    /// CPU time of those.
    pub cpu: Duration,
    /// Bytes of output that are in no log.
    pub lost: u64,
    /// Log files that were moved away for a new one.
    pub rotations: u64,
}

impl Tally {
    /// A process was started.
    pub(super) fn note_start(&mut self, cause: Cause) {
        self.starts = self.starts.saturating_add(1);
        match cause {
            Cause::Wanted => {}
            Cause::Replacement => self.restarts = self.restarts.saturating_add(1),
        }
    }

    /// A process has ended.
    pub(super) fn note_exit(&mut self, ended: &Ended, rusage: Rusage) {
        let count = self.exits.entry(ended.exit_code()).or_default();
        *count = count.saturating_add(1);
        let used = Duration::from_micros(rusage.user_us.saturating_add(rusage.system_us));
        self.cpu = self.cpu.saturating_add(used);
    }
}
