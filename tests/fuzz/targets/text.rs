//! A conversation in Papa's text protocol with a core behind it.
//!
//! The only file of the fuzzing that knows where the text protocol lives.

use super::bytes::Bytes;
use super::world::{CAPACITY, World};
use ringmaster_kernel::core::{ClientId, Input, ReplyTo};
use ringmaster_protocol::limits::{MAX_TEXT_REPLY, TEXT_BATCH};
use ringmaster_protocol::message::*;
use ringmaster_protocol::ring::{Record, Stream};
use ringmaster_protocol::text::{Acked, After, Host, Session, Tables};
use std::cell::RefCell;

/// Bytes that may wait for the client before its next line is read.
const ROOM: usize = 4096;

/// Runs of a session for one piece of input. Each answers a line or sends a batch, and a piece has at most 255 bytes.
const RUNS: usize = 2000;

/// The session's view of the core.
struct Desk<'a, 'b> {
    world: &'a mut World,
    bytes: &'a RefCell<Bytes<'b>>,
    client: ClientId,
}

/// Pieces of text, each with its length in front, between things that happen to the processes. What is said is bounded, and a
/// session never goes on for ever.
pub fn text(input: &[u8]) {
    let bytes = RefCell::new(Bytes::new(input));
    let mut world = World::new(&mut bytes.borrow_mut());
    let client = world.connect(&mut bytes.borrow_mut());
    let mut session = Session::default();
    while !bytes.borrow().is_empty() && !world.exited {
        happen(&mut world, &mut session, &mut bytes.borrow_mut());
        let length = usize::from(bytes.borrow_mut().u8());
        let piece = bytes.borrow_mut().take(length);
        if !session.push(piece) {
            return;
        }
        match converse(&mut session, &mut Desk { world: &mut world, bytes: &bytes, client }) {
            After::Waiting | After::Stalled => {}
            After::Over | After::Leaving | After::Foreign => return,
        }
        world.check();
        assert!(session.positions().iter().all(|acked| acked.process.0 > 0));
    }
}

/// Runs the session until it waits.
fn converse(session: &mut Session, desk: &mut Desk<'_, '_>) -> After {
    let mut out = Vec::new();
    for _ in 0..RUNS {
        out.clear();
        let after = session.run(desk, ROOM, &mut out);
        let most = ROOM + MAX_TEXT_REPLY + usize::try_from(TEXT_BATCH).unwrap_or(0) * 2;
        assert!(out.len() <= most, "{} bytes at once", out.len());
        if session.is_settling() {
            session.settle();
        } else if after != After::Stalled {
            return after;
        }
    }
    panic!("a session goes on for ever");
}

/// A process writes or ends, or time passes.
fn happen(world: &mut World, session: &mut Session, bytes: &mut Bytes<'_>) {
    let choice = bytes.u8();
    let process = world.processes.keys().nth(usize::from(choice >> 2)).copied();
    match (choice % 4, process) {
        (0, Some(process)) => world.live(process, bytes),
        (1, _) => {
            world.now.boot_ns += u64::from(bytes.u8()) << 28;
            world.drive(Input::Tick, bytes);
        }
        _ => {}
    }
    session.stir();
}

impl Host for Desk<'_, '_> {
    fn ask(&mut self, request: Request) -> Result<Reply, Refusal> {
        self.world.ask(self.client, request, &mut self.bytes.borrow_mut())
    }

    fn abandon(&mut self, process: ProcessId) -> Result<(), Refusal> {
        let to = ReplyTo { client: self.client, message: 0, request: Some(9) };
        let bytes = &mut self.bytes.borrow_mut();
        self.world.expect_answer(to, Input::Abandon { to, process }, bytes).map(drop)
    }

    fn process(&self, process: ProcessId) -> Option<ProcessInfo> {
        self.world.core.process(process)
    }

    fn processes(&self) -> Vec<ProcessInfo> {
        self.world.core.processes().collect()
    }

    fn sockets(&self) -> Vec<(Listen, SocketInfo)> {
        self.world.core.sockets().map(|(listen, info)| (listen.clone(), info.clone())).collect()
    }

    fn is_idle(&self) -> bool {
        self.world.processes.is_empty()
    }

    fn may_release(&self, process: ProcessId) -> bool {
        self.world.core.may_rule(self.client, process).is_ok()
    }

    fn output(&self, _process: ProcessId, _stream: Stream, from: u64, to: u64) -> Vec<u8> {
        let length = to.saturating_sub(from).min(CAPACITY);
        (0..length).map(|at| if at % 7 == 6 { b'\n' } else { b'x' }).collect()
    }

    fn record(&self, _process: ProcessId, stream: Stream, number: u64) -> Option<Record> {
        // Every fifth cannot be read; offsets are those of nobody's output.
        let seq = number * 2 + u64::from(stream == Stream::Stderr);
        (number % 5 != 4).then(|| Record { seq, offset: number * 100, realtime_ns: number << 30, boottime_ns: 0 })
    }

    fn tables(&self) -> Tables {
        Tables {
            users: "root:x:0:0::/root:/bin/sh\nme:x:1000:1000::/home/me:/bin/sh\nbad:x:y\n".into(),
            groups: "root:x:0:\nwe:x:1000:me,root\nbad\n".into(),
            hosts: "127.0.0.1 localhost\n::1 localhost ip6-localhost\nbad\n".into(),
            own_uid: 0,
        }
    }

    fn acked(&mut self, acked: Vec<Acked>) {
        for own in acked {
            for (stream, offset) in Stream::ALL.into_iter().zip(own.offsets) {
                let ack = Ack { process: own.process, stream, offset };
                drop(self.ask(ack.into()));
            }
        }
    }

    fn left(&mut self, processes: Vec<ProcessId>) {
        assert!(processes.iter().all(|process| process.0 > 0));
    }
}
