//! Start: as many processes as are wanted, one after another with `warmup_delay` between them (spec f.1, f.2).

use super::demand::Demand;
use super::hooks::Gate;
use super::operation::{Outcome, Step};
use super::stop::Stop;
use super::{Status, Turn, Watcher};
use crate::arbiter::{Effect, Standing};
use crate::hooks::Point;
use crate::process::Cause;
use crate::streams::PythonPlace;
use std::time::Duration;

/// How far a start is.
#[derive(Debug, Default)]
pub(super) struct Start {
    stage: Stage,
    /// Publishes `reload` at the end.
    reload: bool,
}

#[derive(Debug, Default)]
enum Stage {
    #[default]
    Begin,
    /// `before_start` is asked.
    Before(Gate),
    Fill {
        kept: Vec<i32>,
        fill: Fill,
        was_active: bool,
        /// Processes seen before; one that has ended already counts as started.
        seen: u64,
    },
    /// `after_start` is asked.
    After { kept: Vec<i32>, gate: Gate },
    /// It cannot be started; what there is goes.
    Abort(Stop),
}

/// Spawning a given number of processes.
#[derive(Debug)]
pub(super) struct Fill {
    /// Still to be asked for.
    missing: usize,
    /// The pause after the last one.
    next_at: Option<Duration>,
    /// Failures in a row that `missing` accounts for.
    seen_failures: u32,
}

/// Processes of one watcher that are asked for at once. The core makes one after the other, so it always has the next one at hand, and
/// the requests of a start of thousands do not lie in memory, with copies of descriptors, before the first is made.
pub(crate) const ASKED_AT_ONCE: usize = 256;

/// After that many failures in a row even a watcher with unlimited retries pauses between them.
const PATIENCE: u32 = 5;

/// How far a fill is.
pub(super) enum Filled {
    /// Until the next event.
    Wait,
    /// All spawns have been answered and the last pause is over.
    Complete,
    /// The retries are used up.
    Failed,
}

impl Fill {
    pub(super) fn new(missing: usize) -> Self {
        Self { missing, next_at: None, seen_failures: 0 }
    }

    /// Asks for what is missing. Without `warmup_delay` for as many as the core is given at once, otherwise for one at a time.
    pub(super) fn advance(&mut self, watcher: &mut Watcher, turn: &mut Turn<'_>) -> Filled {
        let pause = watcher.options.warmup_delay.duration();
        loop {
            if !watcher.retries_left() {
                return Filled::Failed;
            }
            // A spawn that failed since has to be asked for again.
            let failures = watcher.processes.failed_attempts;
            self.missing += usize::try_from(failures.saturating_sub(self.seen_failures)).unwrap_or(0);
            self.seen_failures = failures;
            if failures >= PATIENCE
                && let Some(until) = watcher.processes.pause(turn.now.mono)
            {
                self.next_at = Some(until);
            }
            if watcher.is_to_stop() {
                // What would be stopped at once is not started any more, and nobody waits for the last pause.
                (self.missing, self.next_at) = (0, None);
            }
            if self.next_at.is_some_and(|at| at > turn.now.mono) {
                return Filled::Wait;
            }
            // It is over: what is waited for from here on is an answer.
            self.next_at = None;
            let coming = watcher.processes.spawning();
            if self.missing == 0 {
                return if coming == 0 { Filled::Complete } else { Filled::Wait };
            }
            let most = if pause.is_zero() && failures == 0 { ASKED_AT_ONCE } else { 1 };
            if coming >= most {
                return Filled::Wait;
            }
            self.missing -= 1;
            watcher.spawn_one(Cause::Wanted, turn);
            if !pause.is_zero() {
                self.next_at = Some(turn.now.mono.saturating_add(pause));
            }
        }
    }

    /// Asks for `most` processes more at most.
    fn limit(&mut self, most: usize) {
        self.missing = self.missing.min(most);
    }

    pub(super) fn deadline(&self) -> Option<Duration> {
        self.next_at
    }
}

impl Start {
    /// A reload of a stopped watcher starts it and is announced as a reload, too.
    pub(super) fn for_reload() -> Self {
        Self { stage: Stage::Begin, reload: true }
    }

    pub(super) fn deadline(&self) -> Option<Duration> {
        match &self.stage {
            Stage::Fill { fill, .. } => fill.deadline(),
            Stage::Begin | Stage::Before(_) | Stage::After { .. } | Stage::Abort(_) => None,
        }
    }

    pub(super) fn advance(&mut self, watcher: &mut Watcher, turn: &mut Turn<'_>) -> Step {
        loop {
            self.stage = match self.advance_stage(watcher, turn) {
                Ok(step) => return step,
                Err(next) => next,
            };
        }
    }

    /// One stage: an answer, or the stage that follows.
    fn advance_stage(&mut self, watcher: &mut Watcher, turn: &mut Turn<'_>) -> Result<Step, Stage> {
        match &mut self.stage {
            Stage::Begin => {
                let called = watcher.demand == Demand::Called;
                if watcher.waits_for_demand(turn) {
                    return Ok(self.nothing(watcher, turn));
                }
                // Failures since the last connection count; somebody who asks by hand has looked into them.
                if called {
                    watcher.processes.failed_attempts = 0;
                } else {
                    watcher.processes.forgive();
                }
                // Processes that were taken back are no start (spec i).
                let fresh = watcher.status != Status::Active && watcher.processes.is_empty();
                Err(if fresh { Stage::Before(Gate::default()) } else { Self::begin(watcher, turn) })
            }
            Stage::Before(gate) => match gate.pass(Point::BeforeStart, watcher, turn) {
                None => Ok(Step::Wait),
                Some(true) => Err(Self::begin(watcher, turn)),
                Some(false) => {
                    tracing::warn!("{} is not started: before_start says no", watcher.options.name);
                    watcher.wait_after_failure(turn);
                    Ok(self.nothing(watcher, turn))
                }
            },
            Stage::Fill { kept, fill, was_active, seen } => {
                // Fewer may be wanted by now.
                fill.limit(watcher.missing());
                match fill.advance(watcher, turn) {
                    Filled::Wait => Ok(Step::Wait),
                    Filled::Complete if *was_active => {
                        let kept = std::mem::take(kept);
                        Ok(Step::Done(self.complete(kept, watcher, turn)))
                    }
                    Filled::Complete if watcher.processes.seen > *seen || !watcher.processes.is_empty() => {
                        Err(Stage::After { kept: std::mem::take(kept), gate: Gate::default() })
                    }
                    Filled::Complete | Filled::Failed => Err(Self::abort(watcher)),
                }
            }
            Stage::After { kept, gate } => match gate.pass(Point::AfterStart, watcher, turn) {
                None => Ok(Step::Wait),
                Some(true) => {
                    let kept = std::mem::take(kept);
                    watcher.become_active(turn);
                    Ok(Step::Done(self.complete(kept, watcher, turn)))
                }
                Some(false) => {
                    tracing::warn!("{} is stopped again: after_start says no", watcher.options.name);
                    Err(Self::abort(watcher))
                }
            },
            Stage::Abort(stop) => match stop.advance(watcher, turn) {
                Step::Wait => Ok(Step::Wait),
                Step::Done(_) => {
                    watcher.processes.forgive();
                    watcher.wait_after_failure(turn);
                    Ok(self.nothing(watcher, turn))
                }
            },
        }
    }

    fn abort(watcher: &mut Watcher) -> Stage {
        watcher.status = Status::Stopping;
        Stage::Abort(Stop::for_good())
    }

    /// No process is there.
    fn nothing(&self, watcher: &Watcher, turn: &mut Turn<'_>) -> Step {
        Step::Done(self.conclude(Vec::new(), Vec::new(), watcher, turn))
    }

    fn begin(watcher: &mut Watcher, turn: &mut Turn<'_>) -> Stage {
        let kept = watcher.processes.live_pids();
        let was_active = watcher.status == Status::Active;
        if !was_active {
            watcher.status = Status::Starting;
            watcher.open_streams(turn);
        }
        if watcher.options.numprocesses == 0 && !was_active {
            tracing::warn!("{} has numprocesses = 0 and stays stopped", watcher.options.name);
        }
        let fill = Fill::new(watcher.missing());
        Stage::Fill { kept, fill, was_active, seen: watcher.processes.seen }
    }

    fn complete(&self, kept: Vec<i32>, watcher: &Watcher, turn: &mut Turn<'_>) -> Outcome {
        let started = watcher.processes.live_pids().into_iter().filter(|pid| !kept.contains(pid)).collect();
        self.conclude(started, kept, watcher, turn)
    }

    /// A start that a reload asked for is told as a reload.
    fn conclude(&self, started: Vec<i32>, kept: Vec<i32>, watcher: &Watcher, turn: &mut Turn<'_>) -> Outcome {
        if !self.reload {
            return Outcome::Started { started, kept };
        }
        watcher.announce_reload(turn);
        Outcome::Replaced { stopped: Vec::new(), started, kept }
    }
}

impl super::Processes {
    /// Whether one is asked for and not answered.
    pub fn is_making(&self) -> bool {
        self.spawning() > 0
    }

    /// How many are asked for and not answered, by the core or by a hook.
    pub(super) fn spawning(&self) -> usize {
        self.all.coming()
    }

    /// Whether the core may be asked for one more.
    pub(super) fn may_ask(&self) -> bool {
        self.spawning() < ASKED_AT_ONCE
    }
}

impl Watcher {
    /// It was active for an earlier circusd: so it is for this one, without a start. What is missing is replaced as
    /// always.
    pub fn go_on(&mut self, turn: &mut Turn<'_>) {
        self.status = Status::Active;
        self.open_streams(turn);
    }

    fn become_active(&mut self, turn: &mut Turn<'_>) {
        self.status = Status::Active;
        let started = [("time", turn.now.wall.into())];
        self.publish_about(turn, "start", &started, self.stands(Standing::Active));
        tracing::info!("{} started", self.options.name);
    }

    /// Has the streams of this watcher opened; nothing changes for those that are open.
    pub fn open_streams(&self, turn: &mut Turn<'_>) {
        turn.effects.push(self.streams_effect());
    }

    /// What hooks have, stream classes have, too.
    fn python_place(&self) -> PythonPlace {
        let limit = self.options.hooks_timeout.duration();
        PythonPlace { path: self.options.env.get("PYTHONPATH").cloned(), limit: (!limit.is_zero()).then_some(limit) }
    }

    pub(super) fn streams_effect(&self) -> Effect {
        Effect::OpenStreams {
            watcher: self.id,
            name: self.options.name.clone(),
            stdout: self.options.stdout_stream.clone(),
            stderr: self.options.stderr_stream.clone(),
            python: self.python_place(),
        }
    }
}
