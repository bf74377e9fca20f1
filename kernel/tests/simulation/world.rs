//! One core in its world: carries out effects, kills the core, and recovers it.

use crate::kept::Kept;
use crate::model::{CAPACITY, ModelProcess, ModelStream, PIPE, PLACES, Store};
use crate::random::Random;
use ringmaster_kernel::core::ring::{Remains, Ring, carry_out};
use ringmaster_kernel::core::{
    ClientId, Conduct, Core, Effect, Facts, Inheritance, Input, Made, Now, Peer, ReplyTo, Right, SignalFor,
};
use ringmaster_kernel::state::Deaths;
use ringmaster_protocol::message::*;
use ringmaster_protocol::ring::Stream;
use std::collections::{BTreeMap, VecDeque};

/// Every client of the simulation may do everything: authority has its own tests.
const OWNER: Peer = Peer { pid: 1, uid: 0, gid: 0, right: Right::Own };

pub struct World {
    pub random: Random,
    pub now: Now,
    pub core: Core,
    /// The cap on the memory of all rings.
    pub ring_memory: u64,
    pub processes: BTreeMap<ProcessId, ModelProcess>,
    pub next_id: u64,
    pub lease: (u64, bool, u64),
    pub lost: u64,
    pub next_client: u64,
    pub manager: Option<ClientId>,
    pub tool: ClientId,
    /// Steps of captures until the core dies.
    pub fuse: Option<u64>,
    pub dead: bool,
    pub deaths: u64,
    pub listed: Option<Vec<ProcessInfo>>,
    pub status: Option<StatusReply>,
    pub notices: Vec<Notice>,
    pub refusals: u64,
    pub kept: Kept,
    pub delivered: u64,
    /// Bytes in gaps, as the core counts them.
    pub dropped: u64,
    pub most_dropped: u64,
    /// How often pages were given back, and gaps were found where they were made.
    pub holes: u64,
    pub reveals: u64,
    /// How often a pipe was looked at after a rest.
    pub rests: u64,
}

fn facts(ring_memory: u64) -> Facts {
    Facts {
        version: "sim".into(),
        instance_id: 1,
        keeper_pid: 1,
        kernel_pid: 2,
        max_fds: 1000,
        ring_memory,
        guarantees: vec![],
        conduct: Conduct::Full,
        deaths: Deaths::default(),
    }
}

impl World {
    pub fn new(seed: u64) -> Self {
        let now = Now { boot_ns: 1_000_000_000, real_ns: 1 << 60 };
        let mut random = Random(seed);
        let ring_memory = if random.one_in(2) { u64::MAX } else { CAPACITY + random.below(2 * CAPACITY) };
        let mut world = Self {
            random,
            now,
            ring_memory,
            core: Core::new(facts(ring_memory), Inheritance::default(), now),
            processes: BTreeMap::new(),
            next_id: 1,
            lease: (0, false, 0),
            lost: 0,
            next_client: 1,
            manager: None,
            tool: ClientId(0),
            fuse: None,
            dead: false,
            deaths: 0,
            listed: None,
            status: None,
            notices: vec![],
            refusals: 0,
            kept: Kept::default(),
            delivered: 0,
            dropped: 0,
            most_dropped: 0,
            holes: 0,
            reveals: 0,
            rests: 0,
        };
        world.tool = world.connect();
        world
    }

    pub fn connect(&mut self) -> ClientId {
        let client = ClientId(self.next_client);
        self.next_client += 1;
        self.drive(Input::Connected { client, peer: OWNER });
        self.ask(client, Hello { oldest: 1, newest: 1, build: String::new(), role: Role::Tool, ext: vec![] });
        client
    }

    pub fn ask(&mut self, client: ClientId, request: impl Into<Request>) {
        let request = request.into();
        let to = ReplyTo { client, message: request.number(), request: Some(1) };
        self.drive(Input::Request { to, request: Box::new(request) });
    }

    pub fn drive(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        let mut effects = Vec::new();
        while let Some(input) = inputs.pop_front() {
            self.core.step(input, self.now, &mut effects);
            for effect in effects.drain(..) {
                if self.dead {
                    return;
                }
                inputs.extend(self.perform(effect));
            }
        }
    }

    pub fn perform(&mut self, effect: Effect) -> Option<Input> {
        match effect {
            Effect::Reply { reply, .. } => match *reply {
                Reply::Listing(page) => self.listed = Some(page.processes),
                Reply::StatusReply(status) => self.status = Some(status),
                other => self.kept.answer(other),
            },
            Effect::Refuse { .. } => self.refusals += 1,
            Effect::Notify { notice, .. } => self.notices.push(notice),
            Effect::Start { to, spawn } => {
                let outcome = Ok(Box::new(self.start(&spawn)));
                return Some(Input::Started { to, spawn, outcome });
            }
            Effect::Capture { process, stream, capture } => {
                self.reveals += u64::from(capture.length == 0);
                let model = self.processes.get_mut(&process).unwrap();
                let mut store = Store {
                    id: process,
                    stream,
                    model: &mut model.streams[stream.index()],
                    seq: &mut model.seq,
                    random: &mut self.random,
                    fuse: &mut self.fuse,
                    dead: &mut self.dead,
                };
                let outcome = carry_out(&capture, &mut store);
                return Some(Input::Captured { process, stream, outcome });
            }
            Effect::Pause { process, stream } => self.stream(process, stream).watched = false,
            Effect::Resume { process, stream } => self.stream(process, stream).watched = true,
            Effect::Look { process, stream } => {
                self.rests += 1;
                assert!(!self.stream(process, stream).watched, "a pipe that is waited for does not rest");
                return Some(Input::Readable { process, stream });
            }
            Effect::Widen { process, stream } => {
                return self.random.one_in(2).then_some(Input::Widened { process, stream, room: PIPE as u64 });
            }
            Effect::Close { process, stream } => {
                let stream = self.stream(process, stream);
                assert!(stream.pipe.is_empty() && !stream.writers);
                (stream.ended, stream.watched) = (true, false);
            }
            Effect::SaveAck { process, stream, acked, lost, first_record } => {
                let stream = self.stream(process, stream);
                let words = &mut stream.words;
                assert!(acked >= words.acked && lost >= words.lost && first_record >= words.first_record);
                (words.acked, words.lost, words.first_record) = (acked, lost, first_record);
                stream.settled = acked + lost;
            }
            Effect::Thin { process, stream, holes } => {
                self.holes += 1;
                self.stream(process, stream).give_back(&holes);
            }
            Effect::SaveExit { process, exit } => {
                let process = self.processes.get_mut(&process).unwrap();
                assert!(process.exit.replace(exit).is_none(), "an end is told twice");
            }
            Effect::Release { process } => assert!(self.processes.remove(&process).is_some()),
            Effect::SaveLost { bytes } => {
                assert!(bytes >= self.lost);
                self.lost = bytes;
            }
            Effect::SaveLease { epoch, leased, grace_ms } => self.lease = (epoch, leased, grace_ms),
            Effect::Signal { process, signal, target, purpose } => {
                let pids = self.signal(process, signal, target);
                match purpose {
                    SignalFor::Client(_) => self.kept.reached = Some(pids.clone()),
                    SignalFor::Stop | SignalFor::Probe => {}
                }
                return Some(Input::Signalled { process, purpose, outcome: Ok(pids) });
            }
            Effect::Log { .. } => {}
            other => return self.keep(other),
        }
        None
    }

    /// Gives whom it reaches. The ends themselves come later.
    fn signal(&mut self, id: ProcessId, signal: i32, target: Target) -> Vec<i32> {
        let process = self.processes.get_mut(&id).unwrap();
        let mut pids = Vec::new();
        let main = id.0 as i32;
        if process.alive {
            pids.push(main);
            process.alive = signal == 0 || (signal != libc::SIGKILL && !self.random.one_in(2));
        }
        if target == Target::Tree && process.orphans {
            pids.push(main + 1000);
        }
        pids
    }

    pub fn stream(&mut self, process: ProcessId, stream: Stream) -> &mut ModelStream {
        &mut self.processes.get_mut(&process).unwrap().streams[stream.index()]
    }

    pub fn start(&mut self, spawn: &Spawn) -> Made {
        let id = ProcessId(self.next_id);
        self.next_id += 1;
        let started_ns = self.now.real_ns;
        let streams = vec![ModelStream::new(), ModelStream::new()];
        let model =
            ModelProcess { spawn: spawn.clone(), started_ns, streams, seq: 0, exit: None, alive: true, orphans: false };
        self.processes.insert(id, model);
        let ring = || Some((Ring::new(CAPACITY, PLACES, self.now), true));
        Made { id, pid: id.0 as i32, started_ns, rings: [ring(), ring()], seq: 0, exit: None }
    }

    /// The core has died: the next one takes over what the model holds.
    pub fn recover(&mut self) {
        self.dead = false;
        self.fuse = None;
        self.deaths += 1;
        // A drop that was decided but not begun is undone by a death.
        self.dropped = 0;
        self.manager = None;
        self.notices.clear();
        let (epoch, leased, grace_ms) = self.lease;
        self.core =
            Core::new(facts(self.ring_memory), Inheritance { epoch, leased, grace_ms, lost: self.lost }, self.now);
        for id in self.processes.keys().copied().collect::<Vec<_>>() {
            let process = self.processes.get_mut(&id).unwrap();
            let now = self.now;
            let rings = [0, 1].map(|index| {
                let stream = &mut process.streams[index];
                let remains = Remains { header_low: stream.header_low, ..stream.words };
                let read = |number: u64| Some(stream.records[(number % PLACES) as usize]);
                let ring = Ring::recover(CAPACITY, PLACES, remains, now, read);
                stream.words.lost = ring.lost();
                stream.watched = !stream.ended;
                Some((ring, !stream.ended))
            });
            let made = Made {
                id,
                pid: id.0 as i32,
                started_ns: process.started_ns,
                rings,
                seq: process.seq,
                exit: process.exit,
            };
            let spawn = Box::new(process.spawn.clone());
            self.drive(Input::Adopted { spawn, made: Box::new(made) });
        }
        self.keep_on();
        self.tool = self.connect();
    }
}
