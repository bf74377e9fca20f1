//! Stop: every process gets the stop signal, then SIGKILL for its tree (spec f.6, f.7).

use super::demand::Demand;
use super::operation::{Outcome, Step};
use super::{Status, Turn, Watcher};
use crate::arbiter::Standing;

/// How far a stop is.
#[derive(Debug)]
pub(super) struct Stop {
    begun: bool,
    /// What the watcher is when it has stopped.
    standing: Standing,
}

impl Stop {
    /// To stay so.
    pub(super) fn for_good() -> Self {
        Self { begun: false, standing: Standing::Stopped }
    }

    /// On the way to a start.
    pub(super) fn between() -> Self {
        Self { begun: false, standing: Standing::Between }
    }

    pub(super) fn advance(&mut self, watcher: &mut Watcher, turn: &mut Turn<'_>) -> Step {
        if !self.begun {
            self.begun = true;
            watcher.demand = Demand::Off;
            if watcher.status == Status::Stopped && watcher.processes.is_empty() {
                return Step::Done(Outcome::Stopped);
            }
            watcher.status = Status::Stopping;
        }
        // A process whose spawn was under way appears later and is stopped then.
        watcher.stop_all(turn);
        if !watcher.processes.is_empty() {
            return Step::Wait;
        }
        watcher.become_stopped(self.standing, turn);
        Step::Done(Outcome::Stopped)
    }
}
