//! A core that is only a table, and a clock that only the test moves, for the tests of the arbiter.

use super::*;
use crate::endpoints::ClientId;
use crate::options::{Args, WatcherOptions};
use ringmaster_protocol::message::{ExitStatus, Lifetime, ProcessInfo, Rusage, StreamState, Target};
use serde_json::Value;
use std::path::PathBuf;

/// A core without processes: it answers spawns in order and keeps what was asked.
pub(super) struct Rig {
    pub arbiter: Arbiter,
    pub now: Now,
    pub next_pid: i32,
    /// Programs whose spawn fails.
    pub broken: bool,
    /// What the core says of each stream of a new process.
    pub state: StreamState,
    pub events: Vec<(String, Value)>,
    pub replies: Vec<Value>,
    pub signals: Vec<(i32, i32, Target)>,
    pub forgotten: Vec<ProcessId>,
    pub left_alone: Vec<ProcessId>,
    pub finished: Option<Ending>,
    pub spawns: Vec<f64>,
    /// Whole requests for processes, by pid.
    pub launches: BTreeMap<i32, crate::process::Launch>,
    /// What the core would keep.
    pub values: BTreeMap<String, Value>,
    /// How many values were sent to a core that does not answer; `None`: it answers.
    pub unanswered: Option<usize>,
    /// What the shell would have on disk.
    pub journal: Vec<u8>,
    pub config_reads: usize,
    pub trials: usize,
    pub rebinds: Vec<SocketChange>,
    pub streams: Vec<Option<String>>,
    /// Sockets that were to be looked at, each time anew.
    pub awaited: Vec<Vec<String>>,
    pending: std::collections::VecDeque<Effect>,
    busy: bool,
    /// The last question about processes.
    pub sampled: Option<(Asker, Option<Box<crate::hooks::HookCall>>)>,
    /// The last figures.
    pub shown: Option<crate::metrics::Snapshot>,
    /// Calls of hooks that are not answered.
    pub hook_calls: Vec<crate::hooks::HookCall>,
    pub held: Vec<crate::process::Launch>,
    pub hold: bool,
}

impl Rig {
    pub fn new(watchers: Vec<WatcherOptions>) -> Self {
        let mut rig = Self::unstarted(watchers);
        rig.event(Event::Attached(Vec::new()));
        rig
    }

    pub fn unstarted(mut watchers: Vec<WatcherOptions>) -> Self {
        watchers.sort_by(|a, b| a.name.cmp(&b.name));
        let roster = Roster { seeds: watchers.into_iter().map(Seed::from_file).collect(), ..Roster::default() };
        Self::with(roster)
    }

    pub fn world() -> World {
        World {
            sockets: SocketTable::default(),
            working_dir: PathBuf::from("/"),
            check_delay: Duration::from_secs(5),
            hooks_timeout: crate::hooks::DEFAULT_TIMEOUT,
            session: 1,
            heritage: crate::process::Heritage::for_test(),
            environment: BTreeMap::from([("HOME".to_owned(), "/home/me".to_owned())]),
        }
    }

    pub fn with(roster: Roster) -> Self {
        let world = Self::world();
        Self {
            arbiter: Arbiter::new(CircusOptions::default(), world, roster),
            now: Now { mono: Duration::ZERO, wall: 1000.0 },
            next_pid: 100,
            broken: false,
            state: StreamState::default(),
            events: Vec::new(),
            replies: Vec::new(),
            signals: Vec::new(),
            forgotten: Vec::new(),
            left_alone: Vec::new(),
            finished: None,
            spawns: Vec::new(),
            launches: BTreeMap::new(),
            values: BTreeMap::new(),
            unanswered: None,
            journal: Vec::new(),
            config_reads: 0,
            trials: 0,
            rebinds: Vec::new(),
            streams: Vec::new(),
            awaited: Vec::new(),
            pending: std::collections::VecDeque::new(),
            busy: false,
            sampled: None,
            shown: None,
            hook_calls: Vec::new(),
            held: Vec::new(),
            hold: false,
        }
    }

    pub fn event(&mut self, event: Event) {
        let effects = self.arbiter.handle(self.now, event);
        self.pending.extend(effects);
        if !std::mem::replace(&mut self.busy, true) {
            while let Some(effect) = self.pending.pop_front() {
                self.effect(effect);
            }
            self.busy = false;
        }
    }

    pub fn effect(&mut self, effect: Effect) {
        match effect {
            Effect::Reply { payload, .. } => self.replies.push(serde_json::from_slice(&payload).unwrap()),
            Effect::Publish { topic, payload, .. } => {
                self.events.push((topic, serde_json::from_slice(&payload).unwrap()));
            }
            Effect::Spawn(launch) if self.hold => self.held.push(*launch),
            Effect::Spawn(launch) => self.spawn(*launch),
            Effect::Signal { process, signal, target, .. } => {
                let pid = i32::try_from(process.0).unwrap();
                self.signals.push((pid, signal.map_or(0, crate::options::Signal::number), target));
            }
            Effect::Forget(process) => self.forgotten.push(process),
            Effect::OpenStreams { stdout, .. } => {
                let filename = |stream: crate::options::StreamOptions| stream.settings.get("filename").cloned();
                self.streams.push(stdout.and_then(filename));
            }
            Effect::Identify { client, payload, uid, arrived, .. } => {
                let nobody = uid == Some(crate::options::Identity::Name("nosuchuser".to_owned()));
                let result = if nobody { Err("'nosuchuser' isn't a valid user name".to_owned()) } else { Ok(()) };
                self.event(Event::Identified { client, payload, result, arrived });
            }
            Effect::ReadConfig => self.config_reads += 1,
            Effect::TryUpgrade => self.trials += 1,
            Effect::Rebind(change) => self.rebinds.push(*change),
            Effect::Keep(_) if self.unanswered.is_some() => self.unanswered = self.unanswered.map(|count| count + 1),
            Effect::Keep(Write { name, value, number }) => {
                match value {
                    Some(value) => self.values.insert(name.clone(), serde_json::from_slice(&value).unwrap()),
                    None => self.values.remove(&name),
                };
                self.event(Event::Stored { name, number, outcome: Stored::Settled });
            }
            Effect::Journal(JournalWrite::Append(lines)) => self.journal.extend(lines),
            Effect::Journal(JournalWrite::Anew(lines)) => self.journal = lines,
            Effect::Finish(ending) => self.finished = Some(ending),
            Effect::LeaveAlone(process) => self.left_alone.push(process),
            Effect::AwaitConnections(sockets) => self.awaited.push(sockets.into_iter().collect()),
            Effect::Attach { .. } | Effect::CloseStreams(_) | Effect::ReopenLogs => {}
            Effect::Sample(asker, _, extension) => self.sampled = Some((asker, extension)),
            Effect::RunHook(call) => self.hook_calls.push(*call),
            Effect::Show(snapshot) => self.shown = Some(*snapshot),
        }
    }

    pub fn spawn(&mut self, launch: crate::process::Launch) {
        self.spawns.push(self.now.mono.as_secs_f64());
        let result = if self.broken {
            Err(SpawnFailure("no such file".to_owned()))
        } else {
            self.next_pid += 1;
            self.launches.insert(self.next_pid, launch.clone());
            let mut info = info(self.next_pid, &launch.spawn.name, &launch.spawn.note, self.now.wall);
            info.streams = [self.state; 2];
            Ok(Box::new(info))
        };
        self.event(Event::Spawned { ticket: launch.ticket, result });
    }

    pub fn release(&mut self) {
        self.hold = false;
        for launch in std::mem::take(&mut self.held) {
            self.spawn(launch);
        }
    }

    pub fn exit(&mut self, pid: i32, status: ExitStatus) {
        let exit = exit(status, self.now.wall);
        self.event(Event::Exited(Exited { process: process(pid), exit }));
    }

    /// Moves the clock to every deadline on the way.
    pub fn pass(&mut self, seconds: f64) {
        let end = self.now.mono + Duration::from_secs_f64(seconds);
        while let Some(at) = self.arbiter.deadline().filter(|at| *at <= end) {
            self.advance_to(at.max(self.now.mono));
            self.event(Event::Wake);
        }
        self.advance_to(end);
    }

    pub fn advance_to(&mut self, at: Duration) {
        self.now.wall += (at - self.now.mono).as_secs_f64();
        self.now.mono = at;
    }

    pub fn call(&mut self, request: Value) -> Option<Value> {
        let before = self.replies.len();
        let payload = request.to_string().into_bytes();
        self.event(Event::Request { client: ClientId::for_test(1), payload, arrived: Some(self.now.mono) });
        (self.replies.len() > before).then(|| self.replies.last().unwrap().clone())
    }

    pub fn topics(&mut self) -> Vec<String> {
        std::mem::take(&mut self.events)
            .into_iter()
            .map(|(topic, _)| topic.trim_start_matches("watcher.").to_owned())
            .collect()
    }

    pub fn pids(&self, name: &str) -> Vec<i32> {
        self.arbiter.watcher(name).unwrap().processes.live_pids()
    }

    pub fn pids_of_all(&self) -> Vec<i32> {
        let watchers = self.arbiter.watchers.values().chain(self.arbiter.departing.values());
        watchers.flat_map(|watcher| watcher.processes.live_pids()).collect()
    }

    pub fn status(&self, name: &str) -> &'static str {
        self.arbiter.watcher(name).unwrap().status.name()
    }
}

pub(super) fn process(pid: i32) -> ProcessId {
    ProcessId(u64::try_from(pid).unwrap())
}

pub(super) fn info(pid: i32, name: &str, note: &[u8], wall: f64) -> ProcessInfo {
    ProcessInfo {
        id: process(pid),
        name: name.to_owned(),
        pid,
        started_ns: u64::try_from(Duration::from_secs_f64(wall).as_nanos()).unwrap(),
        lifetime: Lifetime::Leased,
        note: note.to_vec(),
        streams: [StreamState::default(); 2],
        exit: None,
    }
}

pub(super) fn exit(status: ExitStatus, wall: f64) -> Exit {
    let realtime_ns = u64::try_from(Duration::from_secs_f64(wall).as_nanos()).unwrap();
    Exit { status, realtime_ns, rusage: Rusage::default(), heads: [0, 0] }
}

pub(super) fn watcher(name: &str, numprocesses: u32) -> WatcherOptions {
    let mut options = WatcherOptions::new(name);
    options.cmd = "sleep".to_owned();
    options.args = Args::Text("60".to_owned());
    options.numprocesses = numprocesses;
    options
}
