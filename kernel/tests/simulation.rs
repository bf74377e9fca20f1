//! A seeded simulation of the pure core: random clients, processes, output, acknowledgements, faults, clock jumps and deaths
//! of the core at every step of a capture. The world around it (pipes, process files, slots) is a model in memory.
//!
//! `RINGMASTER_SEED=n cargo test -p ringmaster-kernel --test simulation` replays one run; without it the seeds are drawn
//! from the clock and printed. `-- --ignored` runs the long dose.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    clippy::as_conversions,
    reason = "a test ends by panicking"
)]

use ringmaster_kernel::core::ring::{Captured, Remains, Ring, RingStore, carry_out};
use ringmaster_kernel::core::{
    ClientId, Core, Effect, Facts, Inheritance, Input, Made, Now, ReplyTo, SignalFor,
};
use ringmaster_protocol::limits::MIN_RING;
use ringmaster_protocol::message::*;
use ringmaster_protocol::ring::{Record, Stream};
use std::collections::{BTreeMap, VecDeque};

const CAPACITY: u64 = 8 << 10;
const PLACES: u64 = 16;
const PIPE: usize = 4096;

/// SplitMix64: enough for choices, and the same on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// The byte that a child writes at an offset.
fn pattern(process: ProcessId, stream: Stream, offset: u64) -> u8 {
    (offset
        .wrapping_mul(31)
        .wrapping_add(process.0 * 7)
        .wrapping_add(stream.index() as u64 * 101)
        % 251) as u8
}

/// Pipe, file and slot of one stream.
struct ModelStream {
    written: u64,
    pipe: VecDeque<u8>,
    writers: bool,
    watched: bool,
    data: Vec<u8>,
    records: Vec<Record>,
    header_low: u64,
    words: Remains,
    ended: bool,
    /// Below it everything was acknowledged or dropped, whoever died since.
    settled: u64,
    /// What the manager has read, and what it found missing.
    read: u64,
    gaps: u64,
}

struct ModelProcess {
    spawn: Spawn,
    started_ns: u64,
    streams: Vec<ModelStream>,
    seq: u64,
    exit: Option<Exit>,
    alive: bool,
}

struct World {
    random: Random,
    now: Now,
    core: Core,
    processes: BTreeMap<ProcessId, ModelProcess>,
    next_id: u64,
    lease: (u64, bool, u64),
    lost: u64,
    next_client: u64,
    manager: Option<ClientId>,
    tool: ClientId,
    /// Steps of captures until the core dies.
    fuse: Option<u64>,
    dead: bool,
    deaths: u64,
    listed: Option<Vec<ProcessInfo>>,
    status: Option<StatusReply>,
    notices: Vec<Notice>,
    refusals: u64,
    delivered: u64,
    /// Bytes in gaps, as the core counts them.
    dropped: u64,
    most_dropped: u64,
}

struct Store<'a> {
    id: ProcessId,
    stream: Stream,
    model: &'a mut ModelStream,
    seq: &'a mut u64,
    random: &'a mut Random,
    fuse: &'a mut Option<u64>,
    dead: &'a mut bool,
}

impl Store<'_> {
    /// Whether the core dies before this step.
    fn dies(&mut self) -> bool {
        if let Some(fuse) = self.fuse {
            *self.dead |= *fuse == 0;
            *fuse = fuse.saturating_sub(1);
        }
        *self.dead
    }
}

impl RingStore for Store<'_> {
    fn write_low(&mut self, low: u64) -> Result<(), i32> {
        if self.dies() || self.random.one_in(15) {
            return Err(libc::ENOSPC);
        }
        assert!(low >= self.model.header_low, "low goes back");
        self.model.header_low = low;
        Ok(())
    }

    fn store_lost(&mut self, lost: u64, first_record: u64) {
        if !self.dies() {
            self.model.words.lost = lost;
        }
        if !self.dies() {
            self.model.words.first_record = first_record;
        }
    }

    fn write_record(&mut self, number: u64, record: &Record) -> Result<(), i32> {
        if self.dies() || self.random.one_in(200) {
            return Err(libc::ENOSPC);
        }
        assert_eq!(record.offset, self.model.words.head);
        self.model.records[(number % PLACES) as usize] = *record;
        Ok(())
    }

    fn store_records(&mut self, records: u64, seq: u64) {
        if !self.dies() {
            assert!(seq > *self.seq, "a sequence number is used twice");
            *self.seq = seq;
        }
        if !self.dies() {
            self.model.words.records = records;
        }
    }

    fn splice(&mut self, length: u64) -> Captured {
        if self.dies() {
            return Captured::Empty;
        }
        if self.model.pipe.is_empty() {
            return if self.model.writers {
                Captured::Empty
            } else {
                Captured::End
            };
        }
        if self.random.one_in(50) {
            return Captured::Empty;
        }
        let most = length.min(self.model.pipe.len() as u64);
        let count = if self.random.one_in(3) {
            1 + self.random.below(most)
        } else {
            most
        };
        for _ in 0..count {
            let byte = self.model.pipe.pop_front().unwrap();
            let head = self.model.words.head;
            assert!(
                head < self.model.header_low + CAPACITY,
                "overwritten before low was told"
            );
            assert_eq!(byte, pattern(self.id, self.stream, head));
            self.model.data[(head % CAPACITY) as usize] = byte;
            self.model.words.head = head + 1;
        }
        Captured::Bytes(count)
    }
}

fn facts() -> Facts {
    Facts {
        version: "sim".into(),
        instance_id: 1,
        pid: 1,
        max_fds: 1000,
        guarantees: vec![],
    }
}

impl World {
    fn new(seed: u64) -> Self {
        let now = Now {
            boot_ns: 1_000_000_000,
            real_ns: 1 << 60,
        };
        let mut world = Self {
            random: Random(seed),
            now,
            core: Core::new(facts(), Inheritance::default(), now),
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
            delivered: 0,
            dropped: 0,
            most_dropped: 0,
        };
        world.tool = world.connect();
        world
    }

    fn connect(&mut self) -> ClientId {
        let client = ClientId(self.next_client);
        self.next_client += 1;
        self.drive(Input::Connected { client, pid: 1 });
        self.ask(
            client,
            Hello {
                oldest: 1,
                newest: 1,
                build: String::new(),
                role: Role::Tool,
                ext: vec![],
            },
        );
        client
    }

    fn ask(&mut self, client: ClientId, request: impl Into<Request>) {
        let request = request.into();
        let to = ReplyTo {
            client,
            message: request.number(),
            request: Some(1),
        };
        self.drive(Input::Request {
            to,
            request: Box::new(request),
        });
    }

    fn drive(&mut self, input: Input) {
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

    fn perform(&mut self, effect: Effect) -> Option<Input> {
        match effect {
            Effect::Reply { reply, .. } => match *reply {
                Reply::Listing(page) => self.listed = Some(page.processes),
                Reply::StatusReply(status) => self.status = Some(status),
                _ => {}
            },
            Effect::Refuse { .. } => self.refusals += 1,
            Effect::Notify { notice, .. } => self.notices.push(notice),
            Effect::Start { to, spawn } => {
                let outcome = Ok(Box::new(self.start(&spawn)));
                return Some(Input::Started { to, spawn, outcome });
            }
            Effect::Capture {
                process,
                stream,
                capture,
            } => {
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
                return Some(Input::Captured {
                    process,
                    stream,
                    outcome,
                });
            }
            Effect::Pause { process, stream } => self.stream(process, stream).watched = false,
            Effect::Resume { process, stream } => self.stream(process, stream).watched = true,
            Effect::Close { process, stream } => {
                let stream = self.stream(process, stream);
                assert!(stream.pipe.is_empty() && !stream.writers);
                (stream.ended, stream.watched) = (true, false);
            }
            Effect::SaveAck {
                process,
                stream,
                acked,
                lost,
                first_record,
            } => {
                let stream = self.stream(process, stream);
                let words = &mut stream.words;
                assert!(acked >= words.acked && lost >= words.lost && first_record >= words.first_record);
                (words.acked, words.lost, words.first_record) = (acked, lost, first_record);
                stream.settled = acked + lost;
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
            Effect::SaveLease {
                epoch,
                leased,
                grace_ms,
            } => self.lease = (epoch, leased, grace_ms),
            Effect::Signal {
                process,
                signal,
                purpose,
                ..
            } => {
                let model = self.processes.get_mut(&process);
                if let Some(model) = model.filter(|model| signal != 0 && model.alive) {
                    // The end itself comes later.
                    model.alive = signal != libc::SIGKILL && !self.random.one_in(2);
                }
                let outcome = Ok(match purpose {
                    SignalFor::Client(_) | SignalFor::Stop | SignalFor::Probe => vec![],
                });
                return Some(Input::Signalled {
                    process,
                    purpose,
                    outcome,
                });
            }
            Effect::Log { .. } => {}
            other => panic!("not in this simulation: {other:?}"),
        }
        None
    }

    fn stream(&mut self, process: ProcessId, stream: Stream) -> &mut ModelStream {
        &mut self.processes.get_mut(&process).unwrap().streams[stream.index()]
    }

    fn start(&mut self, spawn: &Spawn) -> Made {
        let id = ProcessId(self.next_id);
        self.next_id += 1;
        let stream = || ModelStream {
            written: 0,
            pipe: VecDeque::new(),
            writers: true,
            watched: true,
            data: vec![0; CAPACITY as usize],
            records: vec![Record::default(); PLACES as usize],
            header_low: 0,
            words: Remains::default(),
            ended: false,
            settled: 0,
            read: 0,
            gaps: 0,
        };
        let started_ns = self.now.real_ns;
        let streams = vec![stream(), stream()];
        let model = ModelProcess {
            spawn: spawn.clone(),
            started_ns,
            streams,
            seq: 0,
            exit: None,
            alive: true,
        };
        self.processes.insert(id, model);
        let ring = || Some((Ring::new(CAPACITY, PLACES, self.now), true));
        Made {
            id,
            pid: id.0 as i32,
            started_ns,
            rings: [ring(), ring()],
            seq: 0,
            exit: None,
        }
    }

    /// The core has died: the next one takes over what the model holds.
    fn recover(&mut self) {
        self.dead = false;
        self.fuse = None;
        self.deaths += 1;
        // A drop that was decided but not begun is undone by a death.
        self.dropped = 0;
        self.manager = None;
        self.notices.clear();
        let (epoch, leased, grace_ms) = self.lease;
        self.core = Core::new(
            facts(),
            Inheritance {
                epoch,
                leased,
                grace_ms,
                lost: self.lost,
            },
            self.now,
        );
        for id in self.processes.keys().copied().collect::<Vec<_>>() {
            let process = self.processes.get_mut(&id).unwrap();
            let now = self.now;
            let rings = [0, 1].map(|index| {
                let stream = &mut process.streams[index];
                let remains = Remains {
                    header_low: stream.header_low,
                    ..stream.words
                };
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
            self.drive(Input::Adopted {
                spawn,
                made: Box::new(made),
            });
        }
        self.tool = self.connect();
    }

    fn any_process(&mut self) -> Option<ProcessId> {
        let count = self.processes.len() as u64;
        let index = if count == 0 {
            return None;
        } else {
            self.random.below(count)
        };
        self.processes.keys().nth(index as usize).copied()
    }

    fn act(&mut self) {
        let stream = if self.random.one_in(3) {
            Stream::Stderr
        } else {
            Stream::Stdout
        };
        match self.random.below(20) {
            0 => self.spawn(),
            1..=5 => (0..4).for_each(|_| self.write(stream)),
            6..=10 => self.read_pipes(),
            11 | 12 => self.manager_reads(),
            13 => self.someone_ends(),
            14 => self.manager_comes_or_goes(),
            15 => self.forget(),
            16 => self.time_passes(),
            17 if self.random.one_in(4) => self.fuse = Some(self.random.below(12)),
            18 if self.random.one_in(6) => self.dead = true,
            _ => {
                // An acknowledgement that makes no sense.
                if let (Some(process), Some(manager)) = (self.any_process(), self.manager) {
                    let offset = self.random.below(1 << 20);
                    let known = self.stream(process, stream);
                    let low = known.words.acked + known.words.lost;
                    if offset < low || offset > known.words.head {
                        self.ask(
                            manager,
                            Ack {
                                process,
                                stream,
                                offset,
                            },
                        );
                    }
                }
            }
        }
        if self.dead {
            self.recover();
        }
    }

    fn spawn(&mut self) {
        if self.processes.len() >= 3 {
            return;
        }
        let client = self.manager.unwrap_or(self.tool);
        let leased = self.manager.is_some() && self.random.one_in(3);
        let spawn = Spawn {
            name: format!("p{}", self.random.below(8)),
            token: self.random.below(3),
            lifetime: if leased {
                Lifetime::Leased
            } else {
                Lifetime::Persistent
            },
            stop: StopPlan {
                signal: 15,
                grace_ms: 1000,
            },
            argv: vec![b"x".to_vec()],
            env: vec![],
            cwd: None,
            uid: None,
            gid: None,
            groups: None,
            rlimits: vec![],
            umask: None,
            stdin: Stdin::Null,
            stdout: Stdout::Captured,
            stderr: Stdout::Captured,
            sockets: vec![],
            // The smallest that a client may ask for; the model's are smaller, so that they are full more often.
            ring: MIN_RING,
            overflow: if self.random.one_in(3) {
                Overflow::Block
            } else {
                Overflow::DropOldest
            },
            note: vec![],
            ext: vec![],
        };
        self.ask(client, spawn);
    }

    fn write(&mut self, stream: Stream) {
        let Some(id) = self.any_process() else { return };
        let most = if self.random.one_in(2) { 50 } else { 9000 };
        let count = self.random.below(most);
        let model = self.stream(id, stream);
        if !model.writers {
            return;
        }
        for _ in 0..count {
            if model.pipe.len() == PIPE {
                break;
            }
            model.pipe.push_back(pattern(id, stream, model.written));
            model.written += 1;
        }
    }

    fn read_pipes(&mut self) {
        for id in self.processes.keys().copied().collect::<Vec<_>>() {
            for stream in Stream::ALL {
                let Some(process) = self.processes.get(&id) else {
                    continue;
                };
                let model = &process.streams[stream.index()];
                if model.watched && (!model.pipe.is_empty() || !model.writers) {
                    self.drive(Input::Readable { process: id, stream });
                }
                if self.dead {
                    return;
                }
            }
        }
    }

    /// The manager takes its notices, reads what they announce and acknowledges some of it.
    fn manager_reads(&mut self) {
        let Some(manager) = self.manager else { return };
        self.notices.clear();
        self.drive(Input::Room {
            client: manager,
            notices: usize::MAX,
        });
        let notices = std::mem::take(&mut self.notices);
        assert!(notices.len() <= 5 * self.processes.len(), "marks are bounded");
        for notice in notices {
            let Notice::Output(output) = notice else { continue };
            let process = output.process;
            let model = self.stream(process, output.stream);
            assert!(output.head == model.words.head && output.records <= model.words.records + 1);
            let low = (model.words.acked + model.words.lost).max(model.header_low);
            if model.read < low {
                model.gaps += low - model.read;
                model.read = low;
            }
            for offset in model.read..output.head {
                assert_eq!(
                    model.data[(offset % CAPACITY) as usize],
                    pattern(process, output.stream, offset)
                );
            }
            let fresh = output.head - model.read;
            model.read = output.head;
            self.delivered += fresh;
            if !self.random.one_in(4) {
                self.ask(
                    manager,
                    Ack {
                        process,
                        stream: output.stream,
                        offset: output.head,
                    },
                );
            }
        }
    }

    fn someone_ends(&mut self) {
        let Some(id) = self.any_process() else { return };
        let grandchild = self.random.one_in(4);
        let process = self.processes.get_mut(&id).unwrap();
        if process.exit.is_none() && (self.random.one_in(3) || !process.alive) {
            process.alive = false;
            let pending = [0, 1].map(|index| {
                let stream = &mut process.streams[index];
                stream.writers &= grandchild;
                stream.pipe.len() as u64
            });
            let status = ExitStatus::Code(id.0 as i32);
            self.drive(Input::Ended {
                process: id,
                status,
                rusage: Rusage::default(),
                pending,
            });
        } else if process.exit.is_some() {
            process
                .streams
                .iter_mut()
                .for_each(|stream| stream.writers = false);
        }
    }

    fn manager_comes_or_goes(&mut self) {
        match self.manager {
            Some(client) => {
                if self.random.one_in(3) {
                    self.ask(client, PutLease::default());
                }
                if self.random.one_in(2) {
                    self.drive(Input::Disconnected { client });
                    self.manager = None;
                }
            }
            None => {
                let client = self.connect();
                let grace_ms = self.random.below(5000);
                self.ask(
                    client,
                    TakeLease {
                        holder: "m".into(),
                        grace_ms,
                        ext: vec![],
                    },
                );
                self.ask(client, Watch::default());
                self.manager = Some(client);
            }
        }
    }

    fn forget(&mut self) {
        let Some(process) = self.any_process() else { return };
        let client = self.manager.unwrap_or(self.tool);
        self.ask(client, Forget { process, ext: vec![] });
    }

    /// The monotonic clock goes on, the wall clock does as it likes; deadlines are met.
    fn time_passes(&mut self) {
        let most = [1_000_000, 50_000_000, 6_000_000_000][self.random.below(3) as usize];
        self.now.boot_ns += self.random.below(most);
        self.now.real_ns = (1 << 60) + self.random.below(1 << 50);
        if self.core.next_deadline().is_some_and(|at| at <= self.now.boot_ns) {
            self.drive(Input::Tick);
        }
        assert!(
            self.core.next_deadline().is_none_or(|at| at > self.now.boot_ns),
            "a deadline is left behind"
        );
    }

    /// What must always hold.
    fn check(&mut self) {
        let tool = self.tool;
        self.ask(
            tool,
            List {
                after: ProcessId(0),
                prefix: String::new(),
                ext: vec![],
            },
        );
        self.ask(tool, Status::default());
        let listed = self.listed.take().unwrap();
        let ids: Vec<ProcessId> = listed.iter().map(|info| info.id).collect();
        assert_eq!(
            ids,
            self.processes.keys().copied().collect::<Vec<_>>(),
            "slots and processes"
        );
        let mut lost = self.lost;
        for info in &listed {
            let process = &self.processes[&info.id];
            assert_eq!(info.exit, process.exit);
            for stream in Stream::ALL {
                let (state, model) = (info.streams[stream.index()], &process.streams[stream.index()]);
                check_stream(info.id, stream, &state, model);
                lost += state.lost;
            }
        }
        assert_eq!(
            self.status.take().unwrap().lost_bytes,
            lost,
            "every loss is counted once"
        );
        assert!(lost >= self.dropped, "a loss is forgotten");
        self.dropped = lost;
        self.most_dropped = self.most_dropped.max(lost);
    }
}

fn check_stream(id: ProcessId, stream: Stream, state: &StreamState, model: &ModelStream) {
    assert_eq!(state.head, model.words.head);
    assert_eq!(
        state.head + model.pipe.len() as u64,
        model.written,
        "a byte is in the ring or in the pipe"
    );
    assert_eq!(state.low, model.words.acked + state.lost);
    assert!(state.low >= model.settled, "what was acknowledged comes again");
    assert!(state.low <= state.head && state.head - state.low <= CAPACITY);
    assert!(model.header_low <= state.low, "what readers may miss is counted");
    assert!(state.lost >= model.words.lost);
    for offset in state.low..state.head {
        assert_eq!(
            model.data[(offset % CAPACITY) as usize],
            pattern(id, stream, offset)
        );
    }
    assert!(state.records - state.first_record <= PLACES);
    let kept: Vec<Record> = (state.first_record..state.records.min(model.words.records))
        .map(|n| model.records[(n % PLACES) as usize])
        .collect();
    if let Some(first) = kept.first().filter(|_| state.low < state.head) {
        assert!(first.offset <= state.low, "the first byte has its record");
    }
    assert!(
        kept.windows(2)
            .all(|pair| pair[0].offset < pair[1].offset && pair[0].seq < pair[1].seq),
        "{kept:?}"
    );
}

fn run(seed: u64, steps: u64) {
    eprintln!("RINGMASTER_SEED={seed} cargo test -p ringmaster-kernel --test simulation");
    let mut world = World::new(seed);
    for _ in 0..steps {
        world.act();
        world.check();
    }
    eprintln!(
        "{} deaths, {} bytes delivered, {} lost, {} refusals",
        world.deaths, world.delivered, world.most_dropped, world.refusals
    );
    let lively = world.deaths > 0 && world.delivered > 0 && world.most_dropped > 0;
    assert!(
        lively || steps < 1000,
        "a simulation in which nothing happens shows nothing"
    );
}

fn dose(runs: u64, steps: u64) {
    if let Some(seed) = std::env::var("RINGMASTER_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
    {
        return run(seed, steps);
    }
    let clock = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let base = clock.as_nanos() as u64;
    (0..runs).for_each(|n| run(base.wrapping_add(n), steps));
}

#[test]
fn short() {
    dose(8, 1500);
}

#[test]
#[ignore = "minutes; for nights and releases"]
fn long() {
    dose(400, 20_000);
}
