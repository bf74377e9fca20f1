//! A core of its own for one test, and a client that talks to it. No fixed paths, no sleeping: every wait has a deadline
//! that prints what was seen last.
#![allow(dead_code, reason = "each test program uses its part")]

use ringmaster_protocol::frame::{Frame, FrameReader, Kind, PREFACE};
use ringmaster_protocol::limits::DEFAULT_RING;
use ringmaster_protocol::message::*;
use ringmaster_protocol::ring::{Record, Stream, StreamEntry};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{IoSlice, IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub const PATIENCE: Duration = Duration::from_secs(20);

/// One core in a directory of its own; killed at the end with everything that it started.
pub struct Rig {
    pub run: tempfile::TempDir,
    pub papa: Option<Child>,
}

impl Rig {
    pub fn new() -> Self {
        let mut rig = Self {
            run: tempfile::tempdir().unwrap(),
            papa: None,
        };
        rig.start();
        rig
    }

    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_papa"));
        command.env("CIRCUS_RUN_DIR", self.run.path());
        command
    }

    pub fn start(&mut self) {
        let child = self.command().arg("-d").stdin(Stdio::null()).spawn().unwrap();
        let pid = child.id();
        self.papa = Some(child);
        eventually("the core accepts connections", || {
            let served = std::fs::read_to_string(self.directory().join("pid")).unwrap_or_default();
            let ours = served.trim() == pid.to_string();
            (ours && UnixStream::connect(self.socket()).is_ok())
                .then_some(())
                .ok_or(served)
        });
    }

    pub fn directory(&self) -> PathBuf {
        self.run.path().join("default")
    }

    pub fn socket(&self) -> PathBuf {
        self.directory().join("sock")
    }

    pub fn pid(&self) -> i32 {
        i32::try_from(self.papa.as_ref().unwrap().id()).unwrap()
    }

    /// SIGKILL, as nobody can prepare for.
    pub fn kill(&mut self) {
        let mut papa = self.papa.take().unwrap();
        papa.kill().unwrap();
        papa.wait().unwrap();
    }

    pub fn client(&self) -> Client {
        Client::connect(self)
    }

    /// A client that holds the lease and watches everything.
    pub fn manager(&self) -> Client {
        let mut client = self.client();
        client.ok(TakeLease {
            holder: "test".into(),
            grace_ms: 30_000,
            ext: vec![],
        });
        client.ok(Watch::default());
        client
    }

    pub fn open_fds(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid()))
            .unwrap()
            .count()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if self.papa.is_none() {
            return;
        }
        // Whatever the core knows is killed by the core itself, so that nobody else is hit.
        if !std::thread::panicking() {
            let mut client = self.client();
            let list = client.list();
            for process in list {
                client
                    .request(Signal {
                        process: process.id,
                        signal: 9,
                        target: Target::Tree,
                        ext: vec![],
                    })
                    .ok();
            }
        }
        let mut papa = self.papa.take().unwrap();
        papa.kill().ok();
        papa.wait().ok();
    }
}

/// Waits for a condition; panics with what it saw last.
pub fn eventually<T, E: std::fmt::Debug>(what: &str, mut check: impl FnMut() -> Result<T, E>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match check() {
            Ok(value) => return value,
            Err(last) if Instant::now() > deadline => panic!("{what}: not in {PATIENCE:?}; last: {last:?}"),
            Err(_) => std::thread::park_timeout(Duration::from_millis(2)),
        }
    }
}

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
        let mut client = Self::raw(rig);
        client.send(&PREFACE, &[]);
        let hello = Hello {
            oldest: 1,
            newest: 1,
            build: "test".into(),
            role: Role::Manager,
            ext: vec![],
        };
        match client.ok(hello) {
            Reply::Welcome(welcome) => client.welcome = Some(welcome),
            other => panic!("{other:?}"),
        }
        client
    }

    /// Without a greeting.
    pub fn raw(rig: &Rig) -> Self {
        let socket = UnixStream::connect(rig.socket()).unwrap();
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
        let sent = rustix::net::sendmsg(
            &self.socket,
            &[IoSlice::new(bytes)],
            &mut control,
            SendFlags::empty(),
        )
        .unwrap();
        assert_eq!(sent, bytes.len());
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
            let got = rustix::net::recvmsg(&self.socket, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC)
                .unwrap_or_else(|errno| panic!("no answer from the core: {errno}"));
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

    pub fn request_with(
        &mut self,
        request: impl Into<Request>,
        fds: &[BorrowedFd<'_>],
    ) -> Result<Reply, Refusal> {
        let id = self.next;
        self.next += 1;
        let mut bytes = Vec::new();
        assert!(request.into().frame(id).encode(&mut bytes));
        self.send(&bytes, fds);
        loop {
            let frame = self.frame().expect("the core hung up");
            match frame.kind {
                Kind::Notice => self
                    .notices
                    .push_back(Notice::decode(frame.message, &frame.body).unwrap()),
                Kind::Reply => {
                    assert_eq!(frame.request, id);
                    return Ok(Reply::decode(frame.message, &frame.body).unwrap());
                }
                Kind::Refusal => {
                    assert_eq!(frame.request, id);
                    return Err(Refusal::decode(frame.message, &frame.body).unwrap());
                }
                other => panic!("{other:?}"),
            }
        }
    }

    pub fn ok(&mut self, request: impl Into<Request>) -> Reply {
        self.request(request)
            .unwrap_or_else(|refusal| panic!("refused: {refusal}"))
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
            let after = all
                .last()
                .map_or(ProcessId(0), |process: &ProcessInfo| process.id);
            match self.ok(List {
                after,
                prefix: String::new(),
                ext: vec![],
            }) {
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
        match self.ok(Signal {
            process,
            signal,
            target,
            ext: vec![],
        }) {
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
            Reply::ProcessFile(file) => {
                Reading::new(self.fds.pop_front().expect("no descriptor"), file.process)
            }
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
                    self.cast(Ack {
                        process,
                        stream: more.stream,
                        offset,
                    });
                }
                Notice::StreamEnd(end) if end.process == process => {
                    output.read_to(end.stream, end.head);
                    open -= 1;
                }
                Notice::Exited(exited) if exited.process == process => exit = Some(exited.exit),
                _ => {}
            }
        }
        (
            output.bytes(Stream::Stdout),
            output.bytes(Stream::Stderr),
            exit.unwrap(),
        )
    }
}

/// A process file and what was read from it.
pub struct Reading {
    file: File,
    pub info: ProcessInfo,
    read: HashMap<Stream, (u64, Vec<u8>)>,
    /// Bytes found below `low` when they were to be read.
    pub gaps: u64,
}

impl Reading {
    fn new(fd: OwnedFd, info: ProcessInfo) -> Self {
        let read = Stream::ALL
            .map(|stream| (stream, (info.streams[stream.index()].low, Vec::new())))
            .into();
        Self {
            file: File::from(fd),
            info,
            read,
            gaps: 0,
        }
    }

    pub fn file(&self) -> &File {
        &self.file
    }

    pub fn captured(&self) -> usize {
        self.info.streams.iter().filter(|stream| stream.captured).count()
    }

    pub fn entry(&self, stream: Stream) -> StreamEntry {
        let mut bytes = [0; 64];
        self.file
            .read_exact_at(&mut bytes, StreamEntry::position(stream))
            .unwrap();
        StreamEntry::decode(&bytes)
    }

    pub fn record(&self, stream: Stream, number: u64) -> Record {
        let mut bytes = [0; 32];
        self.file
            .read_exact_at(&mut bytes, self.entry(stream).record_position(number))
            .unwrap();
        Record::decode(&bytes)
    }

    /// Reads up to `head` as the protocol says: data first, then `low`, and what lies below it is a gap.
    pub fn read_to(&mut self, stream: Stream, head: u64) -> u64 {
        let entry = self.entry(stream);
        let (at, bytes) = self.read.get_mut(&stream).unwrap();
        let from = (*at).max(entry.low).min(head);
        let mut fresh = Vec::new();
        for piece in entry.pieces(from, head) {
            let mut part = vec![0; usize::try_from(piece.length).unwrap()];
            self.file.read_exact_at(&mut part, piece.at).unwrap();
            fresh.extend(part);
        }
        let mut low = [0; 8];
        self.file
            .read_exact_at(&mut low, StreamEntry::position(stream) + StreamEntry::LOW_AT)
            .unwrap();
        let low = u64::from_le_bytes(low).clamp(from, head);
        self.gaps += low - *at;
        bytes.extend(&fresh[usize::try_from(low - from).unwrap()..]);
        *at = head;
        head
    }

    pub fn bytes(&self, stream: Stream) -> Vec<u8> {
        self.read[&stream].1.clone()
    }
}

/// A request for `argv` with both streams captured and nothing special.
pub fn program(name: &str, argv: &[&str]) -> Spawn {
    Spawn {
        name: name.into(),
        token: 1,
        lifetime: Lifetime::Persistent,
        stop: StopPlan {
            signal: 15,
            grace_ms: 5000,
        },
        argv: argv.iter().map(|word| word.as_bytes().to_vec()).collect(),
        env: vec![(b"PATH".to_vec(), b"/usr/local/bin:/usr/bin:/bin".to_vec())],
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
        ring: DEFAULT_RING,
        overflow: Overflow::DropOldest,
        note: b"a note".to_vec(),
        ext: vec![],
    }
}

/// A shell script.
pub fn shell(name: &str, script: &str) -> Spawn {
    program(name, &["sh", "-c", script])
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Whether a pid exists and is no zombie.
pub fn lives(pid: i32) -> bool {
    let mut stat = String::new();
    let opened = File::open(format!("/proc/{pid}/stat")).and_then(|mut file| file.read_to_string(&mut stat));
    opened.is_ok() && !stat.rsplit_once(')').unwrap().1.trim_start().starts_with('Z')
}

pub fn borrowed(fds: &[OwnedFd]) -> Vec<BorrowedFd<'_>> {
    fds.iter().map(AsFd::as_fd).collect()
}
