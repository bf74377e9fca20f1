//! One client's connection: bytes and descriptors in, frames or text out. Bounded in both directions.
//!
//! A binary client sends its preface at once; one that speaks text waits to be greeted. So a connection that has said
//! nothing for a moment, or whose first byte is not the preface's NUL, is greeted in Papa's manner. A binary client that was late
//! skips the greeting ([`FrameReader`]), and is understood all the same.

use super::poll::Interest;
use crate::limits::CLIENT_BACKLOG;
use ringmaster_protocol::frame::{Frame, FrameError, FrameReader, GREETING, PREFACE};
use ringmaster_protocol::limits::{MAX_FDS, MAX_LINE};
use ringmaster_protocol::text::Session;
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use std::collections::VecDeque;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Why a connection is given up.
#[derive(Debug, thiserror::Error)]
pub enum Dropped {
    /// The client closed it.
    #[error("closed by the client")]
    Closed,
    /// The system reported an error.
    #[error("broken: {0}")]
    Broken(#[from] Errno),
    /// The first bytes are not the preface.
    #[error("the client does not speak the binary protocol")]
    Preface,
    /// The bytes are not frames.
    #[error("{0}")]
    Frame(#[from] FrameError),
    /// A line, or lines that nobody reads yet, over the limit.
    #[error("the client sent more than {MAX_LINE} bytes of text at once")]
    Line,
    /// A browser.
    #[error("the client speaks HTTP or TLS")]
    Browser,
    /// A frame that only the core may send.
    #[error("the client sent a frame that only the core sends")]
    Direction,
    /// More descriptors than a frame may carry.
    #[error("the client sent more than {MAX_FDS} descriptors")]
    Descriptors,
    /// A reply is too long for a frame; a fault of ours that costs this client only.
    #[error("a reply does not fit into a frame")]
    Reply,
}

/// What a read came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// Something arrived; there may be more.
    Bytes,
    /// Nothing is there, or the client has sent its last byte.
    Nothing,
}

/// A look at a client that no event announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// None.
    Never,
    /// Greet it then, if it has said nothing (`CLOCK_BOOTTIME`).
    Greet {
        /// When.
        at: u64,
    },
    /// See then whether it has read what was sent.
    Unread {
        /// When.
        at: u64,
        /// The pause after which to look again.
        pause: u64,
    },
    /// It has read; then the first batch of its watch may follow.
    Settle {
        /// When.
        at: u64,
    },
}

impl Look {
    /// When, if ever.
    pub fn at(self) -> Option<u64> {
        match self {
            Self::Never => None,
            Self::Greet { at } | Self::Unread { at, .. } | Self::Settle { at } => Some(at),
        }
    }
}

/// Bytes to send, with a descriptor beside the first of them.
#[derive(Debug)]
struct Segment {
    bytes: Vec<u8>,
    sent: usize,
    descriptor: Option<OwnedFd>,
}

/// What a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speech {
    /// It has said nothing yet.
    Silent,
    /// It has said nothing for so long that it was greeted as one that speaks text.
    Greeted,
    /// The binary protocol.
    Binary,
    /// Papa's text protocol.
    Text,
}

/// A connection.
#[derive(Debug)]
pub struct Connection {
    socket: OwnedFd,
    /// What the client speaks.
    pub speech: Speech,
    /// Its conversation, if it speaks text.
    pub session: Session,
    /// What a text client is to be looked at again for.
    pub look: Look,
    preface: usize,
    reader: FrameReader,
    /// Descriptors that arrived and belong to a request not yet handled.
    descriptors: VecDeque<OwnedFd>,
    outgoing: VecDeque<Segment>,
    backlog: usize,
    /// The client has sent its last byte.
    pub finished: bool,
    /// Nothing more is read; it is closed when everything is sent.
    pub ending: bool,
    /// Requests wait here because their answers would not have found room.
    pub stalled: bool,
    /// What the connection is waited for: to read, to write.
    pub interest: (Interest, Interest),
}

impl Connection {
    /// Takes over an accepted socket, which does not block.
    pub fn new(socket: OwnedFd, speech: Speech, look: Look) -> Self {
        Self {
            socket,
            speech,
            session: Session::default(),
            look,
            preface: 0,
            reader: FrameReader::new(),
            descriptors: VecDeque::new(),
            outgoing: VecDeque::new(),
            backlog: 0,
            finished: false,
            ending: false,
            stalled: false,
            interest: (Interest::Yes, Interest::No),
        }
    }

    /// Reads what is there, at most as much as `portion` holds.
    pub fn receive(&mut self, portion: &mut [u8]) -> Result<Received, Dropped> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(portion)];
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        let got = match rustix::net::recvmsg(&self.socket, &mut parts, &mut control, flags) {
            Ok(got) => got,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(Received::Nothing),
            Err(errno) => return Err(errno.into()),
        };
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                self.descriptors.extend(descriptors);
            }
        }
        if got.flags.contains(ReturnFlags::CTRUNC) || self.descriptors.len() > MAX_FDS {
            return Err(Dropped::Descriptors);
        }
        if got.bytes == 0 {
            self.finished = true;
            return Ok(Received::Nothing);
        }
        let got = got.bytes;
        let mut rest = portion.get(..got).unwrap_or_default();
        self.tell_apart(rest);
        if self.speech == Speech::Text {
            self.descriptors.clear();
            return self.session.push(rest).then_some(Received::Bytes).ok_or(Dropped::Line);
        }
        if let Some(missing) = PREFACE.get(self.preface..).filter(|missing| !missing.is_empty()) {
            let count = missing.len().min(rest.len());
            let (head, tail) = rest.split_at(count);
            if !missing.starts_with(head) {
                return Err(Dropped::Preface);
            }
            self.preface += count;
            rest = tail;
        }
        self.reader.push(rest);
        Ok(Received::Bytes)
    }

    /// The first byte tells what the client speaks.
    fn tell_apart(&mut self, bytes: &[u8]) {
        let binary = bytes.first() == PREFACE.first();
        match self.speech {
            Speech::Silent | Speech::Greeted if binary => self.speech = Speech::Binary,
            Speech::Silent => {
                self.speech = Speech::Text;
                self.queue_text(GREETING);
            }
            Speech::Greeted => self.speech = Speech::Text,
            Speech::Binary | Speech::Text => return,
        }
        self.look = Look::Never;
    }

    /// The next request, unless too many answers wait to be read by the client.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, Dropped> {
        self.stalled = self.is_clogged();
        if self.stalled {
            return Ok(None);
        }
        let frame = self.reader.next_frame()?;
        if frame.is_none() && self.reader.pending() == 0 {
            // Descriptors without a request that names them.
            self.descriptors.clear();
        }
        Ok(frame)
    }

    /// The first `count` descriptors that came with a request; fewer when fewer came.
    pub fn take_descriptors(&mut self, count: usize) -> Vec<OwnedFd> {
        let count = count.min(self.descriptors.len());
        self.descriptors.drain(..count).collect()
    }

    /// Whether nothing more should be produced for this client now.
    pub fn is_clogged(&self) -> bool {
        self.backlog >= CLIENT_BACKLOG
    }

    /// What it should be waited for now: requests unless answers pile up, room while they do.
    pub fn wanted(&self) -> (Interest, Interest) {
        (Interest::when(!self.is_clogged() && !self.ending), Interest::when(self.has_backlog()))
    }

    /// Whether something waits to be sent.
    pub fn has_backlog(&self) -> bool {
        self.backlog > 0
    }

    /// Bytes that wait to be sent.
    pub fn backlog(&self) -> usize {
        self.backlog
    }

    /// Queues text.
    pub fn queue_text(&mut self, text: &[u8]) {
        self.backlog += text.len();
        match self.outgoing.back_mut() {
            Some(tail) => tail.bytes.extend_from_slice(text),
            None => self.outgoing.push_back(Segment { bytes: text.to_vec(), sent: 0, descriptor: None }),
        }
    }

    /// Queues a frame.
    pub fn queue(&mut self, frame: &Frame, descriptor: Option<OwnedFd>) -> Result<(), Dropped> {
        let before = self.backlog;
        let tail = self.outgoing.back_mut().filter(|tail| tail.bytes.len() < CLIENT_BACKLOG);
        match (tail, descriptor) {
            (Some(tail), None) => {
                let length = tail.bytes.len();
                frame.encode(&mut tail.bytes).then_some(()).ok_or(Dropped::Reply)?;
                self.backlog += tail.bytes.len() - length;
            }
            (_, descriptor) => {
                let mut bytes = Vec::new();
                frame.encode(&mut bytes).then_some(()).ok_or(Dropped::Reply)?;
                self.backlog = before + bytes.len();
                self.outgoing.push_back(Segment { bytes, sent: 0, descriptor });
            }
        }
        Ok(())
    }

    /// Sends until the client's socket is full.
    pub fn send(&mut self) -> Result<(), Dropped> {
        while let Some(segment) = self.outgoing.front_mut() {
            let rest = segment.bytes.get(segment.sent..).unwrap_or_default();
            let sent = match send_some(self.socket.as_fd(), rest, segment.descriptor.as_ref()) {
                Ok(sent) => sent,
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(errno.into()),
            };
            segment.descriptor = None;
            segment.sent += sent;
            self.backlog = self.backlog.saturating_sub(sent);
            if segment.sent >= segment.bytes.len() {
                self.outgoing.pop_front();
            }
        }
        Ok(())
    }

    /// Says in Papa's manner why the connection ends; best effort.
    pub fn send_text(&self, text: &str) {
        let _ = rustix::net::send(&self.socket, text.as_bytes(), SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn send_some(socket: BorrowedFd<'_>, bytes: &[u8], descriptor: Option<&OwnedFd>) -> Result<usize, Errno> {
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    let beside = descriptor.map(|descriptor| [descriptor.as_fd()]);
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if let Some(beside) = &beside {
        control.push(SendAncillaryMessage::ScmRights(beside));
    }
    rustix::net::sendmsg(socket, &[IoSlice::new(bytes)], &mut control, flags)
}
