//! Reload: new processes for old ones, all at once or one after the other, or a SIGHUP (spec f.8).

use super::operation::{Outcome, Step};
use super::start::{Fill, Filled};
use super::{Turn, Watcher};
use crate::arbiter::{AfterSignal, Effect};
use crate::options::Signal;
use crate::process::{Process, Wid};
use ringmaster_protocol::message::Target;
use std::collections::BTreeSet;
use std::time::Duration;

/// All new processes first, then the old ones go.
#[derive(Debug, Default)]
pub(super) struct Graceful {
    old: Option<(BTreeSet<i32>, Fill)>,
    leaving: bool,
}

impl Graceful {
    pub(super) fn deadline(&self) -> Option<Duration> {
        self.old.as_ref().and_then(|(_, fill)| fill.deadline())
    }

    pub(super) fn advance(&mut self, watcher: &mut Watcher, turn: &mut Turn<'_>) -> Step {
        let (old, fill) = self.old.get_or_insert_with(|| {
            watcher.processes.forgive();
            let wanted = usize::try_from(watcher.options.numprocesses).unwrap_or(usize::MAX);
            (watcher.processes.live_pids().into_iter().collect(), Fill::new(wanted))
        });
        if !self.leaving {
            match fill.advance(watcher, turn) {
                Filled::Wait => return Step::Wait,
                Filled::Complete => self.leaving = true,
                // The old ones are all there is: they stay.
                Filled::Failed => {
                    let kept = watcher.processes.live_pids();
                    watcher.processes.forgive();
                    return Step::Done(Outcome::Replaced { stopped: Vec::new(), started: Vec::new(), kept });
                }
            }
        }
        let leaving: Vec<Wid> = watcher
            .processes
            .iter()
            .filter(|process| process.running().is_some_and(|started| old.contains(&started.pid)))
            .map(|process| process.wid)
            .collect();
        for wid in leaving {
            watcher.stop_process(wid, turn);
        }
        if watcher.processes.pids().iter().any(|pid| old.contains(pid)) {
            return Step::Wait;
        }
        watcher.announce_reload(turn);
        let stopped = old.iter().copied().collect();
        Step::Done(Outcome::Replaced { stopped, started: watcher.processes.live_pids(), kept: Vec::new() })
    }
}

/// Each old process is stopped and replaced before the next one.
#[derive(Debug, Default)]
pub(super) struct Sequential {
    begun: bool,
    /// Still to be replaced, oldest first.
    waiting: Vec<i32>,
    stopped: Vec<i32>,
    /// The one that is being replaced.
    present: Option<Fill>,
}

impl Sequential {
    pub(super) fn deadline(&self) -> Option<Duration> {
        self.present.as_ref().and_then(Fill::deadline)
    }

    pub(super) fn advance(&mut self, watcher: &mut Watcher, turn: &mut Turn<'_>) -> Step {
        if !self.begun {
            self.begun = true;
            watcher.processes.forgive();
            self.waiting = watcher.processes.live_pids();
            self.waiting.reverse();
        }
        loop {
            let going = self.stopped.last().is_some_and(|pid| watcher.processes.pids().contains(pid));
            if going {
                return Step::Wait;
            }
            if let Some(fill) = &mut self.present {
                match fill.advance(watcher, turn) {
                    Filled::Wait => return Step::Wait,
                    Filled::Complete | Filled::Failed => self.present = None,
                }
            }
            let Some(pid) = self.waiting.pop() else {
                watcher.announce_reload(turn);
                let started = watcher.processes.live_pids();
                return Step::Done(Outcome::Replaced {
                    stopped: std::mem::take(&mut self.stopped),
                    started,
                    kept: Vec::new(),
                });
            };
            if let Some(wid) = watcher.processes.by_pid(pid).map(|process| process.wid) {
                watcher.stop_process(wid, turn);
                self.stopped.push(pid);
                self.present = Some(Fill::new(1));
            }
        }
    }
}

impl Watcher {
    /// SIGHUP to every process; they reload themselves.
    pub(super) fn send_hup(&mut self, turn: &mut Turn<'_>) -> Outcome {
        for started in self.processes.iter().filter_map(Process::running) {
            tracing::info!("SENDING HUP to {}", started.pid);
            turn.effects.push(Effect::Signal {
                process: started.id,
                signal: Some(Signal::HUP),
                target: Target::Main,
                then: AfterSignal::Ignore,
            });
        }
        self.announce_reload(turn);
        Outcome::Replaced { stopped: Vec::new(), started: Vec::new(), kept: self.processes.live_pids() }
    }

    pub(super) fn announce_reload(&self, turn: &mut Turn<'_>) {
        self.publish(turn, "reload", &[("time", turn.now.wall.into())]);
        tracing::info!("{} reloaded", self.options.name);
    }
}
