//! Processes: spawn, signal, list, open, forget, and their ends.

use super::event::{Attachment, Effect, Made, ReplyTo, SignalFor};
use super::memory::{Home, WhenFull};
use super::output::Captures;
use super::rules::{check_spawn, invalid, limit};
use super::{Answer, Core, Effects, Timer};
use crate::limits::{FD_RESERVE, FDS_PER_PROCESS, MAX_PROCESSES};
use ringmaster_protocol::limits::MAX_PAGE;
use ringmaster_protocol::message::{
    Exit, FORGET_AT_END, Forget, Keeping, Lifetime, List, Listing, OpenProcess, ProcessFile, ProcessId, ProcessInfo,
    Refusal, Reply, SetLifetime, Signal, Signalled, Spawn, Spawned, Stdin, StopPlan, Target,
};
use ringmaster_protocol::ring::Stream;

/// One process.
#[derive(Debug)]
pub(super) struct Process {
    pub id: ProcessId,
    pub name: String,
    pub token: u64,
    pub pid: i32,
    pub started_ns: u64,
    pub lifetime: Lifetime,
    pub stop: StopPlan,
    pub when_full: WhenFull,
    /// The directory of its rings, when they are spilled.
    pub spill: Option<String>,
    pub note: Vec<u8>,
    pub captures: Captures,
    pub life: Life,
    pub fate: Fate,
}

/// Whether it lives.
#[derive(Debug)]
pub(super) enum Life {
    Running,
    Exited(Exit),
}

/// What becomes of it by the core's own doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// No.
    Open,
    /// Nobody wants to hear of it: its output goes nowhere, and its end is the end of its record.
    Abandoned,
    /// Its lease has run out; what is left of the tree is killed then, and the record forgotten.
    Condemned {
        /// `CLOCK_BOOTTIME`.
        kill_at: u64,
    },
}

impl Process {
    pub fn home(&self) -> Home {
        if self.spill.is_some() { Home::Disk } else { Home::Memory }
    }

    /// As clients see it.
    pub fn info(&self) -> ProcessInfo {
        ProcessInfo {
            id: self.id,
            name: self.name.clone(),
            pid: self.pid,
            started_ns: self.started_ns,
            lifetime: self.lifetime,
            note: self.note.clone(),
            streams: self.captures.states(),
            exit: match &self.life {
                Life::Running => None,
                Life::Exited(exit) => Some(*exit),
            },
        }
    }
}

impl Core {
    pub(super) fn spawn(&mut self, to: ReplyTo, spawn: Spawn, out: &mut Effects) -> Answer {
        self.may_change(to.client)?;
        check_spawn(&spawn)?;
        if let Some(known) = self.names.get(&spawn.name).and_then(|id| self.processes.get(id)) {
            if known.token == spawn.token {
                return Ok(Some(spawned(&spawn, known.info())));
            }
            return Err(Refusal::NameTaken { what: "process".into(), name: spawn.name });
        }
        if spawn.lifetime == Lifetime::Leased && !self.lease.is_held_by(to.client) {
            return Err(Refusal::NoLease);
        }
        self.room_for_process()?;
        let inherited = match &spawn.stdin {
            Stdin::Socket(name) => Some(name),
            Stdin::Null | Stdin::Passed(_) => None,
        };
        for name in spawn.sockets.iter().chain(inherited) {
            if !self.sockets.contains_key(name) {
                return Err(Refusal::NotFound { what: "socket".into(), name: name.clone() });
            }
        }
        self.leaving = false;
        out.push(Effect::Start { to, spawn: Box::new(spawn) });
        Ok(None)
    }

    fn room_for_process(&self) -> Result<(), Refusal> {
        if self.processes.len() >= MAX_PROCESSES {
            return Err(limit("processes", MAX_PROCESSES));
        }
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        let used =
            count(self.processes.len()) * FDS_PER_PROCESS + count(self.sockets.len()) + count(self.clients.len());
        if used + FDS_PER_PROCESS + FD_RESERVE > self.facts.max_fds {
            return Err(Refusal::Limit { limit: "open files".into(), value: self.facts.max_fds });
        }
        Ok(())
    }

    pub(super) fn started(
        &mut self,
        to: ReplyTo,
        spawn: Spawn,
        outcome: Result<Box<Made>, Refusal>,
        out: &mut Effects,
    ) {
        let answer = outcome.map(|made| {
            let process = self.insert(&spawn, *made, out);
            Some(spawned(&spawn, process))
        });
        self.answer(to, answer, None, out);
    }

    /// Takes in a process that was made or found again.
    pub(super) fn insert(&mut self, spawn: &Spawn, made: Made, out: &mut Effects) -> ProcessInfo {
        let process = Process {
            id: made.id,
            name: spawn.name.clone(),
            token: spawn.token,
            pid: made.pid,
            started_ns: made.started_ns,
            lifetime: spawn.lifetime,
            stop: spawn.stop,
            when_full: WhenFull::of(spawn),
            spill: spill(spawn),
            note: spawn.note.clone(),
            captures: Captures::new(made.rings, made.seq),
            life: made.exit.map_or(Life::Running, Life::Exited),
            fate: Fate::Open,
        };
        let info = process.info();
        self.names.insert(spawn.name.clone(), made.id);
        self.processes.insert(made.id, Box::new(process));
        self.enter_rings(made.id, out);
        self.mark_all(made.id);
        // An adopted process of a lease that has run out already.
        if info.lifetime == Lifetime::Leased && !self.lease.protects() {
            self.condemn(made.id, out);
        }
        info
    }

    pub(super) fn signal(&mut self, to: ReplyTo, signal: &Signal, out: &mut Effects) -> Answer {
        if !(0..=64).contains(&signal.signal) {
            return Err(invalid("signal", signal.signal, "0 to 64"));
        }
        if signal.signal != 0 {
            self.may_change(to.client)?;
        }
        self.find(signal.process)?;
        out.push(Effect::Signal {
            process: signal.process,
            signal: signal.signal,
            target: signal.target,
            purpose: SignalFor::Client(to),
        });
        Ok(None)
    }

    pub(super) fn signalled(
        &mut self,
        process: ProcessId,
        purpose: SignalFor,
        outcome: Result<Vec<i32>, Refusal>,
        out: &mut Effects,
    ) {
        match purpose {
            SignalFor::Client(to) => {
                let answer = outcome.map(|pids| Some(Signalled { pids, ext: Vec::new() }.into()));
                self.answer(to, answer, None, out);
            }
            SignalFor::Stop => {}
            SignalFor::Probe => {
                if outcome.is_ok_and(|pids| pids.is_empty()) {
                    self.release(process, out);
                }
            }
        }
    }

    pub(super) fn list(&self, list: &List) -> Reply {
        let page = usize::try_from(MAX_PAGE).unwrap_or(1);
        let mut matching = self
            .processes
            .range((std::ops::Bound::Excluded(list.after), std::ops::Bound::Unbounded))
            .map(|(_, process)| process)
            .filter(|process| process.name.starts_with(&list.prefix));
        let processes = matching.by_ref().take(page).map(|process| process.info()).collect();
        let more = matching.next().is_some();
        Listing { processes, more, ext: Vec::new() }.into()
    }

    pub(super) fn open_process(&mut self, to: ReplyTo, open: &OpenProcess, out: &mut Effects) -> Answer {
        let process = self.find(open.process)?.info();
        let reply = ProcessFile { process, ext: Vec::new() };
        let attachment = Some(Attachment::Process(open.process));
        self.answer(to, Ok(Some(reply.into())), attachment, out);
        Ok(None)
    }

    pub(super) fn forget(&mut self, to: ReplyTo, forget: &Forget, out: &mut Effects) -> Answer {
        self.may_change(to.client)?;
        let process = self.find(forget.process)?;
        match process.life {
            Life::Running => {
                return Err(Refusal::StillRunning { name: process.name.clone() });
            }
            Life::Exited(_) => {}
        }
        self.release(forget.process, out);
        Ok(Some(super::done()))
    }

    pub(super) fn set_lifetime(&mut self, to: ReplyTo, set: &SetLifetime, out: &mut Effects) -> Answer {
        self.may_change(to.client)?;
        self.find(set.process)?;
        if set.lifetime == Lifetime::Leased && !self.lease.is_held_by(to.client) {
            return Err(Refusal::NoLease);
        }
        if let Some(process) = self.processes.get_mut(&set.process) {
            process.lifetime = set.lifetime;
            out.push(Effect::SaveLifetime { process: set.process, lifetime: set.lifetime });
        }
        if set.ext.iter().any(|(tag, _)| *tag == FORGET_AT_END) {
            return self.abandon(to, set.process, out);
        }
        Ok(Some(super::done()))
    }

    /// Forgets a process that has ended now, one that lives when it ends. It goes on writing, to nowhere.
    pub(super) fn abandon(&mut self, to: ReplyTo, id: ProcessId, out: &mut Effects) -> Answer {
        self.may_change(to.client)?;
        self.may_rule(to.client, id)?;
        let Some(process) = self.processes.get_mut(&id) else {
            return Ok(None);
        };
        match (&process.life, process.fate) {
            (Life::Exited(_), Fate::Open | Fate::Abandoned) => self.release(id, out),
            (Life::Running, Fate::Open) => {
                process.fate = Fate::Abandoned;
                self.discard(id, out);
            }
            // On its way out already.
            (Life::Running, Fate::Abandoned) | (_, Fate::Condemned { .. }) => {}
        }
        Ok(Some(super::done()))
    }

    /// A process has ended. What is left in its pipes (`heads`, so far) still comes, and still counts as its last words.
    pub(super) fn ended(&mut self, id: ProcessId, exit: Exit, out: &mut Effects) {
        let now = self.now;
        let Some(process) = self.processes.get_mut(&id) else {
            return;
        };
        match process.life {
            Life::Exited(_) => return,
            Life::Running => {}
        }
        let exit = Exit { heads: process.captures.heads_with(exit.heads), ..exit };
        process.life = Life::Exited(exit);
        let fate = process.fate;
        out.push(Effect::SaveExit { process: id, exit });
        for stream in Stream::ALL {
            self.rouse(id, stream, out);
            self.tell_news(id, stream);
        }
        self.mark_exit(id);
        match fate {
            Fate::Open => {}
            Fate::Abandoned => self.release(id, out),
            Fate::Condemned { kill_at } if now.boot_ns >= kill_at => self.release(id, out),
            Fate::Condemned { .. } => self.probe(id, out),
        }
    }

    /// Somebody else's end may have been the last of a condemned tree.
    pub(super) fn orphan_ended(&self, out: &mut Effects) {
        for id in &self.condemned {
            if self.processes.get(id).is_some_and(|process| matches!(process.life, Life::Exited(_))) {
                self.probe(*id, out);
            }
        }
    }

    fn probe(&self, process: ProcessId, out: &mut Effects) {
        let (signal, target, purpose) = (0, Target::Tree, SignalFor::Probe);
        out.push(Effect::Signal { process, signal, target, purpose });
    }

    /// Its lease has run out: asks the whole tree to end, and sets the time at which what is left is killed.
    pub(super) fn condemn(&mut self, id: ProcessId, out: &mut Effects) {
        let now = self.now;
        let Some(process) =
            self.processes.get_mut(&id).filter(|process| !matches!(process.fate, Fate::Condemned { .. }))
        else {
            return;
        };
        let grace_ns = process.stop.grace_ms.saturating_mul(1_000_000);
        let kill_at = now.boot_ns.saturating_add(grace_ns);
        process.fate = Fate::Condemned { kill_at };
        self.condemned.insert(id);
        let signal = process.stop.signal;
        self.timers.insert((kill_at, Timer::Kill(id)));
        out.push(Effect::Signal { process: id, signal, target: Target::Tree, purpose: SignalFor::Stop });
        let ended = self.processes.get(&id).is_some_and(|process| matches!(process.life, Life::Exited(_)));
        if ended {
            self.probe(id, out);
        }
    }

    /// The grace of a condemned process is over.
    pub(super) fn kill(&mut self, id: ProcessId, out: &mut Effects) {
        let Some(process) = self.processes.get_mut(&id) else {
            return;
        };
        let (signal, target) = (libc::SIGKILL, Target::Tree);
        out.push(Effect::Signal { process: id, signal, target, purpose: SignalFor::Stop });
        match process.life {
            // Its end comes soon and finds it condemned.
            Life::Running => {}
            Life::Exited(_) => self.release(id, out),
        }
    }

    /// Forgets a process.
    pub(super) fn release(&mut self, id: ProcessId, out: &mut Effects) {
        let Some(process) = self.processes.remove(&id) else {
            return;
        };
        self.names.remove(&process.name);
        self.condemned.remove(&id);
        self.leave_rings(&process);
        if let Fate::Condemned { kill_at } = process.fate {
            self.timers.remove(&(kill_at, Timer::Kill(id)));
        }
        for timer in process.captures.timers(id) {
            self.timers.remove(&timer);
        }
        for client in self.clients.values_mut() {
            client.marks.forget(id);
        }
        let lost = process.captures.lost();
        if lost > 0 {
            self.lost = self.lost.saturating_add(lost);
            out.push(Effect::SaveLost { bytes: self.lost });
        }
        out.push(Effect::Release { process: id });
    }

    pub(super) fn find(&self, id: ProcessId) -> Result<&Process, Refusal> {
        let missing = || Refusal::NotFound { what: "process".into(), name: id.0.to_string() };
        self.processes.get(&id).map(Box::as_ref).ok_or_else(missing)
    }
}

fn spill(spawn: &Spawn) -> Option<String> {
    match spawn.keeping()? {
        Keeping::Spill { directory, .. } => Some(String::from_utf8_lossy(&directory).into_owned()),
        Keeping::DropNewest => None,
    }
}

/// Says which additions to the request are gone by.
fn spawned(spawn: &Spawn, process: ProcessInfo) -> Reply {
    let ext = spawn.keeping().map(|_| (Keeping::TAG, Vec::new()));
    Spawned { process, ext: ext.into_iter().collect() }.into()
}
