//! A connection to the core that may break at any moment: every failure is a value. What a manager does with one is its
//! user's affair.

use ringmaster_protocol::frame::{Frame, FrameReader, Kind, PREFACE};
use ringmaster_protocol::message::{Hello, Notice, PROTOCOL, Refusal, Reply, Request, Role, Status, StatusReply};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use std::collections::VecDeque;
use std::io::{self, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// How long the core may take to answer before that is a failure of its own.
const ANSWER: Duration = Duration::from_secs(30);

/// Bytes read at once.
const PORTION: usize = 64 << 10;

/// One connection, greeted.
pub struct Link {
    socket: UnixStream,
    reader: FrameReader,
    next: u32,
    notices: VecDeque<Notice>,
    descriptors: Vec<OwnedFd>,
    portion: Vec<u8>,
}

/// What a request came to: the answer, or the core's no. A broken connection is the outer error.
pub type Answer = io::Result<Result<Reply, Refusal>>;

impl Link {
    /// Connects and greets.
    ///
    /// # Errors
    /// Nobody listens, or the connection breaks.
    pub fn connect(socket: &Path) -> io::Result<Self> {
        let socket = UnixStream::connect(socket)?;
        socket.set_read_timeout(Some(ANSWER))?;
        socket.set_write_timeout(Some(ANSWER))?;
        let (reader, notices, descriptors) = (FrameReader::new(), VecDeque::new(), Vec::new());
        let mut link = Self { socket, reader, next: 1, notices, descriptors, portion: vec![0; PORTION] };
        link.socket.write_all(&PREFACE)?;
        let hello =
            Hello { oldest: PROTOCOL, newest: PROTOCOL, build: "nemesis".into(), role: Role::Manager, ext: vec![] };
        link.request(hello)?.map_err(io::Error::other)?;
        Ok(link)
    }

    /// Asks and waits for the answer; notices that come meanwhile are kept.
    ///
    /// # Errors
    /// The connection breaks, or nothing comes for too long.
    pub fn request(&mut self, request: impl Into<Request>) -> Answer {
        let id = self.next;
        self.next += 1;
        self.send(&request.into().frame(id))?;
        loop {
            let frame = self.frame()?;
            match frame.kind {
                Kind::Notice => self.keep(&frame)?,
                Kind::Reply => return Ok(Ok(Reply::decode(frame.message, &frame.body).map_err(io::Error::other)?)),
                Kind::Refusal => {
                    return Ok(Err(Refusal::decode(frame.message, &frame.body).map_err(io::Error::other)?));
                }
                Kind::Request | Kind::Cast => return Err(io::Error::other("the core asks")),
            }
        }
    }

    /// The core's status.
    ///
    /// # Errors
    /// As for [`Self::request`]; a refusal is one, too.
    pub fn status(&mut self) -> io::Result<StatusReply> {
        let reply = self.request(Status::default())?.map_err(io::Error::other)?;
        if let Reply::StatusReply(status) = reply { Ok(status) } else { Err(io::Error::other(format!("{reply:?}"))) }
    }

    /// Says something that is not answered.
    ///
    /// # Errors
    /// The connection breaks.
    pub fn cast(&mut self, request: impl Into<Request>) -> io::Result<()> {
        self.send(&request.into().cast())
    }

    /// The next notice, if one comes within `patience`.
    ///
    /// # Errors
    /// The connection breaks.
    pub fn notice(&mut self, patience: Duration) -> io::Result<Option<Notice>> {
        if self.notices.is_empty() {
            while let Some(frame) = self.reader.next_frame().map_err(io::Error::other)? {
                self.keep(&frame)?;
            }
        }
        if self.notices.is_empty() && self.readable(patience)? {
            self.read()?;
            while let Some(frame) = self.reader.next_frame().map_err(io::Error::other)? {
                self.keep(&frame)?;
            }
        }
        Ok(self.notices.pop_front())
    }

    /// The descriptor that came last; those before it, which nobody took, are closed.
    pub fn newest_descriptor(&mut self) -> Option<OwnedFd> {
        self.descriptors.drain(..).next_back()
    }

    fn keep(&mut self, frame: &Frame) -> io::Result<()> {
        self.notices.push_back(Notice::decode(frame.message, &frame.body).map_err(io::Error::other)?);
        Ok(())
    }

    fn send(&mut self, frame: &Frame) -> io::Result<()> {
        let mut bytes = Vec::new();
        if !frame.encode(&mut bytes) {
            return Err(io::Error::other("the request is too large"));
        }
        self.socket.write_all(&bytes)
    }

    fn frame(&mut self) -> io::Result<Frame> {
        loop {
            if let Some(frame) = self.reader.next_frame().map_err(io::Error::other)? {
                return Ok(frame);
            }
            self.read()?;
        }
    }

    fn readable(&self, patience: Duration) -> io::Result<bool> {
        let mut ready = [PollFd::new(&self.socket, PollFlags::IN)];
        let patience = Timespec::try_from(patience).map_err(io::Error::other)?;
        match rustix::event::poll(&mut ready, Some(&patience)) {
            Ok(count) => Ok(count > 0),
            Err(rustix::io::Errno::INTR) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    fn read(&mut self) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(&mut self.portion)];
        let got = rustix::net::recvmsg(&self.socket, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC)?;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                self.descriptors.extend(descriptors);
            }
        }
        if got.bytes == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.reader.push(self.portion.get(..got.bytes).unwrap_or_default());
        Ok(())
    }
}
