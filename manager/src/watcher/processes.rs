//! The processes of one watcher: who is there, who may come, who has to go.

use super::members::Members;
use super::{Status, Turn, Watcher};
use crate::arbiter::{About, AfterSignal, Effect, Standing, Told};
use crate::options::Signal;
use crate::process::{
    Cause, Ended, Greeted, Making, Place, Process, ProcessState, SpawnTicket, Started, Stopping, Wid,
};
use crate::streams::Loss;
use ringmaster_protocol::message::{Exit, ProcessId, ProcessInfo, Target};
use ringmaster_protocol::ring::Stream;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

/// A process that lives shorter than this counts as failing (DESIGN §3).
const HEALTHY_AGE: Duration = Duration::from_secs(1);

/// The first pause after a failing start; doubles with each further one, up to `check_delay`.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest wait for the last words of an ended process before its end is announced without them (a full disk must
/// not hide a death).
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How often in a row the process of one number has failed, and when it may be tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// In a row.
    pub failures: u32,
    /// Not before.
    pub until: Duration,
}

/// All processes of a watcher by number.
#[derive(Debug, Default)]
pub struct Processes {
    pub(super) all: Members,
    backoff: BTreeMap<Wid, Backoff>,
    /// Ended and announced, but their last words are not written yet: the number is not free at the core.
    pub(super) lingering: BTreeMap<ProcessId, Wid>,
    /// Numbers that processes of an earlier watcher of this name hold.
    pub(super) avoided: BTreeSet<Wid>,
    /// Spawn attempts that failed in a row, for `max_retry`.
    pub(super) failed_attempts: u32,
    /// Processes that were ever started or adopted.
    pub(super) seen: u64,
}

impl Processes {
    /// By number.
    pub fn iter(&self) -> impl Iterator<Item = &Process> {
        self.all.iter()
    }

    /// No process is there, coming or going.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Processes there, coming or going.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Living processes, those being stopped included.
    pub fn live_pids(&self) -> Vec<i32> {
        let mut pids: Vec<i32> = self.iter().filter_map(Process::live_pid).collect();
        pids.sort_unstable();
        pids
    }

    /// Pids of all that have not been announced as ended.
    pub fn pids(&self) -> BTreeSet<i32> {
        self.iter().filter_map(|process| process.started().map(|started| started.pid)).collect()
    }

    /// Numbers of the processes that run undisturbed, oldest first.
    pub fn running_by_age(&self) -> Vec<Wid> {
        let mut running: Vec<_> = self.iter().filter_map(|p| p.running().map(|s| (s.at, s.id, p.wid))).collect();
        running.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        running.into_iter().map(|(_, _, wid)| wid).collect()
    }

    /// Running and coming ones.
    pub fn wanted_count(&self) -> usize {
        self.all.staying()
    }

    /// The process with that pid, while it lives.
    pub fn by_pid(&self, pid: i32) -> Option<&Process> {
        self.iter().find(|process| process.live_pid() == Some(pid))
    }

    /// The smallest free number.
    fn free_wid(&self) -> Wid {
        let lingering: BTreeSet<Wid> = self.lingering.values().copied().collect();
        self.all.free(|wid| lingering.contains(&wid) || self.avoided.contains(&wid))
    }

    /// Changes what is known of a process that was started; gives it as it is then.
    pub(super) fn change(&mut self, id: ProcessId, change: impl FnOnce(&mut Started)) -> Option<Started> {
        let mut process = self.all.by_id(id)?;
        let started = process.started_mut()?;
        change(started);
        let changed = *started;
        self.all.put(process);
        Some(changed)
    }

    /// The last words of an ended process are written; its number is free.
    fn let_go(&mut self, id: ProcessId) -> bool {
        let wid = self.lingering.remove(&id);
        wid.iter().for_each(|wid| self.all.freed(*wid));
        wid.is_some()
    }

    /// When the free number may be tried again, if not now.
    pub(super) fn pause(&self, now: Duration) -> Option<Duration> {
        self.backoff.get(&self.free_wid()).map(|backoff| backoff.until).filter(|until| *until > now)
    }

    /// The next overdue kill or announcement.
    pub(super) fn deadline(&self) -> Option<Duration> {
        self.all.next_due()
    }

    fn note_end(&mut self, wid: Wid, age: Duration, now: Duration, longest: Duration) {
        if age >= HEALTHY_AGE {
            self.backoff.remove(&wid);
            return;
        }
        let failures = self.backoff.get(&wid).map_or(0, |backoff| backoff.failures).saturating_add(1);
        let pause = FIRST_PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(longest);
        self.backoff.insert(wid, Backoff { failures, until: now.saturating_add(pause) });
    }

    /// Forgets those that were asked for: the core is away.
    pub fn drop_spawning(&mut self) {
        self.all.drop_asked();
    }

    /// Forgets earlier failures: somebody has asked for a start.
    pub(super) fn forgive(&mut self) {
        self.backoff.clear();
        self.failed_attempts = 0;
    }
}

impl Watcher {
    /// Asks for one more process, a hook first. The answer comes as [`Self::spawned`].
    pub(super) fn spawn_one(&mut self, cause: Cause, turn: &mut Turn<'_>) {
        let wid = self.processes.free_wid();
        *turn.next_ticket += 1;
        let ticket = SpawnTicket(*turn.next_ticket);
        self.processes.all.put(Process { wid, state: ProcessState::Spawning(ticket), cause });
        self.processes.all.filled_to(wid);
        if !self.ask_spawn(ticket, turn) {
            self.launch(wid, ticket, turn);
        }
    }

    /// Asks the core for a process.
    pub(super) fn launch(&mut self, wid: Wid, ticket: SpawnTicket, turn: &mut Turn<'_>) {
        let making = self.making(&turn.world.environment);
        let place = Place {
            options: &self.options,
            environment: &self.options.env,
            making: &making,
            sockets: &turn.world.sockets,
            working_dir: &turn.world.working_dir,
            wid,
            ticket,
            session: turn.world.session,
            heritage: turn.world.heritage,
        };
        match place.launch() {
            Ok(launch) => {
                turn.tickets.insert(ticket, self.id);
                turn.effects.push(Effect::Spawn(Box::new(launch)));
            }
            Err(error) => {
                // Trying again cannot help: only another option can.
                self.processes.failed_attempts = u32::MAX - 1;
                self.spawn_failed(wid, &error.to_string(), turn);
            }
        }
    }

    /// What processes are made of: the same for all, until an option changes.
    fn making(&mut self, circusd_env: &BTreeMap<String, String>) -> Rc<Making> {
        if let Some((options, making)) = &self.making
            && Rc::ptr_eq(options, &self.options)
        {
            return Rc::clone(making);
        }
        let making = Rc::new(Making::of(&self.options, circusd_env));
        self.making = Some((Rc::clone(&self.options), Rc::clone(&making)));
        making
    }

    fn spawn_failed(&mut self, wid: Wid, reason: &str, turn: &mut Turn<'_>) {
        tracing::warn!("error in '{}': {reason}", self.options.name);
        self.processes.all.remove(wid);
        self.processes.failed_attempts = self.processes.failed_attempts.saturating_add(1);
        self.tally.failed_starts = self.tally.failed_starts.saturating_add(1);
        let longest = turn.world.check_delay;
        self.processes.note_end(wid, Duration::ZERO, turn.now.mono, longest);
    }

    /// The core's answer to [`Self::spawn_one`].
    pub fn spawned(&mut self, ticket: SpawnTicket, result: Result<&ProcessInfo, &str>, turn: &mut Turn<'_>) {
        let Some(Process { wid, cause, .. }) = self.processes.all.by_ticket(ticket) else {
            return;
        };
        match result {
            Ok(info) => {
                self.tally.note_start(cause);
                self.processes.failed_attempts = 0;
                self.take_in(wid, info, Told::Nothing, turn);
            }
            Err(reason) => self.spawn_failed(wid, reason, turn),
        }
    }

    /// Takes a process back from the core. `told` is what subscribers know of it. The end of one that ended while nobody
    /// looked is announced at once, so that ends come in their order; its last words are still written.
    pub fn adopt(&mut self, wid: Wid, info: &ProcessInfo, told: Told, turn: &mut Turn<'_>) {
        if told == Told::Reap {
            let captured = info.streams.iter().any(|stream| stream.captured);
            if captured {
                turn.effects.push(Effect::Attach { process: info.id, wid, watcher: self.id });
            }
            return self.let_go(info.id, wid, captured, turn);
        }
        self.take_in(wid, info, told, turn);
        self.conclude(wid, turn);
    }

    fn take_in(&mut self, wid: Wid, info: &ProcessInfo, told: Told, turn: &mut Turn<'_>) {
        let at = seconds(info.started_ns);
        let captured = info.streams.iter().any(|stream| stream.captured);
        let age = Duration::try_from_secs_f64(turn.now.wall - at).unwrap_or_default();
        let expires = self.max_age().map(|max_age| turn.now.mono.saturating_add(max_age.saturating_sub(age)));
        let greeted = Greeted::Yes;
        let (id, pid, at_mono, lost) = (info.id, info.pid, turn.now.mono, 0);
        let started = Started { id, pid, at, at_mono, expires, captured, lost, greeted };
        self.processes.all.put(Process { wid, state: ProcessState::Running(started), cause: Cause::Wanted });
        self.processes.seen += 1;
        if captured {
            turn.effects.push(Effect::Attach { process: info.id, wid, watcher: self.id });
        }
        if told == Told::Nothing {
            if self.ask_greeting(info.id, info.pid, turn) {
                self.greet(info.id, Greeted::Waiting);
            } else {
                self.publish_spawn(&started, turn);
            }
        }
        if let Some(exit) = &info.exit {
            self.exited(info.id, exit, turn);
        }
    }

    /// Announces a process.
    pub(super) fn publish_spawn(&self, started: &Started, turn: &mut Turn<'_>) {
        let fields = [("process_pid", started.pid.into()), ("time", started.at.into())];
        self.publish_about(turn, "spawn", &fields, About::Spawned(started.id));
    }

    /// `max_age` with its random part (spec f.10); the spread only has to keep a fleet from moving in step.
    fn max_age(&self) -> Option<Duration> {
        if self.options.max_age == 0 {
            return None;
        }
        let spread = match self.options.max_age_variance {
            0 => 0,
            variance => std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0) % (variance + 1),
        };
        Some(Duration::from_secs(self.options.max_age.saturating_add(spread)))
    }

    /// Stops one process as the options say.
    pub(super) fn stop_process(&mut self, wid: Wid, turn: &mut Turn<'_>) {
        let timeout = self.options.graceful_timeout.duration();
        self.stop_process_with(wid, self.options.stop_signal, timeout, turn);
    }

    /// Sends `signal` now and SIGKILL to the whole tree after `timeout`. A process that is stopping already goes on so.
    pub(super) fn stop_process_with(&mut self, wid: Wid, signal: Signal, timeout: Duration, turn: &mut Turn<'_>) {
        let Some(Process { state: ProcessState::Running(started), cause, .. }) = self.processes.all.get(wid) else {
            return;
        };
        let kill_at = (signal != Signal::KILL).then(|| turn.now.mono.saturating_add(timeout));
        self.processes.all.put(Process { wid, state: ProcessState::Stopping(started, Stopping { kill_at }), cause });
        let send = |target, then| Effect::Signal { process: started.id, signal: Some(signal), target, then };
        if self.options.stop_children {
            // Before the parent: afterwards it may be gone, and nobody knows its children (spec f.6).
            turn.effects.push(send(Target::Children, AfterSignal::Announce(self.id)));
        }
        self.signal_process(&started, signal, turn);
        self.publish_kill(started.pid, turn);
    }

    /// Stops every process that runs.
    pub(super) fn stop_all(&mut self, turn: &mut Turn<'_>) {
        if self.processes.all.running() == 0 {
            return;
        }
        for wid in self.processes.running_by_age() {
            self.stop_process(wid, turn);
        }
    }

    /// Publishes that a signal was sent to `pid` in order to end it.
    pub fn publish_kill(&self, pid: i32, turn: &mut Turn<'_>) {
        self.publish(turn, "kill", &[("process_pid", pid.into()), ("time", turn.now.wall.into())]);
    }

    /// Sends the overdue SIGKILLs.
    pub(super) fn escalate(&mut self, turn: &mut Turn<'_>) {
        let mut killed = Vec::new();
        for process in self.processes.all.overdue(turn.now.mono) {
            if let ProcessState::Stopping(started, _) = process.state {
                self.processes
                    .all
                    .put(Process { state: ProcessState::Stopping(started, Stopping { kill_at: None }), ..process });
                turn.effects.push(kill_tree(started.id));
                killed.push(started.pid);
            }
        }
        for pid in killed {
            self.notice_kill(pid, turn);
            self.publish_kill(pid, turn);
        }
    }

    /// A process has ended. What an ordered end leaves of its tree is killed.
    pub fn exited(&mut self, id: ProcessId, exit: &Exit, turn: &mut Turn<'_>) {
        let longest = turn.world.check_delay;
        let Some(process) = self.processes.all.by_id(id) else {
            return;
        };
        let (started, ordered) = match process.state {
            ProcessState::Running(started) => (started, false),
            ProcessState::Stopping(started, _) => (started, true),
            ProcessState::Spawning(_) | ProcessState::Ended(..) => return,
        };
        let wid = process.wid;
        let announce_by = if started.captured { turn.now.mono.saturating_add(LAST_WORDS) } else { turn.now.mono };
        let ended = Ended { status: exit.status, at: seconds(exit.realtime_ns), announce_by };
        self.processes.all.put(Process { state: ProcessState::Ended(started, ended), ..process });
        self.tally.note_exit(&ended, exit.rusage);
        if ordered {
            turn.effects.push(kill_tree(id));
        }
        let lived = Duration::try_from_secs_f64(seconds(exit.realtime_ns) - started.at).unwrap_or_default();
        if ordered {
            self.processes.backoff.remove(&wid);
        } else {
            self.processes.note_end(wid, lived, turn.now.mono, longest);
        }
        if !started.captured {
            self.conclude(wid, turn);
        }
    }

    /// Output of a process is lost: it is counted, and told.
    pub fn lost(&mut self, id: ProcessId, stream: Stream, loss: &Loss, turn: &mut Turn<'_>) {
        self.tally.lost = self.tally.lost.saturating_add(loss.bytes);
        let count = |started: &mut Started| started.lost = started.lost.saturating_add(loss.bytes);
        let Some(started) = self.processes.change(id, count) else {
            return;
        };
        let fields = [
            ("process_pid", started.pid.into()),
            ("stream", stream.name().into()),
            ("bytes", loss.bytes.into()),
            ("since", seconds(loss.since_ns).into()),
            ("until", seconds(loss.until_ns).into()),
            ("reason", loss.reason.to_string().into()),
            ("time", turn.now.wall.into()),
        ];
        self.publish(turn, "lost", &fields);
    }

    /// The last words of an ended process are written. `false`: it is not one of ours.
    pub fn drained(&mut self, id: ProcessId, turn: &mut Turn<'_>) -> bool {
        if self.processes.let_go(id) {
            turn.effects.push(Effect::Forget(id));
            return true;
        }
        let Some(process) = self.processes.all.by_id(id) else {
            return false;
        };
        match process.state {
            ProcessState::Ended(started, ended) if started.greeted == Greeted::Waiting => {
                // Its end is announced after its beginning; then nothing is left to wait for.
                let started = Started { captured: false, ..started };
                let ended = Ended { announce_by: turn.now.mono, ..ended };
                self.processes.all.put(Process { state: ProcessState::Ended(started, ended), ..process });
            }
            ProcessState::Ended(..) => {
                self.conclude(process.wid, turn);
                self.processes.let_go(id);
                turn.effects.push(Effect::Forget(id));
            }
            // The core's answer that brought its output told of its end, too, and was faster than the notice of it; or its output
            // cannot be read. Either way there is nothing to wait for.
            ProcessState::Running(_) | ProcessState::Stopping(..) | ProcessState::Spawning(_) => {
                self.processes.change(id, |started| started.captured = false);
            }
        }
        true
    }

    /// Announces those whose last words take too long.
    pub(super) fn conclude_ended(&mut self, turn: &mut Turn<'_>) {
        for process in self.processes.all.overdue(turn.now.mono) {
            match process.state {
                ProcessState::Ended(..) => self.conclude(process.wid, turn),
                ProcessState::Spawning(_) | ProcessState::Running(_) | ProcessState::Stopping(..) => {}
            }
        }
    }

    /// Takes an ended process out and publishes `reap`, with the time of the end. Then the core may forget it.
    fn conclude(&mut self, wid: Wid, turn: &mut Turn<'_>) {
        let Some(Process { state: ProcessState::Ended(started, ended), .. }) = self.processes.all.get(wid) else {
            return;
        };
        match started.greeted {
            Greeted::Waiting => return,
            Greeted::No => drop(self.processes.all.remove(wid)),
            Greeted::Yes => {
                self.notice_reap(started.pid, turn);
                self.processes.all.remove(wid);
                let code = ended.exit_code().map_or(Value::Null, Value::from);
                let fields = [("process_pid", started.pid.into()), ("time", ended.at.into()), ("exit_code", code)];
                self.publish_about(turn, "reap", &fields, About::Reaped(started.id));
                self.notice_reaped(started.pid, &ended, turn);
            }
        }
        self.let_go(started.id, wid, started.captured, turn);
    }

    /// The core forgets an ended process when its last words are written; until then its number is taken.
    fn let_go(&mut self, id: ProcessId, wid: Wid, captured: bool, turn: &mut Turn<'_>) {
        if captured {
            self.processes.lingering.insert(id, wid);
        } else {
            turn.effects.push(Effect::Forget(id));
        }
    }

    /// Whether the last operation or the back-off allows a spawn now, within the retries.
    pub(super) fn retries_left(&self) -> bool {
        match self.options.max_retry {
            _ if self.processes.failed_attempts == u32::MAX => false,
            crate::options::Retries::Unlimited => true,
            crate::options::Retries::Times(times) => self.processes.failed_attempts < times.max(1),
        }
    }

    /// Everything is stopped, to stay so or on the way to a start: closes the streams and says so.
    pub(super) fn become_stopped(&mut self, standing: Standing, turn: &mut Turn<'_>) {
        self.close_quietly(turn);
        self.publish_about(turn, "stop", &[("time", turn.now.wall.into())], self.stands(standing));
        tracing::info!("{} stopped", self.options.name);
    }

    /// Stopped without a word to anybody.
    pub(super) fn close_quietly(&mut self, turn: &mut Turn<'_>) {
        self.status = Status::Stopped;
        turn.effects.push(Effect::CloseStreams(self.id));
    }
}

/// SIGKILL for a process, its descendants and its session.
fn kill_tree(process: ProcessId) -> Effect {
    Effect::Signal { process, signal: Some(Signal::KILL), target: Target::Tree, then: AfterSignal::Ignore }
}

/// Seconds since the Unix epoch from nanoseconds, exact to a fraction of a microsecond.
fn seconds(nanoseconds: u64) -> f64 {
    Duration::from_nanos(nanoseconds).as_secs_f64()
}
