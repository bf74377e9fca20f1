//! What the scribe tells the loop.

use super::loss::Loss;
use super::mailbox::WatcherKey;
use super::python::ClassReport;
use ringmaster_protocol::message::ProcessId;
use ringmaster_protocol::ring::Stream;
use std::path::PathBuf;

/// What was tried when a log got into trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// open(2).
    Open,
    /// write(2).
    Write,
    /// The renames of a rotation; the file is written on meanwhile.
    Rotate,
    /// fdatasync(2); the file is written on meanwhile.
    Sync,
    /// Writing an intent into the journal.
    Note,
    /// Making a temporary file.
    MakeTemporary,
}

impl std::fmt::Display for Action {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Write => "write",
            Self::Rotate => "rotate",
            Self::Sync => "sync",
            Self::Note => "note what is to be written to",
            Self::MakeTemporary => "make a temporary file for",
        })
    }
}

/// A log that cannot be written. Told once until it is cleared; tried again after 1 s, then less often, at most every 30 s.
/// Output waits in the core meanwhile, and its overflow policy holds.
#[derive(Debug, thiserror::Error)]
#[error("watcher {watcher}: cannot {action} {} ({} stream): {error}; it will be tried again", path.display(), stream.name())]
pub struct Trouble {
    /// A watcher that writes there.
    pub watcher: WatcherKey,
    /// Which of its streams.
    pub stream: Stream,
    /// The file; `<stdout>` for circusd's own.
    pub path: PathBuf,
    /// What was tried.
    pub action: Action,
    /// Why it failed.
    pub error: std::io::Error,
}

/// What the scribe tells. Told from its thread, which waits as long as the receiver does: the receiver must never wait
/// for the scribe in turn (handing in orders never waits).
#[derive(Debug)]
pub enum ScribeReport {
    /// Everything below `offset` is in the log (or was not wanted): acknowledge it.
    Consumed {
        /// Which process.
        process: ProcessId,
        /// Which stream.
        stream: Stream,
        /// First offset not taken.
        offset: u64,
    },
    /// The last words of an ended process are written; every `Consumed` was told before.
    Drained {
        /// Which process.
        process: ProcessId,
    },
    /// Output was overwritten before it could be read; the log has a line about it.
    Gap {
        /// Which process.
        process: ProcessId,
        /// Which stream.
        stream: Stream,
        /// How much, when and why.
        loss: Loss,
    },
    /// A log cannot be written.
    Trouble(Trouble),
    /// What there is to say of a class that is written in Python.
    Class(ClassReport),
    /// A log that was in trouble is written again.
    Cleared {
        /// The file.
        path: PathBuf,
    },
    /// Logs were moved away for new ones, as their settings say.
    Rotated {
        /// A watcher that writes there.
        watcher: WatcherKey,
        /// How many.
        files: u64,
    },
    /// A log was moved or deleted; output goes on in the file that is at its path now.
    Moved {
        /// The file.
        path: PathBuf,
    },
    /// A kill of the last circusd and somebody else's change of a file fell together; a batch of this size was written once more,
    /// because nobody can tell how much of it is there.
    Repeated {
        /// The file.
        path: PathBuf,
        /// Bytes that may be there twice.
        bytes: usize,
    },
    /// Nothing can be noted; after a kill of circusd a batch may be written twice.
    NoJournal {
        /// Why.
        error: String,
    },
    /// A stream without `filename` goes here.
    Temporary {
        /// Whose.
        watcher: WatcherKey,
        /// Which.
        stream: Stream,
        /// The file.
        path: PathBuf,
    },
    /// The file of a process cannot be read; its output stays in the core, and it counts as drained.
    Unreadable {
        /// Which process.
        process: ProcessId,
        /// Why.
        error: std::io::Error,
    },
    /// Everything that was known when flush `token` (and any before) was ordered is written, but for logs in trouble.
    Flushed {
        /// As ordered.
        token: u64,
        /// Some class in Python has been given what it does not take: it hangs, is slow, or is in trouble.
        untaken: bool,
    },
    /// The thread ends; the last report.
    Stopped {
        /// By a defect, not by order.
        by_panic: bool,
    },
}
