//! `incr`, `decr` and what `set` leaves to do: another number of processes, waited for.

use super::operation::{Outcome, Step};
use super::start::{Fill, Filled};
use super::{Status, Turn, Watcher};
use std::time::Duration;

/// How far a change of the number is.
#[derive(Debug, Default)]
pub(super) struct Resize {
    fill: Option<Fill>,
}

impl Resize {
    pub(super) fn deadline(&self) -> Option<Duration> {
        self.fill.as_ref().and_then(Fill::deadline)
    }

    /// A stopped watcher has nothing to do; surplus processes go, oldest first (spec f.5).
    pub(super) fn advance(&mut self, watcher: &mut Watcher, turn: &mut Turn<'_>) -> Step {
        let fill = self.fill.get_or_insert_with(|| {
            watcher.processes.forgive();
            let missing = match watcher.status {
                Status::Active => watcher.missing(),
                Status::Stopped | Status::Starting | Status::Stopping => 0,
            };
            Fill::new(missing)
        });
        let outcome = Outcome::Resized(watcher.options.numprocesses);
        if watcher.status != Status::Active {
            return Step::Done(outcome);
        }
        match fill.advance(watcher, turn) {
            Filled::Wait => return Step::Wait,
            Filled::Complete | Filled::Failed => {}
        }
        watcher.stop_surplus(turn);
        if watcher.processes.len() > watcher.processes.wanted_count() {
            return Step::Wait;
        }
        Step::Done(outcome)
    }
}

impl Watcher {
    /// How many processes are missing.
    pub(super) fn missing(&self) -> usize {
        let wanted = usize::try_from(self.options.numprocesses).unwrap_or(usize::MAX);
        wanted.saturating_sub(self.processes.wanted_count())
    }

    /// Stops the oldest processes beyond the wanted number.
    pub(super) fn stop_surplus(&mut self, turn: &mut Turn<'_>) {
        let wanted = usize::try_from(self.options.numprocesses).unwrap_or(usize::MAX);
        let surplus = self.processes.wanted_count().saturating_sub(wanted);
        for wid in self.processes.running_by_age().into_iter().take(surplus) {
            self.stop_process(wid, turn);
        }
    }
}
