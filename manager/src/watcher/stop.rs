//! Stop: every process gets the stop signal, then SIGKILL for its tree (spec f.6, f.7).

use super::demand::Demand;
use super::hooks::Gate;
use super::operation::{Outcome, Step};
use super::{Status, Turn, Watcher};
use crate::arbiter::Standing;
use crate::hooks::Point;

/// How far a stop is.
#[derive(Debug)]
pub(super) struct Stop {
    stage: Stage,
    /// What the watcher is when it has stopped.
    standing: Standing,
}

#[derive(Debug)]
enum Stage {
    Begin,
    Before(Gate),
    Kill,
    After(Gate),
}

impl Stop {
    /// To stay so.
    pub(super) fn for_good() -> Self {
        Self { stage: Stage::Begin, standing: Standing::Stopped }
    }

    /// On the way to a start.
    pub(super) fn between() -> Self {
        Self { stage: Stage::Begin, standing: Standing::Between }
    }

    /// What the hooks answer changes nothing; they are only waited for.
    pub(super) fn advance(&mut self, watcher: &mut Watcher, turn: &mut Turn<'_>) -> Step {
        loop {
            match &mut self.stage {
                Stage::Begin => {
                    watcher.demand = Demand::Off;
                    if watcher.status == Status::Stopped && watcher.processes.is_empty() {
                        return Step::Done(Outcome::Stopped);
                    }
                    watcher.status = Status::Stopping;
                    self.stage = Stage::Before(Gate::default());
                }
                Stage::Before(gate) => match gate.pass(Point::BeforeStop, watcher, turn) {
                    None => return Step::Wait,
                    Some(_) => self.stage = Stage::Kill,
                },
                Stage::Kill => {
                    // A process whose spawn was under way appears later and is stopped then.
                    watcher.drop_unasked();
                    watcher.stop_all(turn);
                    if !watcher.processes.is_empty() {
                        return Step::Wait;
                    }
                    watcher.become_stopped(self.standing, turn);
                    self.stage = Stage::After(Gate::default());
                }
                Stage::After(gate) => match gate.pass(Point::AfterStop, watcher, turn) {
                    None => return Step::Wait,
                    Some(_) => return Step::Done(Outcome::Stopped),
                },
            }
        }
    }
}
