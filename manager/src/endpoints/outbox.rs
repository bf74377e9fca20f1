//! What goes out on one connection: straight into the socket when it has room, else into a bounded backlog that a task
//! empties while there is one.
//!
//! Offering never waits. A message is taken whole or not at all, and a message of which a part is already in the
//! socket is always finished before the next. What to do when a message does not fit is the caller's decision.
//!
//! The lock is private to this file, guards plain memory and non-blocking writes, and is never held across an await.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use super::limits::BacklogLimits;
use super::pool::{Balance, Charge};
use super::stream::WriteHalf;

/// Slices given to one write: enough to fill a socket buffer with small events, few enough for the stack.
const SLICES: usize = 64;

/// A message ready for the wire: its frame header and its body, or everything in the body.
#[derive(Debug, Clone)]
pub(super) struct Outgoing {
    /// Goes first; may be empty.
    pub(super) head: Bytes,
    /// Goes second.
    pub(super) body: Bytes,
}

/// What became of an offered message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Offered {
    /// All of it is in the socket.
    Written,
    /// It is in the backlog.
    Queued,
    /// It is in the backlog, and all backlogs together are too large now.
    Overdrawn,
    /// It was not taken: the backlog is full. The connection is as it was.
    Full,
    /// It was not taken: the connection is closed.
    Closed,
}

/// The sending side of a connection.
#[derive(Debug)]
pub(super) struct Outbox {
    half: WriteHalf,
    limits: BacklogLimits,
    runtime: Handle,
    backlog: Mutex<Backlog>,
}

#[derive(Debug)]
struct Backlog {
    messages: VecDeque<Outgoing>,
    /// Bytes of the first message that are already in the socket.
    written: usize,
    /// Bytes of all messages that are not in the socket.
    bytes: usize,
    charge: Charge,
    flow: Flow,
}

#[derive(Debug)]
enum Flow {
    /// The backlog is empty: write directly.
    Direct,
    /// A task empties the backlog.
    Draining(AbortHandle),
    /// Nothing is sent any more.
    Closed,
}

impl Outgoing {
    /// Bytes on the wire.
    fn len(&self) -> usize {
        self.head.len().saturating_add(self.body.len())
    }
}

impl Outbox {
    /// An outbox that writes to `half`, with a charge that holds nothing yet.
    pub(super) fn new(half: WriteHalf, limits: BacklogLimits, charge: Charge, runtime: Handle) -> Arc<Self> {
        let backlog = Backlog { messages: VecDeque::new(), written: 0, bytes: 0, charge, flow: Flow::Direct };
        Arc::new(Self { half, limits, runtime, backlog: Mutex::new(backlog) })
    }

    /// Sends or queues a message, at once.
    pub(super) fn offer(self: &Arc<Self>, message: Outgoing) -> Offered {
        let mut backlog = self.lock();
        match backlog.flow {
            Flow::Closed => return Offered::Closed,
            Flow::Draining(_) | Flow::Direct if !backlog.has_room(&message, self.limits) => {
                return Offered::Full;
            }
            Flow::Draining(_) => {
                backlog.enqueue(message);
                return backlog.settle();
            }
            Flow::Direct => {}
        }
        let written = match self.write(&[IoSlice::new(&message.head), IoSlice::new(&message.body)]) {
            Ok(written) if written == message.len() => return Offered::Written,
            Ok(written) => written,
            Err(_broken) => {
                backlog.close();
                return Offered::Closed;
            }
        };
        let drain = self.runtime.spawn(Arc::clone(self).drain());
        backlog.flow = Flow::Draining(drain.abort_handle());
        backlog.enqueue(message);
        backlog.advance(written)
    }

    /// Forgets the backlog; nothing more is sent.
    pub(super) fn close(&self) {
        self.lock().close();
    }

    /// Sends the backlog to its end, then the end of the stream, and waits until the peer has closed its side: from
    /// then on nothing of what was sent can be lost. To be bounded by the caller.
    pub(super) async fn finish(self: Arc<Self>) -> io::Result<()> {
        loop {
            match self.flush() {
                Flushed::Blocked => self.half.writable().await?,
                Flushed::Empty => break,
                Flushed::Broken => return Err(io::ErrorKind::BrokenPipe.into()),
            }
        }
        self.half.finish()?;
        self.half.discard_input().await
    }

    /// Empties the backlog as the peer reads.
    async fn drain(self: Arc<Self>) {
        loop {
            if self.half.writable().await.is_err() {
                return self.close();
            }
            match self.flush() {
                Flushed::Blocked => {}
                Flushed::Empty => return,
                Flushed::Broken => return self.close(),
            }
        }
    }

    /// One write from the backlog.
    fn flush(&self) -> Flushed {
        let mut backlog = self.lock();
        if let Flow::Closed = backlog.flow {
            return Flushed::Broken;
        }
        let written = self.write(&backlog.slices());
        match written {
            Ok(written) => backlog.advance(written),
            Err(_broken) => return Flushed::Broken,
        };
        if !backlog.messages.is_empty() {
            return Flushed::Blocked;
        }
        backlog.messages = VecDeque::new();
        backlog.flow = Flow::Direct;
        Flushed::Empty
    }

    /// Bytes that went into the socket; 0 when it has no room.
    fn write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self.half.try_write(slices) {
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(0),
            result => result,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Backlog> {
        self.backlog.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one write from the backlog came to.
enum Flushed {
    /// More is left.
    Blocked,
    /// Nothing is left.
    Empty,
    /// The connection is of no more use.
    Broken,
}

impl Backlog {
    fn has_room(&self, message: &Outgoing, limits: BacklogLimits) -> bool {
        self.bytes.saturating_add(message.len()) <= limits.bytes && self.messages.len() < limits.messages
    }

    /// Adds a message, to be accounted for by the caller.
    fn enqueue(&mut self, message: Outgoing) {
        self.bytes = self.bytes.saturating_add(message.len());
        self.messages.push_back(message);
    }

    /// Accounts for the bytes held.
    fn settle(&mut self) -> Offered {
        match self.charge.resize(self.bytes) {
            Balance::Good => Offered::Queued,
            Balance::Overdrawn => Offered::Overdrawn,
        }
    }

    /// The beginning of the backlog as it goes to the socket.
    fn slices(&self) -> Vec<IoSlice<'_>> {
        let mut skip = self.written;
        let pieces = self.messages.iter().flat_map(|message| [&message.head, &message.body]);
        let unsent = pieces.filter_map(|piece| {
            let rest = piece.get(skip..).unwrap_or_default();
            skip = skip.saturating_sub(piece.len());
            (!rest.is_empty()).then(|| IoSlice::new(rest))
        });
        unsent.take(SLICES).collect()
    }

    /// Forgets `written` more bytes.
    fn advance(&mut self, written: usize) -> Offered {
        self.bytes = self.bytes.saturating_sub(written);
        self.written = self.written.saturating_add(written);
        while let Some(first) = self.messages.front()
            && self.written >= first.len()
        {
            self.written -= first.len();
            self.messages.pop_front();
        }
        self.settle()
    }

    fn close(&mut self) {
        if let Flow::Draining(task) = std::mem::replace(&mut self.flow, Flow::Closed) {
            task.abort();
        }
        self.messages = VecDeque::new();
        self.bytes = 0;
        self.written = 0;
        self.charge.resize(0);
    }
}
