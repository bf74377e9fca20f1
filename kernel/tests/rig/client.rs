//! A connection to the core, and what a manager does with it.

use super::{PATIENCE, Reading, Rig};
use ringmaster_protocol::frame::{Frame, FrameReader, Kind, PREFACE};
use ringmaster_protocol::message::*;
use ringmaster_protocol::ring::Stream;
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
};
use std::collections::VecDeque;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

/// A connection to the core.
pub struct Client {
    pub socket: UnixStream,
    reader: FrameReader,
    next: u32,
    pub notices: VecDeque<Notice>,
    fds: VecDeque<OwnedFd>,
    pub welcome: Option<Welcome>,
}

impl Client {
    pub fn connect(rig: &Rig) -> Self {
        Self::greet(Self::raw(rig))
    }

    /// Over a connection that somebody else has made.
    pub fn over(socket: UnixStream) -> Self {
        Self::greet(Self::around(socket))
    }

    fn greet(mut client: Self) -> Self {
        client.send(&PREFACE, &[]);
        let hello = Hello { oldest: 1, newest: 1, build: "test".into(), role: Role::Manager, ext: vec![] };
        match client.ok(hello) {
            Reply::Welcome(welcome) => client.welcome = Some(welcome),
            other => panic!("{other:?}"),
        }
        client
    }

    /// Without a greeting.
    pub fn raw(rig: &Rig) -> Self {
        Self::around(UnixStream::connect(rig.socket()).unwrap())
    }

    fn around(socket: UnixStream) -> Self {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        Self {
            socket,
            reader: FrameReader::new(),
            next: 1,
            notices: VecDeque::new(),
            fds: VecDeque::new(),
            welcome: None,
        }
    }

    pub fn send(&mut self, bytes: &[u8], fds: &[BorrowedFd<'_>]) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(16))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() {
            assert!(control.push(SendAncillaryMessage::ScmRights(fds)));
        }
        let sent =
            rustix::net::sendmsg(&self.socket, &[IoSlice::new(bytes)], &mut control, SendFlags::empty()).unwrap();
        assert_eq!(sent, bytes.len());
    }

    /// A connection with a greeting; `None` when nobody answers, as while a core is replaced.
    pub fn try_connect(rig: &Rig) -> Option<Self> {
        let socket = UnixStream::connect(rig.socket()).ok()?;
        let mut client = Self::around(socket);
        client.try_send(&PREFACE).then_some(())?;
        let hello = Hello { oldest: 1, newest: 1, build: "test".into(), role: Role::Manager, ext: vec![] };
        match client.attempt(hello)? {
            Ok(Reply::Welcome(welcome)) => client.welcome = Some(welcome),
            other => panic!("{other:?}"),
        }
        Some(client)
    }

    fn try_send(&mut self, bytes: &[u8]) -> bool {
        rustix::net::send(&self.socket, bytes, SendFlags::NOSIGNAL).is_ok_and(|sent| sent == bytes.len())
    }

    /// A request to a core that may die meanwhile: then there is no answer.
    pub fn attempt(&mut self, request: impl Into<Request>) -> Option<Result<Reply, Refusal>> {
        let id = self.next;
        self.next += 1;
        let mut bytes = Vec::new();
        assert!(request.into().frame(id).encode(&mut bytes));
        self.try_send(&bytes).then_some(())?;
        self.answer(id)
    }

    /// The next notice, unless the core dies before.
    pub fn try_notice(&mut self) -> Option<Notice> {
        if let Some(notice) = self.notices.pop_front() {
            return Some(notice);
        }
        let frame = self.frame()?;
        assert_eq!(frame.kind, Kind::Notice);
        Some(Notice::decode(frame.message, &frame.body).unwrap())
    }

    /// The next frame; `None` when the core has hung up.
    pub fn frame(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.reader.next_frame().unwrap() {
                return Some(frame);
            }
            let mut bytes = [0; 65536];
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(16))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let mut parts = [IoSliceMut::new(&mut bytes)];
            let got = match rustix::net::recvmsg(&self.socket, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC) {
                Ok(got) => got,
                Err(Errno::INTR) => continue,
                // It died with something of ours unread.
                Err(Errno::CONNRESET) => return None,
                Err(errno) => panic!("no answer from the core: {errno}"),
            };
            for message in control.drain() {
                if let RecvAncillaryMessage::ScmRights(fds) = message {
                    self.fds.extend(fds);
                }
            }
            if got.bytes == 0 {
                return None;
            }
            self.reader.push(&bytes[..got.bytes]);
        }
    }

    pub fn request(&mut self, request: impl Into<Request>) -> Result<Reply, Refusal> {
        self.request_with(request, &[])
    }

    pub fn request_with(&mut self, request: impl Into<Request>, fds: &[BorrowedFd<'_>]) -> Result<Reply, Refusal> {
        let id = self.next;
        self.next += 1;
        let mut bytes = Vec::new();
        assert!(request.into().frame(id).encode(&mut bytes));
        self.send(&bytes, fds);
        self.answer(id).expect("the core hung up")
    }

    fn answer(&mut self, id: u32) -> Option<Result<Reply, Refusal>> {
        loop {
            let frame = self.frame()?;
            match frame.kind {
                Kind::Notice => self.notices.push_back(Notice::decode(frame.message, &frame.body).unwrap()),
                Kind::Reply => {
                    assert_eq!(frame.request, id);
                    return Some(Ok(Reply::decode(frame.message, &frame.body).unwrap()));
                }
                Kind::Refusal => {
                    assert_eq!(frame.request, id);
                    return Some(Err(Refusal::decode(frame.message, &frame.body).unwrap()));
                }
                other => panic!("{other:?}"),
            }
        }
    }

    pub fn ok(&mut self, request: impl Into<Request>) -> Reply {
        self.request(request).unwrap_or_else(|refusal| panic!("refused: {refusal}"))
    }

    pub fn cast(&mut self, request: impl Into<Request>) {
        let mut bytes = Vec::new();
        assert!(request.into().cast().encode(&mut bytes));
        self.send(&bytes, &[]);
    }

    pub fn notice(&mut self) -> Notice {
        if let Some(notice) = self.notices.pop_front() {
            return notice;
        }
        let frame = self.frame().expect("the core hung up");
        assert_eq!(frame.kind, Kind::Notice);
        Notice::decode(frame.message, &frame.body).unwrap()
    }

    pub fn spawn(&mut self, spawn: Spawn) -> ProcessInfo {
        match self.ok(spawn) {
            Reply::Spawned(spawned) => spawned.process,
            other => panic!("{other:?}"),
        }
    }

    pub fn list(&mut self) -> Vec<ProcessInfo> {
        let mut all = Vec::new();
        loop {
            let after = all.last().map_or(ProcessId(0), |process: &ProcessInfo| process.id);
            match self.ok(List { after, prefix: String::new(), ext: vec![] }) {
                Reply::Listing(mut page) => {
                    all.append(&mut page.processes);
                    if !page.more {
                        return all;
                    }
                }
                other => panic!("{other:?}"),
            }
        }
    }

    pub fn status(&mut self) -> StatusReply {
        match self.ok(Status::default()) {
            Reply::StatusReply(status) => status,
            other => panic!("{other:?}"),
        }
    }

    pub fn signal(&mut self, process: ProcessId, signal: i32, target: Target) -> Vec<i32> {
        match self.ok(Signal { process, signal, target, ext: vec![] }) {
            Reply::Signalled(signalled) => signalled.pids,
            other => panic!("{other:?}"),
        }
    }

    /// Waits for the end of a process; other notices stay in the queue.
    pub fn wait_exit(&mut self, process: ProcessId) -> Exit {
        let mut others = VecDeque::new();
        let exit = loop {
            match self.notice() {
                Notice::Exited(exited) if exited.process == process => break exited.exit,
                other => others.push_back(other),
            }
        };
        others.append(&mut self.notices);
        self.notices = others;
        exit
    }

    pub fn open(&mut self, process: ProcessId) -> Reading {
        self.fds.clear();
        match self.ok(OpenProcess { process, ext: vec![] }) {
            Reply::ProcessFile(file) => Reading::new(self.fds.pop_front().expect("no descriptor"), file.process),
            other => panic!("{other:?}"),
        }
    }

    pub fn take_fd(&mut self) -> Option<OwnedFd> {
        self.fds.pop_front()
    }

    /// All output of a process that ends, acknowledged as it comes; the streams are read to their ends.
    pub fn read_all(&mut self, process: ProcessId) -> (Vec<u8>, Vec<u8>, Exit) {
        let mut output = self.open(process);
        let mut exit = None;
        let mut open = output.captured();
        while open > 0 || exit.is_none() {
            match self.notice() {
                Notice::Output(more) if more.process == process => {
                    let offset = output.read_to(more.stream, more.head);
                    self.cast(Ack { process, stream: more.stream, offset });
                }
                Notice::StreamEnd(end) if end.process == process => {
                    output.read_to(end.stream, end.head);
                    open -= 1;
                }
                Notice::Exited(exited) if exited.process == process => exit = Some(exited.exit),
                _ => {}
            }
        }
        (output.bytes(Stream::Stdout), output.bytes(Stream::Stderr), exit.unwrap())
    }
}
