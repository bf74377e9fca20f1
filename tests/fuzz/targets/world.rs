//! A core and the least of a world around it: effects come out as the input bytes decide, never otherwise than a shell could
//! report them.

use super::bytes::Bytes;
use ringmaster_kernel::core::ring::{Captured, Remains, Ring};
use ringmaster_kernel::core::{
    ClientId, Conduct, Core, Effect, Facts, Inheritance, Input, Made, Now, Peer, ReplyTo, Right,
};
use ringmaster_kernel::state::Deaths;
use ringmaster_protocol::message::*;
use ringmaster_protocol::ring::{Record, Stream};
use std::collections::{BTreeMap, VecDeque};

/// Bytes and records of a ring.
pub const CAPACITY: u64 = 4096;
const PLACES: u64 = 16;

/// Inputs that one act may lead to, directly or not. One signal for each process that a lease leaves behind is the longest.
const LONGEST_CHAIN: usize = 20_000;

/// What one client after the other may do.
const RIGHTS: [Right; 6] = [Right::Own, Right::Own, Right::Spawn, Right::Own, Right::Operate, Right::Observe];

/// The core and what it has asked of the system.
pub struct World {
    pub core: Core,
    pub now: Now,
    /// Ids in order; whether it lives.
    pub processes: BTreeMap<ProcessId, bool>,
    pub clients: Vec<ClientId>,
    next_id: u64,
    next_client: u64,
    /// Answers since the last request of this client.
    answers: Vec<(ReplyTo, Result<Reply, Refusal>)>,
    pub exited: bool,
}

impl World {
    pub fn new(bytes: &mut Bytes<'_>) -> Self {
        let facts = Facts {
            version: "fuzz".into(),
            instance_id: 1,
            keeper_pid: 1,
            kernel_pid: 2,
            max_fds: 1000,
            guarantees: vec![],
            conduct: Conduct::Full,
            deaths: Deaths::default(),
            // Room for four full rings, so that the cap is felt as well.
            ring_memory: 4 * CAPACITY,
        };
        let now = Now { boot_ns: 1_000_000_000, real_ns: 1 << 60 };
        let before = match bytes.u8() {
            choice if choice & 1 == 0 => Inheritance::default(),
            _ => Inheritance { epoch: bytes.u64(), leased: true, grace_ms: bytes.u64(), lost: bytes.u64() },
        };
        Self {
            core: Core::new(facts, before, now),
            now,
            processes: BTreeMap::new(),
            clients: Vec::new(),
            next_id: 1,
            next_client: 1,
            answers: Vec::new(),
            exited: false,
        }
    }

    /// A client that has said hello.
    pub fn connect(&mut self, bytes: &mut Bytes<'_>) -> ClientId {
        let client = ClientId(self.next_client);
        self.next_client += 1;
        self.clients.push(client);
        let turn = usize::try_from(client.0 - 1).unwrap_or(0) % RIGHTS.len();
        let peer = Peer { pid: 1, uid: 1000, gid: 1000, right: RIGHTS[turn] };
        self.drive(Input::Connected { client, peer }, bytes);
        let hello = Hello { oldest: 1, newest: 1, build: "fuzz".into(), role: Role::Tool, ext: vec![] };
        self.ask(client, hello.into(), bytes).expect("a hello is answered");
        client
    }

    /// The one answer to a request.
    pub fn ask(&mut self, client: ClientId, request: Request, bytes: &mut Bytes<'_>) -> Result<Reply, Refusal> {
        let to = ReplyTo { client, message: request.number(), request: Some(7) };
        self.expect_answer(to, Input::Request { to, request: Box::new(request) }, bytes)
    }

    /// An input that is answered once and to whom it concerns.
    pub fn expect_answer(&mut self, to: ReplyTo, input: Input, bytes: &mut Bytes<'_>) -> Result<Reply, Refusal> {
        self.answers.clear();
        self.drive(input, bytes);
        assert_eq!(self.answers.len(), 1, "a request has one answer");
        let (answered, answer) = self.answers.pop().expect("it was counted");
        assert_eq!(answered, to);
        answer
    }

    pub fn drive(&mut self, input: Input, bytes: &mut Bytes<'_>) {
        let (mut inputs, mut effects) = (VecDeque::from([input]), Vec::new());
        for _ in 0..LONGEST_CHAIN {
            let Some(input) = inputs.pop_front() else {
                return;
            };
            self.core.step(input, self.now, &mut effects);
            for effect in effects.drain(..) {
                inputs.extend(self.perform(effect, bytes));
            }
        }
        panic!("one input leads to more than {LONGEST_CHAIN} others");
    }

    fn perform(&mut self, effect: Effect, bytes: &mut Bytes<'_>) -> Option<Input> {
        let refused = || Refusal::System { action: "trying".into(), errno: 28 };
        match effect {
            Effect::Reply { to, reply, .. } => self.answers.push((to, Ok(*reply))),
            Effect::Refuse { to, refusal } => self.answers.push((to, Err(refusal))),
            Effect::Start { to, spawn } => {
                let outcome = if bytes.one_in(8) { Err(refused()) } else { Ok(Box::new(self.make(&spawn))) };
                return Some(Input::Started { to, spawn, outcome });
            }
            Effect::Capture { process, stream, capture } => {
                assert!(capture.length > 0 && capture.length <= CAPACITY, "{capture:?}");
                let outcome = match bytes.u8() % 8 {
                    0 => Captured::Empty,
                    1 => Captured::End,
                    2 => Captured::Failed(28),
                    _ => Captured::Bytes(1 + u64::from(bytes.u16()) % capture.length),
                };
                return Some(Input::Captured { process, stream, outcome });
            }
            Effect::Look { process, stream } => return Some(Input::Readable { process, stream }),
            Effect::Widen { process, stream } => {
                let room = 1 + u64::from(bytes.u16());
                return bytes.one_in(2).then_some(Input::Widened { process, stream, room });
            }
            Effect::Release { process } => {
                assert!(self.processes.remove(&process).is_some(), "forgotten twice");
            }
            Effect::Signal { process, purpose, .. } => {
                let pids = if bytes.one_in(2) { Vec::new() } else { vec![1] };
                let outcome = if bytes.one_in(8) { Err(refused()) } else { Ok(pids) };
                return Some(Input::Signalled { process, purpose, outcome });
            }
            Effect::Bind { to, listen, number } => {
                let outcome = if bytes.one_in(8) { Err(refused()) } else { Ok(listen.address.clone()) };
                return Some(Input::Bound { to: Some(to), listen, number, outcome });
            }
            Effect::StoreValue { to, name, number, .. } => {
                let outcome = if bytes.one_in(8) { Err(refused()) } else { Ok(()) };
                return Some(Input::ValueStored { to: Some(to), name, number, outcome });
            }
            Effect::LoadValue { to, .. } => {
                let outcome = if bytes.one_in(8) { Err(refused()) } else { Ok(vec![b'v'; 3]) };
                return Some(Input::ValueLoaded { to, outcome });
            }
            Effect::SaveExit { process, .. } => {
                let lived = self.processes.insert(process, false);
                assert_eq!(lived, Some(true), "an end is noted twice");
            }
            Effect::Upgrade { to, .. } => self.answers.push((to, Err(refused()))),
            Effect::Exit => self.exited = true,
            Effect::Notify { client, .. } => assert!(self.clients.contains(&client)),
            Effect::Log { text } => assert!(!text.is_empty()),
            Effect::Pause { .. }
            | Effect::Resume { .. }
            | Effect::Close { .. }
            | Effect::Thin { .. }
            | Effect::SaveAck { .. }
            | Effect::SaveLost { .. }
            | Effect::SaveLifetime { .. }
            | Effect::SaveLease { .. }
            | Effect::Unbind { .. }
            | Effect::DropValue { .. } => {}
        }
        None
    }

    fn make(&mut self, spawn: &Spawn) -> Made {
        let id = self.draw_id();
        let ring = |stdout| (stdout == Stdout::Captured).then(|| (Ring::new(CAPACITY, PLACES, self.now), true));
        let rings = [ring(spawn.stdout), ring(spawn.stderr)];
        Made { id, pid: 100, started_ns: self.now.real_ns, rings, seq: 0, exit: None }
    }

    fn draw_id(&mut self) -> ProcessId {
        let id = ProcessId(self.next_id);
        self.next_id += 1;
        self.processes.insert(id, true);
        id
    }

    /// A process of a former core, with rings from whatever its slot said.
    pub fn adopt(&mut self, spawn: Spawn, bytes: &mut Bytes<'_>) {
        let id = self.draw_id();
        let exit = bytes.one_in(3).then(|| Exit {
            status: ExitStatus::Code(i32::from(bytes.u8())),
            realtime_ns: bytes.u64(),
            rusage: Rusage::default(),
            heads: [bytes.u64(), bytes.u64()],
        });
        self.processes.insert(id, exit.is_none());
        let mut ring = || {
            let [acked, lost, head, header_low, first_record, records] = [(); 6].map(|()| bytes.u64());
            let remains = Remains { acked, lost, head, header_low, first_record, records };
            let read = |number: u64| Some(Record { offset: number.wrapping_mul(100), ..Record::default() });
            Some((Ring::recover(CAPACITY, PLACES, remains, self.now, read), head % 2 == 0))
        };
        let rings = [ring(), ring()];
        let seq = bytes.u64();
        let made = Made { id, pid: 100, started_ns: bytes.u64(), rings, seq, exit };
        self.drive(Input::Adopted { spawn: Box::new(spawn), made: Box::new(made) }, bytes);
    }

    /// Output is there, or the process ends.
    pub fn live(&mut self, process: ProcessId, bytes: &mut Bytes<'_>) {
        let choice = bytes.u8();
        if !choice.is_multiple_of(4) {
            let stream = if choice & 128 == 0 { Stream::Stdout } else { Stream::Stderr };
            self.drive(Input::Readable { process, stream }, bytes);
        } else if self.processes.get(&process) == Some(&true) {
            let status = ExitStatus::Code(i32::from(bytes.u8()));
            let pending = [u64::from(bytes.u16()), u64::from(bytes.u16())];
            self.drive(
                Input::Ended { process, status, rusage: Rusage::default(), realtime_ns: self.now.real_ns, pending },
                bytes,
            );
        }
    }

    /// What holds whatever happened.
    pub fn check(&self) {
        for info in self.core.processes() {
            assert!(self.processes.contains_key(&info.id), "a process that was never made");
            for stream in &info.streams {
                assert!(stream.low <= stream.head && stream.head - stream.low <= CAPACITY, "{info:?}");
                assert!(stream.records - stream.first_record <= PLACES, "{info:?}");
            }
        }
        assert_eq!(self.core.processes().count(), self.processes.len());
    }
}

/// A request that starts something small.
pub fn spawn(bytes: &mut Bytes<'_>) -> Spawn {
    let choice = bytes.u8();
    let lifetime = if choice & 1 == 0 { Lifetime::Persistent } else { Lifetime::Leased };
    let captured = |bit: u8| if choice & bit == 0 { Stdout::Captured } else { Stdout::Null };
    Spawn {
        name: format!("p.{}", choice >> 5),
        token: bytes.below(3),
        lifetime,
        stop: StopPlan { signal: 15, grace_ms: u64::from(bytes.u8()) },
        argv: vec![b"x".to_vec()],
        env: vec![],
        cwd: None,
        uid: None,
        gid: None,
        groups: None,
        rlimits: vec![],
        umask: None,
        stdin: Stdin::Null,
        stdout: captured(2),
        stderr: captured(4),
        sockets: vec![],
        ring: 1 << 20,
        overflow: if choice & 8 == 0 { Overflow::DropOldest } else { Overflow::Block },
        note: vec![],
        ext: vec![],
    }
}
