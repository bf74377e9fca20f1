//! The core: what a request, a byte or a death means.
//!
//! Pure: [`Core::step`] takes one [`Input`] and the time, changes its own state and appends [`Effect`]s, which the shell
//! carries out in their order. Handlers live in files by topic and never call the system. What they may do to each other
//! goes through marks and timers.

mod authority;
mod event;
mod lease;
mod marks;
mod memory;
mod output;
mod pace;
mod process;
mod rest;
pub mod ring;
mod rules;
mod session;
mod socket;
mod thin;
mod value;

pub use authority::{Peer, Right, namespace};
pub use event::{Attachment, ClientId, Effect, Input, Made, Now, ReplyTo, SignalFor};
pub use memory::WhenFull;
pub use rules::Passed;
pub use thin::Holes;

use crate::state::Deaths;
use lease::Lease;
use marks::Marks;
use memory::Memory;
use process::Process;
use ringmaster_protocol::message::{
    Done, Exit, Guarantee, Listen, ProcessId, ProcessInfo, Refusal, Reply, Request, SocketInfo,
};
use ringmaster_protocol::ring::Stream;
use rules::{check_name, invalid, limit};
use socket::Listener;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Effects in the order in which they are carried out.
pub type Effects = Vec<Effect>;

/// What a handler answers: a reply, `None` when it comes later or has been given, or a refusal.
type Answer = Result<Option<Reply>, Refusal>;

/// What the core is told about itself once.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Version of this build.
    pub version: String,
    /// Drawn when the state was made.
    pub instance_id: u64,
    /// The pid of the half that owns the children.
    pub keeper_pid: i32,
    /// Our pid.
    pub kernel_pid: i32,
    /// Descriptors that the process may have.
    pub max_fds: u64,
    /// Bytes of memory for all rings.
    pub ring_memory: u64,
    /// Which promises hold on this host.
    pub guarantees: Vec<Guarantee>,
    /// How to conduct ourselves.
    pub conduct: Conduct,
    /// How often a half has died, or was replaced.
    pub deaths: Deaths,
}

/// How the kernel half conducts itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conduct {
    /// As it is made to.
    Full,
    /// After several crashes: for a while ([`SAFE_MODE`]) it drains pipes, tells ends and its status, and takes no other
    /// request, so that one which makes it crash does not do so for ever.
    Safe,
}

/// What the state file says about a former core's lease and losses.
#[derive(Debug, Clone, Copy, Default)]
pub struct Inheritance {
    /// Leases given so far.
    pub epoch: u64,
    /// Whether one was out.
    pub leased: bool,
    /// Its grace.
    pub grace_ms: u64,
    /// Bytes lost by processes that were forgotten.
    pub lost: u64,
}

/// What a deadline is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// The grace of the lease.
    Lease,
    /// A condemned process.
    Kill(ProcessId),
    /// A pipe that was left alone.
    Held(ProcessId, Stream),
    /// A pipe that rests.
    Rest(ProcessId, Stream),
}

/// One connection.
#[derive(Debug)]
struct Client {
    peer: Peer,
    greeted: bool,
    watches: Vec<Watching>,
    marks: Marks,
}

/// One prefix of interest.
#[derive(Debug)]
struct Watching {
    prefix: String,
    /// `CLOCK_BOOTTIME` of the request.
    since_ns: u64,
}

/// Everything that one instance knows.
#[derive(Debug)]
pub struct Core {
    facts: Facts,
    now: Now,
    begun: Now,
    clients: BTreeMap<ClientId, Client>,
    processes: BTreeMap<ProcessId, Box<Process>>,
    names: HashMap<String, ProcessId>,
    /// Those whose lease has run out: each end of somebody may be the last of their trees.
    condemned: BTreeSet<ProcessId>,
    sockets: BTreeMap<String, Listener>,
    values: BTreeMap<String, u64>,
    lease: Lease,
    epoch: u64,
    grace_ms: u64,
    /// Bytes lost by forgotten processes.
    lost: u64,
    memory: Memory,
    timers: BTreeSet<(u64, Timer)>,
    /// Ends as soon as nothing is left.
    leaving: bool,
    /// What came of the last upgrade.
    last_upgrade: String,
}

impl Core {
    /// A core with nothing in it yet but the lease of its forerunner, whose grace begins now.
    pub fn new(facts: Facts, before: Inheritance, now: Now) -> Self {
        let mut core = Self {
            memory: Memory::new(facts.ring_memory),
            facts,
            now,
            begun: now,
            clients: BTreeMap::new(),
            processes: BTreeMap::new(),
            names: HashMap::new(),
            condemned: BTreeSet::new(),
            sockets: BTreeMap::new(),
            values: BTreeMap::new(),
            lease: Lease::Free,
            epoch: before.epoch,
            grace_ms: before.grace_ms,
            lost: before.lost,
            timers: BTreeSet::new(),
            leaving: false,
            last_upgrade: String::new(),
        };
        if before.leased {
            core.begin_grace();
        }
        core
    }

    /// One thing has happened.
    pub fn step(&mut self, input: Input, now: Now, out: &mut Effects) {
        self.now = now;
        match input {
            Input::Connected { client, peer } => self.connected(client, peer),
            Input::Disconnected { client } => self.disconnected(client, out),
            Input::Request { to, request } => self.request(to, *request, out),
            Input::Unreadable { to, refusal } => self.answer(to, Err(refusal), None, out),
            Input::Room { client, notices } => self.tell(client, notices, out),
            Input::Started { to, spawn, outcome } => self.started(to, *spawn, outcome, out),
            Input::Adopted { spawn, made } => {
                self.insert(&spawn, *made, out);
            }
            Input::Readable { process, stream } => self.readable(process, stream, out),
            Input::Captured { process, stream, outcome } => self.captured(process, stream, outcome, out),
            Input::Widened { process, stream, room } => self.widened(process, stream, room),
            Input::Ended { process, status, rusage, realtime_ns, pending } => {
                let exit = Exit { status, realtime_ns, rusage, heads: pending };
                self.ended(process, exit, out);
            }
            Input::OrphanEnded => self.orphan_ended(out),
            Input::Signalled { process, purpose, outcome } => self.signalled(process, purpose, outcome, out),
            Input::Bound { to, listen, number, outcome } => self.bound(to, *listen, number, outcome, out),
            Input::ValueStored { to, name, number, outcome } => self.value_stored(to, name, number, outcome, out),
            Input::ValueLoaded { to, outcome } => self.value_loaded(to, outcome, out),
            Input::Abandon { to, process } => {
                let answer = self.abandon(to, process, out);
                self.answer(to, answer, None, out);
            }
            Input::Terminate => self.terminate(out),
            Input::Tick => self.tick(out),
        }
        if self.leaving && self.is_idle() {
            self.leaving = false;
            out.push(Effect::Exit);
        }
    }

    /// The one switch over requests.
    fn request(&mut self, to: ReplyTo, mut request: Request, out: &mut Effects) {
        let answer = match self.admit(to, &request).and_then(|()| self.authorize(to, &mut request)) {
            Err(refusal) => Err(refusal),
            Ok(()) => match request {
                Request::Hello(m) => self.hello(to, &m),
                Request::Status(_) => Ok(Some(self.status())),
                Request::Spawn(m) => self.spawn(to, m, out),
                Request::Signal(m) => self.signal(to, &m, out),
                Request::List(m) => Ok(Some(self.list(&m))),
                Request::Watch(m) => self.watch(to, m),
                Request::Ack(m) => {
                    self.ack(to, m, out);
                    Ok(Some(done()))
                }
                Request::Forget(m) => self.forget(to, &m, out),
                Request::TakeLease(m) => self.take_lease(to, m, out),
                Request::PutLease(_) => self.put_lease(to, out),
                Request::Listen(m) => self.listen(to, m, out),
                Request::OpenSocket(m) => self.open_socket(to, &m, out),
                Request::Sockets(_) => Ok(Some(self.list_sockets())),
                Request::RemoveSocket(m) => self.remove_socket(to, &m, out),
                Request::SetValue(m) => self.set_value(to, m, out),
                Request::GetValue(m) => self.get_value(to, &m, out),
                Request::ListValues(m) => Ok(Some(self.list_values(&m))),
                Request::RemoveValue(m) => self.remove_value(&m, out),
                Request::OpenProcess(m) => self.open_process(to, &m, out),
                Request::SetLifetime(m) => self.set_lifetime(to, &m, out),
                Request::Upgrade(m) => {
                    out.push(Effect::Upgrade { to, program: m.program });
                    Ok(None)
                }
                Request::ExitIfIdle(_) => Ok(Some(self.exit_if_idle())),
            },
        };
        self.answer(to, answer, None, out);
    }

    /// When to send [`Input::Tick`] (`CLOCK_BOOTTIME`); `None`: never.
    pub fn next_deadline(&self) -> Option<u64> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Clients that have something to be told.
    pub fn marked(&self) -> impl Iterator<Item = ClientId> + '_ {
        self.clients.iter().filter(|(_, client)| !client.marks.is_empty()).map(|(id, _)| *id)
    }

    /// One process, as clients see it.
    pub fn process(&self, process: ProcessId) -> Option<ProcessInfo> {
        self.processes.get(&process).map(|process| process.info())
    }

    /// All processes, as clients see them.
    pub fn processes(&self) -> impl Iterator<Item = ProcessInfo> + '_ {
        self.processes.values().map(|process| process.info())
    }

    /// All sockets: what was asked for, what came of it.
    pub fn sockets(&self) -> impl Iterator<Item = (&Listen, &SocketInfo)> {
        self.sockets.values().map(|socket| (&socket.asked, &socket.info))
    }

    /// Descriptors that the process may have.
    pub fn max_fds(&self) -> u64 {
        self.facts.max_fds
    }

    /// What came of the last upgrade, and how many there were, for the status.
    pub fn set_last_upgrade(&mut self, report: String, deaths: Deaths) {
        (self.last_upgrade, self.facts.deaths) = (report, deaths);
    }

    fn tick(&mut self, out: &mut Effects) {
        while let Some((at, timer)) = self.timers.first().copied().filter(|(at, _)| *at <= self.now.boot_ns) {
            self.timers.remove(&(at, timer));
            match timer {
                Timer::Lease => self.end_grace(out),
                Timer::Kill(process) => self.kill(process, out),
                Timer::Held(process, stream) => self.resume(process, stream, out),
                Timer::Rest(process, stream) => self.rested(process, stream, out),
            }
        }
    }

    /// Sends an answer, unless it was a cast.
    fn answer(&self, to: ReplyTo, answer: Answer, attachment: Option<Attachment>, out: &mut Effects) {
        if to.request.is_none() || !self.clients.contains_key(&to.client) {
            return;
        }
        match answer {
            Ok(None) => {}
            Ok(Some(reply)) => out.push(Effect::Reply { to, reply: Box::new(reply), attachment }),
            Err(refusal) => out.push(Effect::Refuse { to, refusal }),
        }
    }
}

/// The one of a pair that belongs to a stream.
pub fn of<T>([stdout, stderr]: [T; 2], stream: Stream) -> T {
    match stream {
        Stream::Stdout => stdout,
        Stream::Stderr => stderr,
    }
}

fn done() -> Reply {
    Done::default().into()
}
