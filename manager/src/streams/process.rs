//! What the scribe knows of one process.

use super::cursor::Cursor;
use super::journal::Position;
use super::mailbox::{Attach, Mark, WatcherKey};
use super::per_stream::PerStream;
use super::render::Writer;
use super::tap::Tap;
use ringmaster_protocol::message::ProcessId;
use ringmaster_protocol::ring::Stream;

/// One attached process.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) watcher: WatcherKey,
    pub(super) wid: u64,
    pub(super) pid: i32,
    /// `None`: its file cannot be read.
    pub(super) tap: Option<Tap>,
    /// Of the captured streams.
    pub(super) cursors: PerStream<Option<Cursor>>,
    /// How far the output went when the process ended.
    ended: Option<PerStream<u64>>,
    drained: bool,
    /// It is in the queue of those that may have work.
    pub(super) queued: bool,
    /// It is in the queue of those that hold an unfinished line.
    pub(super) holding: bool,
}

impl Process {
    /// For looks that show who writes.
    pub(super) fn writer(&self, process: ProcessId) -> Writer<'_> {
        Writer { process, watcher: self.watcher.as_str(), wid: self.wid, pid: self.pid }
    }

    /// Opens the process file; the error comes beside a process without one. `known`: how far its output is in the logs.
    pub(super) fn attach(
        attach: Attach,
        known: &PerStream<Option<Position>>,
        now_ns: u64,
    ) -> (Self, Option<std::io::Error>) {
        let (tap, error) = match Tap::open(attach.file) {
            Ok(tap) => (Some(tap), None),
            Err(error) => (None, Some(error)),
        };
        let states = PerStream::from(attach.streams);
        let cursor = |stream: Stream| {
            let (state, tap) = (states.get(stream), tap.as_ref()?);
            let since = (*known.get(stream), attach.started_ns, now_ns);
            state.captured.then(|| Cursor::new(stream, state, since, tap))
        };
        let cursors = PerStream { stdout: cursor(Stream::Stdout), stderr: cursor(Stream::Stderr) };
        let process = Self {
            watcher: attach.watcher,
            wid: attach.wid,
            pid: attach.pid,
            tap,
            cursors,
            ended: None,
            drained: false,
            queued: false,
            holding: false,
        };
        (process, error)
    }

    /// Gives up on the process file.
    pub(super) fn give_up(&mut self) {
        self.tap = None;
        self.cursors = PerStream::default();
    }

    /// Takes in how far a stream has come.
    pub(super) fn advance(&mut self, stream: Stream, mark: Mark) {
        if let Some(cursor) = self.cursors.get_mut(stream) {
            cursor.advance(mark.head, Some(mark.records));
            cursor.open &= !mark.ended;
        }
    }

    /// Takes in the end of the process. Its last words may still be in a pipe, or behind a gap: the core tells when they can
    /// be read.
    pub(super) fn end(&mut self, heads: [u64; 2]) {
        self.ended = Some(PerStream::from(heads));
    }

    /// Whether an unfinished line of `stream` can get no end any more, or none that belongs to the process itself.
    pub(super) fn has_ended(&self, stream: Stream) -> bool {
        self.ended.is_some() || self.cursors.get(stream).as_ref().is_some_and(|cursor| !cursor.open)
    }

    /// Whether the last words have just been written; true once.
    pub(super) fn take_drained(&mut self) -> bool {
        let Some(heads) = self.ended.filter(|_| !self.drained) else {
            return false;
        };
        self.drained = Stream::ALL.into_iter().all(|stream| {
            let cursor = self.cursors.get(stream).as_ref();
            cursor.is_none_or(|cursor| cursor.offset >= *heads.get(stream))
        });
        self.drained
    }
}
