//! The closed set of operations on a watcher, and how each is driven.

use super::reload::{Graceful, Sequential};
use super::resize::Resize;
use super::start::Start;
use super::stop::Stop;
use super::{Status, Turn, Watcher};
use crate::options::{Signal, WatcherOptions};
use crate::process::ProcessState;
use std::collections::BTreeSet;
use std::time::Duration;

/// Names a group of operations that one client waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchId(pub u64);

/// What can be asked of a watcher.
#[derive(Debug, Clone, PartialEq)]
pub enum Operation {
    /// Start it, or complete it.
    Start,
    /// Stop it.
    Stop,
    /// Stop, then start.
    Restart,
    /// Replace the processes; see spec f.8 for the two ways.
    Reload {
        /// One after the other instead of all at once.
        sequential: bool,
    },
    /// New processes for old ones because options have changed; nothing when the watcher is stopped by then.
    Refresh,
    /// Stop, take these options, then start.
    Redefine(Box<WatcherOptions>),
    /// Have as many processes as the options say.
    Resize,
    /// Stop processes, which the watcher then replaces (`kill`).
    Kill {
        /// Only this one.
        pid: Option<i32>,
        /// Instead of `stop_signal`.
        signal: Option<Signal>,
        /// Instead of `graceful_timeout`.
        timeout: Option<Duration>,
    },
}

/// How an operation ended, as far as replies tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// `info: null`.
    Stopped,
    /// Pids, sorted.
    Started {
        /// New ones.
        started: Vec<i32>,
        /// Those that were there.
        kept: Vec<i32>,
    },
    /// Pids, sorted.
    Replaced {
        /// Old ones.
        stopped: Vec<i32>,
        /// New ones.
        started: Vec<i32>,
        /// Those that were left alone.
        kept: Vec<i32>,
    },
    /// The new number.
    Resized(u32),
    /// Nothing to tell.
    Done,
}

/// Whether an operation goes on.
#[derive(Debug)]
pub(super) enum Step {
    /// Until the next event.
    Wait,
    /// It has ended.
    Done(Outcome),
}

/// An operation and how far it is.
#[derive(Debug)]
pub(super) struct Current {
    pub(super) waiter: Option<BatchId>,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Start(Start),
    Stop(Stop),
    /// The pids that are being stopped.
    RestartStop(Vec<i32>, Stop),
    RestartStart(Vec<i32>, Start),
    RedefineStop(Box<WatcherOptions>, Stop),
    Reload(bool),
    Refresh,
    Graceful(Graceful),
    Sequential(Sequential),
    Resize(Resize),
    Kill {
        pid: Option<i32>,
        signal: Option<Signal>,
        timeout: Option<Duration>,
    },
    /// Until these pids are gone.
    Killed(BTreeSet<i32>),
}

impl Current {
    pub(super) fn new(operation: Operation, waiter: Option<BatchId>) -> Self {
        let stage = match operation {
            Operation::Start => Stage::Start(Start::default()),
            Operation::Stop => Stage::Stop(Stop::for_good()),
            Operation::Restart => Stage::RestartStop(Vec::new(), Stop::between()),
            Operation::Reload { sequential } => Stage::Reload(sequential),
            Operation::Refresh => Stage::Refresh,
            Operation::Redefine(options) => Stage::RedefineStop(options, Stop::between()),
            Operation::Resize => Stage::Resize(Resize::default()),
            Operation::Kill { pid, signal, timeout } => Stage::Kill { pid, signal, timeout },
        };
        Self { waiter, stage }
    }

    /// Whether it leaves the watcher stopped.
    pub(super) fn is_stop(&self) -> bool {
        matches!(self.stage, Stage::Stop(_))
    }

    /// Goes as far as it can.
    pub(super) fn advance(&mut self, watcher: &mut Watcher, turn: &mut Turn<'_>) -> Step {
        loop {
            match self.advance_stage(watcher, turn) {
                Ok(step) => return step,
                Err(next) => self.stage = next,
            }
        }
    }

    /// One stage: an answer, or the stage that follows.
    fn advance_stage(&mut self, watcher: &mut Watcher, turn: &mut Turn<'_>) -> Result<Step, Stage> {
        match &mut self.stage {
            Stage::Start(start) => Ok(start.advance(watcher, turn)),
            Stage::Stop(stop) => Ok(stop.advance(watcher, turn)),
            Stage::RestartStop(stopped, stop) => {
                if stopped.is_empty() {
                    *stopped = watcher.processes.live_pids();
                }
                match stop.advance(watcher, turn) {
                    Step::Wait => Ok(Step::Wait),
                    Step::Done(_) => Err(Stage::RestartStart(std::mem::take(stopped), Start::default())),
                }
            }
            Stage::RestartStart(stopped, start) => {
                let step = start.advance(watcher, turn);
                let Step::Done(Outcome::Started { started, kept }) = step else {
                    return Ok(step);
                };
                Ok(Step::Done(Outcome::Replaced { stopped: std::mem::take(stopped), started, kept }))
            }
            Stage::RedefineStop(options, stop) => match stop.advance(watcher, turn) {
                Step::Wait => Ok(Step::Wait),
                Step::Done(_) => {
                    watcher.redefine((**options).clone(), turn.effects);
                    Err(Stage::Start(Start::default()))
                }
            },
            Stage::Refresh if watcher.status == Status::Stopped => Ok(Step::Done(Outcome::Done)),
            Stage::Refresh => watcher.begin_reload(false, turn),
            Stage::Reload(sequential) => {
                let sequential = *sequential;
                watcher.begin_reload(sequential, turn)
            }
            Stage::Graceful(graceful) => Ok(graceful.advance(watcher, turn)),
            Stage::Sequential(sequential) => Ok(sequential.advance(watcher, turn)),
            Stage::Resize(resize) => Ok(resize.advance(watcher, turn)),
            Stage::Kill { pid, signal, timeout } => {
                let (pid, signal, timeout) = (*pid, *signal, *timeout);
                Err(Stage::Killed(watcher.kill_processes(pid, signal, timeout, turn)))
            }
            Stage::Killed(pids) => {
                let there = watcher.processes.pids();
                pids.retain(|pid| there.contains(pid));
                Ok(if pids.is_empty() { Step::Done(Outcome::Done) } else { Step::Wait })
            }
        }
    }

    pub(super) fn deadline(&self) -> Option<Duration> {
        match &self.stage {
            Stage::Start(start) | Stage::RestartStart(_, start) => start.deadline(),
            Stage::Resize(resize) => resize.deadline(),
            Stage::Sequential(sequential) => sequential.deadline(),
            Stage::Graceful(graceful) => graceful.deadline(),
            Stage::Stop(_)
            | Stage::RestartStop(..)
            | Stage::RedefineStop(..)
            | Stage::Refresh
            | Stage::Reload(_)
            | Stage::Kill { .. }
            | Stage::Killed(_) => None,
        }
    }
}

impl Watcher {
    /// Chooses the way of a reload (spec f.8): a stopped watcher starts, `send_hup` only signals.
    fn begin_reload(&mut self, sequential: bool, turn: &mut Turn<'_>) -> Result<Step, Stage> {
        if self.status == Status::Stopped {
            return Err(Stage::Start(Start::for_reload()));
        }
        if self.options.send_hup {
            return Ok(Step::Done(self.send_hup(turn)));
        }
        if sequential {
            Err(Stage::Sequential(Sequential::default()))
        } else {
            Err(Stage::Graceful(Graceful::default()))
        }
    }

    /// Tells the wanted processes to end; gives their pids.
    fn kill_processes(
        &mut self,
        pid: Option<i32>,
        signal: Option<Signal>,
        timeout: Option<Duration>,
        turn: &mut Turn<'_>,
    ) -> BTreeSet<i32> {
        let wanted: Vec<_> = self
            .processes
            .iter()
            .filter_map(|process| match &process.state {
                ProcessState::Running(started) if pid.is_none_or(|pid| pid == started.pid) => {
                    Some((process.wid, started.pid))
                }
                ProcessState::Spawning(_)
                | ProcessState::Running(_)
                | ProcessState::Stopping(..)
                | ProcessState::Ended(..) => None,
            })
            .collect();
        let signal = signal.unwrap_or(self.options.stop_signal);
        let timeout = timeout.unwrap_or_else(|| self.options.graceful_timeout.duration());
        for (wid, _) in &wanted {
            self.stop_process_with(*wid, signal, timeout, turn);
        }
        wanted.into_iter().map(|(_, pid)| pid).collect()
    }
}
