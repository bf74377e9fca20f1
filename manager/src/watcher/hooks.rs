//! Hooks of a watcher: what is asked, who waits for the answer, and what the answer does (spec i).
//!
//! An operation waits at a [`Gate`] as it waits for a spawn. What concerns one process goes on when its own answer is
//! there: nothing else waits for it. Who runs a hook, and where, is the shell's business (`hooks`).

use super::{Status, Turn, Watcher};
use crate::arbiter::{AfterSignal, Effect};
use crate::hooks::{HookAnswer, HookCall, HookError, HookTicket, Point};
use crate::options::{Signal, shown};
use crate::process::{Ended, Greeted, SpawnTicket, Started};
use ringmaster_protocol::message::{ProcessId, Target};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Circus's number for a process that has ended: `DEAD_OR_ZOMBIE` (spec i, `after_reap`).
const DEAD: u32 = 1;

/// The calls of a watcher that are under way.
#[derive(Debug, Default)]
pub struct Hooks {
    asked: BTreeMap<HookTicket, Asked>,
    /// For gates.
    answered: BTreeMap<HookTicket, bool>,
    /// Grows when hooks are set.
    pub(super) generation: u64,
}

#[derive(Debug)]
struct Asked {
    point: Point,
    ignore: bool,
    purpose: Purpose,
}

/// What is to be done with an answer.
#[derive(Debug, Clone, Copy)]
enum Purpose {
    /// An operation waits for it.
    Gate,
    /// This process may be asked for.
    Spawn(SpawnTicket),
    /// This process may stay.
    Greet(ProcessId),
    /// This signal may be sent to the process of that pid.
    Signal(ProcessId, i32, Signal),
    /// Nothing.
    Notice,
}

/// Where an operation waits for a hook.
#[derive(Debug, Default)]
pub(super) enum Gate {
    /// Nobody was asked yet.
    #[default]
    Unasked,
    /// The answer is waited for.
    Asked(HookTicket),
}

impl Gate {
    /// Asks at first; the answer when it is there. Without a hook it is yes at once.
    pub(super) fn pass(&mut self, point: Point, watcher: &mut Watcher, turn: &mut Turn<'_>) -> Option<bool> {
        match self {
            Self::Asked(ticket) => watcher.hooks.answered.remove(ticket),
            Self::Unasked => match watcher.ask(point, &[], Purpose::Gate, turn) {
                Some(ticket) => {
                    *self = Self::Asked(ticket);
                    None
                }
                None => Some(true),
            },
        }
    }
}

impl Hooks {
    /// Nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.asked.is_empty()
    }

    /// The operations that waited are gone.
    pub(super) fn forget_gates(&mut self) {
        self.answered.clear();
        for asked in self.asked.values_mut() {
            if matches!(asked.purpose, Purpose::Gate) {
                asked.purpose = Purpose::Notice;
            }
        }
    }
}

impl Watcher {
    /// Calls a hook, if there is one.
    fn ask(
        &mut self,
        point: Point,
        facts: &[(&str, Value)],
        purpose: Purpose,
        turn: &mut Turn<'_>,
    ) -> Option<HookTicket> {
        let ignore = self.options.hooks.get(point.name())?.1;
        let ticket = turn.hooks.for_watcher(self.id);
        let call = self.hook_call(ticket, point, facts, turn)?;
        self.hooks.asked.insert(ticket, Asked { point, ignore, purpose });
        turn.effects.push(Effect::RunHook(Box::new(call)));
        Some(ticket)
    }

    fn hook_call(
        &self,
        ticket: HookTicket,
        point: Point,
        facts: &[(&str, Value)],
        turn: &Turn<'_>,
    ) -> Option<HookCall> {
        self.hook_call_with(ticket, point, facts, turn.world.hooks_timeout)
    }

    /// The call of a hook at that point, if there is one.
    pub fn hook_call_with(
        &self,
        ticket: HookTicket,
        point: Point,
        facts: &[(&str, Value)],
        default: std::time::Duration,
    ) -> Option<HookCall> {
        let (target, _) = self.options.hooks.get(point.name())?;
        let own = self.options.hooks_timeout.duration();
        Some(HookCall {
            ticket,
            point,
            target: target.clone(),
            generation: self.hooks.generation,
            limit: if own.is_zero() { default } else { own },
            watcher: self.options.name.clone(),
            facts: facts.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect(),
            snapshot: self.hook_snapshot(),
            python_path: self.options.env.get("PYTHONPATH").cloned(),
            working_dir: self.options.working_dir.clone(),
        })
    }

    /// What hooks see of the watcher.
    fn hook_snapshot(&self) -> Value {
        let live = self.processes.iter().filter(|process| process.live_pid().is_some());
        let processes: Vec<Value> = live
            .filter_map(|process| {
                let started = process.started()?;
                Some(json!({ "pid": started.pid, "wid": process.wid.0, "started": started.at }))
            })
            .collect();
        json!({
            "name": self.options.name,
            "res_name": self.topic_name(),
            "status": self.status.name(),
            "options": shown(&self.options),
            "env": self.options.env,
            "autostart": self.options.autostart,
            "processes": processes,
            "hooks": self.options.hooks,
        })
    }

    /// A hook has answered, or has failed.
    pub fn hook_done(&mut self, ticket: HookTicket, outcome: &Result<HookAnswer, HookError>, turn: &mut Turn<'_>) {
        let Some(Asked { point, ignore, purpose }) = self.hooks.asked.remove(&ticket) else {
            return;
        };
        self.publish_hook(point, outcome, turn);
        let yes = point.verdict(outcome.as_ref().map(|answer| answer.truth), ignore);
        match purpose {
            Purpose::Gate => drop(self.hooks.answered.insert(ticket, yes)),
            Purpose::Spawn(spawn) => self.spawn_allowed(spawn, yes, turn),
            Purpose::Greet(process) => self.greeted(process, yes, turn),
            Purpose::Signal(process, pid, signal) => {
                if yes {
                    turn.effects.push(to_main(process, signal));
                } else {
                    tracing::debug!("before_signal of {}: signal {signal} is not sent to {pid}", self.options.name);
                }
                self.notice(Point::AfterSignal, &signal_facts(pid, signal), turn);
            }
            Purpose::Notice => {}
        }
    }

    fn publish_hook(&self, point: Point, outcome: &Result<HookAnswer, HookError>, turn: &mut Turn<'_>) {
        let name = point.name();
        let mut fields = vec![("name", Value::from(name)), ("time", turn.now.wall.into())];
        match outcome {
            Ok(_) => self.publish(turn, "hook_success", &fields),
            Err(error) => {
                let traceback = error.traceback().map(|text| format!("\n{}", text.trim_end())).unwrap_or_default();
                tracing::error!("Hook '{name}' of {} failed: {error}{traceback}", self.options.name);
                fields.push(("error", error.to_string().into()));
                self.publish(turn, "hook_failure", &fields);
            }
        }
    }

    /// Calls a hook whose answer does nothing.
    pub(super) fn notice(&mut self, point: Point, facts: &[(&str, Value)], turn: &mut Turn<'_>) {
        self.ask(point, facts, Purpose::Notice, turn);
    }

    /// `before_spawn`. `false`: nobody is to be asked.
    pub(super) fn ask_spawn(&mut self, spawn: SpawnTicket, turn: &mut Turn<'_>) -> bool {
        self.ask(Point::BeforeSpawn, &[], Purpose::Spawn(spawn), turn).is_some()
    }

    /// Processes for which `before_spawn` is being asked are not wanted any more.
    pub(super) fn drop_unasked(&mut self) {
        for asked in self.hooks.asked.values() {
            if let Purpose::Spawn(spawn) = asked.purpose
                && let Some(process) = self.processes.all.by_ticket(spawn)
            {
                self.processes.all.remove(process.wid);
            }
        }
    }

    /// `before_spawn` has answered.
    pub(super) fn spawn_allowed(&mut self, ticket: SpawnTicket, yes: bool, turn: &mut Turn<'_>) {
        // It is not asked for any more when the core was away or the watcher is being stopped.
        let Some(wid) = self.processes.all.by_ticket(ticket).map(|process| process.wid) else {
            return;
        };
        if self.status == Status::Stopping {
            self.processes.all.remove(wid);
        } else if yes {
            self.launch(wid, ticket, turn);
        } else {
            tracing::warn!("{} is stopped: before_spawn says no", self.options.name);
            self.processes.all.remove(wid);
            self.refuse();
        }
    }

    /// A hook has refused a process: the watcher stops. A start that is under way stops it by itself.
    fn refuse(&mut self) {
        self.processes.failed_attempts = u32::MAX;
        self.stop_next();
    }

    /// Notes how far `after_spawn` is.
    pub(super) fn greet(&mut self, id: ProcessId, greeted: Greeted) -> Option<Started> {
        self.processes.change(id, |started| started.greeted = greeted)
    }

    /// `after_spawn` has answered. A process that is refused gets the stop signal with the whole watcher.
    pub(super) fn greeted(&mut self, id: ProcessId, yes: bool, turn: &mut Turn<'_>) {
        let Some(started) = self.greet(id, if yes { Greeted::Yes } else { Greeted::No }) else {
            return;
        };
        if yes {
            self.publish_spawn(&started, turn);
        } else {
            tracing::warn!("{} is stopped: after_spawn says no to {}", self.options.name, started.pid);
            self.refuse();
        }
    }

    /// `after_spawn`.
    pub(super) fn ask_greeting(&mut self, process: ProcessId, pid: i32, turn: &mut Turn<'_>) -> bool {
        self.ask(Point::AfterSpawn, &[("pid", pid.into())], Purpose::Greet(process), turn).is_some()
    }

    /// A signal to the process itself, through its hooks. SIGKILL waits for nobody: no hook can forbid it (spec i).
    pub fn signal_process(&mut self, started: &Started, signal: Signal, turn: &mut Turn<'_>) {
        let facts = signal_facts(started.pid, signal);
        if signal != Signal::KILL {
            let purpose = Purpose::Signal(started.id, started.pid, signal);
            if self.ask(Point::BeforeSignal, &facts, purpose, turn).is_some() {
                return;
            }
        } else {
            self.notice(Point::BeforeSignal, &facts, turn);
        }
        turn.effects.push(to_main(started.id, signal));
        self.notice(Point::AfterSignal, &facts, turn);
    }

    /// SIGKILL goes to a whole tree; hooks are told of the process itself.
    pub(super) fn notice_kill(&mut self, pid: i32, turn: &mut Turn<'_>) {
        let facts = signal_facts(pid, Signal::KILL);
        self.notice(Point::BeforeSignal, &facts, turn);
        self.notice(Point::AfterSignal, &facts, turn);
    }

    /// `before_reap`.
    pub(super) fn notice_reap(&mut self, pid: i32, turn: &mut Turn<'_>) {
        let facts = [("process_pid", pid.into()), ("time", turn.now.wall.into())];
        self.notice(Point::BeforeReap, &facts, turn);
    }

    /// `after_reap`.
    pub(super) fn notice_reaped(&mut self, pid: i32, ended: &Ended, turn: &mut Turn<'_>) {
        let code = ended.exit_code().map_or(Value::Null, Value::from);
        let facts = [
            ("process_pid", pid.into()),
            ("time", ended.at.into()),
            ("exit_code", code),
            ("process_status", DEAD.into()),
        ];
        self.notice(Point::AfterReap, &facts, turn);
    }
}

fn to_main(process: ProcessId, signal: Signal) -> Effect {
    Effect::Signal { process, signal: Some(signal), target: Target::Main, then: AfterSignal::Ignore }
}

fn signal_facts(pid: i32, signal: Signal) -> [(&'static str, Value); 2] {
    [("pid", pid.into()), ("signum", signal.number().into())]
}
