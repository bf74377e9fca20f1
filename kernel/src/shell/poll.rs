//! Waiting: epoll(7), with what each descriptor means.

use super::clock::NOW;
use crate::core::ClientId;
use ringmaster_protocol::message::ProcessId;
use ringmaster_protocol::ring::Stream;
use rustix::event::epoll::{self, Event, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::time::Timespec;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// What a readable descriptor means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token {
    /// Somebody connects.
    Listener,
    /// Somebody connects over TCP.
    TcpListener,
    /// A signal for the core itself.
    Signals,
    /// A client.
    Client(ClientId),
    /// Output.
    Pipe(ProcessId, Stream),
    /// The end of a process.
    Pidfd(ProcessId),
    /// The end of the keeper.
    Keeper,
    /// What the program of an upgrade says in its dry run.
    Trial,
    /// Something is removed from the instance directory.
    Home,
}

const KIND_SHIFT: u32 = 56;

/// Nanoseconds below which a wait is as exact as the system can make it; a longer one may end up to a millisecond late.
const EXACT_NS: i64 = 10_000_000;

impl Token {
    fn encode(self) -> EventData {
        let (kind, value) = match self {
            Self::Listener => (1, 0),
            Self::Signals => (2, 0),
            Self::Client(ClientId(id)) => (3, id),
            Self::Pipe(ProcessId(id), Stream::Stdout) => (4, id),
            Self::Pipe(ProcessId(id), Stream::Stderr) => (5, id),
            Self::Pidfd(ProcessId(id)) => (6, id),
            Self::TcpListener => (7, 0),
            Self::Keeper => (8, 0),
            Self::Trial => (9, 0),
            Self::Home => (10, 0),
        };
        EventData::new_u64(kind << KIND_SHIFT | value)
    }

    fn decode(data: u64) -> Option<Self> {
        let value = data & ((1 << KIND_SHIFT) - 1);
        match data >> KIND_SHIFT {
            1 => Some(Self::Listener),
            2 => Some(Self::Signals),
            3 => Some(Self::Client(ClientId(value))),
            4 => Some(Self::Pipe(ProcessId(value), Stream::Stdout)),
            5 => Some(Self::Pipe(ProcessId(value), Stream::Stderr)),
            6 => Some(Self::Pidfd(ProcessId(value))),
            7 => Some(Self::TcpListener),
            8 => Some(Self::Keeper),
            9 => Some(Self::Trial),
            10 => Some(Self::Home),
            _ => None,
        }
    }
}

/// What happened on a descriptor.
#[derive(Debug, Clone, Copy)]
pub struct Ready {
    /// On which.
    pub token: Token,
    /// There is something to read, or an end, or an error.
    pub readable: bool,
    /// There is room to write.
    pub writable: bool,
}

/// The set of descriptors that are waited for.
pub struct Poll {
    epoll: OwnedFd,
    buffer: Vec<Event>,
}

impl Poll {
    /// An empty set.
    pub fn new() -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(Self { epoll, buffer: Vec::with_capacity(256) })
    }

    /// Waits for something to read on `fd`.
    pub fn add(&self, fd: impl AsFd, token: Token) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, fd, token.encode(), EventFlags::IN)?)
    }

    /// Changes what a connection is waited for.
    pub fn change(&self, fd: impl AsFd, token: Token, read: Interest, write: Interest) -> io::Result<()> {
        let flag = |interest, flag| match interest {
            Interest::Yes => flag,
            Interest::No => EventFlags::empty(),
        };
        let flags = flag(read, EventFlags::IN) | flag(write, EventFlags::OUT);
        Ok(epoll::modify(&self.epoll, fd, token.encode(), flags)?)
    }

    /// Does not wait for `fd` any more, not even for its end.
    pub fn remove(&self, fd: impl AsFd) {
        // A descriptor that is not in the set is what we want.
        let _ = epoll::delete(&self.epoll, fd);
    }

    /// Waits until something happens or the time is over, never less.
    pub fn wait(&mut self, timeout: Option<&Timespec>) -> io::Result<Vec<Ready>> {
        let mut timeout = timeout;
        if let Some(time) = timeout.filter(|time| time.tv_sec == 0 && (1..EXACT_NS).contains(&time.tv_nsec)) {
            // epoll_wait(2) knows milliseconds only.
            let mut all = [PollFd::new(&self.epoll, PollFlags::IN)];
            match rustix::event::poll(&mut all, Some(time)) {
                Ok(0) | Err(Errno::INTR) => return Ok(Vec::new()),
                Ok(_) => timeout = Some(&NOW),
                Err(errno) => return Err(errno.into()),
            }
        }
        self.buffer.clear();
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut self.buffer), timeout) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(Vec::new()),
            Err(errno) => return Err(errno.into()),
        }
        let ready = self.buffer.iter().filter_map(|event| {
            let (data, flags) = (event.data, event.flags);
            let ended = EventFlags::IN | EventFlags::HUP | EventFlags::ERR | EventFlags::RDHUP;
            Some(Ready {
                token: Token::decode(data.u64())?,
                readable: flags.intersects(ended),
                writable: flags.contains(EventFlags::OUT),
            })
        });
        Ok(ready.collect())
    }
}

/// Whether a direction is of interest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interest {
    /// It is.
    Yes,
    /// It is not.
    No,
}

impl Interest {
    /// From a condition.
    pub fn when(condition: bool) -> Self {
        if condition { Self::Yes } else { Self::No }
    }
}
