//! Stream classes that are written in Python: each stream has a worker of its own, a `python3` with one object of the class
//! (spec h). A class that hangs, raises or ends its interpreter therefore concerns one stream of one watcher.
//!
//! ```text
//! scribe ─ frames of one batch ─→ Desk ─→ Keeper, a thread ─ socket ─→ worker.py ─→ the object is called
//! scribe ←── News: taken ─ mailbox ────────── Keeper ←─ an answer for each call ─┘
//! ```
//! The scribe hands over one batch at a time, 8 KiB or one longer line, and never waits for it; what comes meanwhile stays in the core,
//! under the overflow policy of its process. A batch is acknowledged when every call of it has returned. A worker that dies gets a successor,
//! which is given the batch from the first call on that has not returned: at least once, in order, nothing left out.
//!
//! Not here: what a batch is (`compose`), and what is done when one is taken (`worker/classes`).

mod desk;
mod error;
mod keeper;
mod running;
#[cfg(test)]
mod tests;
mod wire;

pub use error::{ClassReport, ClassWord, PythonError};

pub(super) use desk::{Closing, PythonStream};
pub(super) use wire::{LONGEST_CALL, call};

use super::mailbox::WatcherKey;
use crate::hooks::DEFAULT_TIMEOUT;
use ringmaster_protocol::ring::Stream;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Words that may wait for a scribe that is held up by a disk; the latest count. A trouble is told once, and what a class raises at
/// most once a minute.
const MOST_WORDS: usize = 16;

/// What the classes of a watcher have of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct PythonPlace {
    /// Folders in front of `sys.path`, separated by colons: `PYTHONPATH` of the watcher, with what `virtualenv` and `copy_path` have
    /// put into it.
    pub path: Option<String>,
    /// How long one call may take, and the making of the object: `hooks_timeout`. `None`: nobody says.
    pub limit: Option<Duration>,
}

/// Which object a worker has. Another one is another worker.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PythonSpec {
    pub(super) watcher: WatcherKey,
    pub(super) stream: Stream,
    /// The dotted name.
    pub(super) class: String,
    /// The keyword arguments.
    pub(super) settings: BTreeMap<String, String>,
    pub(super) place: PythonPlace,
}

impl PythonSpec {
    /// How long one call may take.
    fn limit(&self) -> Duration {
        self.place.limit.unwrap_or(DEFAULT_TIMEOUT)
    }
}

/// What a keeper has to tell, folded until the scribe looks.
#[derive(Debug)]
pub(super) struct News {
    pub(super) spec: Arc<PythonSpec>,
    /// The batch that was handed over is dealt with.
    pub(super) taken: bool,
    /// Whether what is under way takes long, when that has changed.
    pub(super) pace: Option<Pace>,
    /// What people are to know.
    pub(super) words: Vec<ClassWord>,
}

/// Whether a call, or the start of a worker, takes so long that nobody waits for it at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// It does.
    Slow,
    /// It has returned.
    Going,
}

impl News {
    /// Takes in what came later.
    pub(super) fn fold(&mut self, later: Self) {
        self.taken |= later.taken;
        self.pace = later.pace.or(self.pace);
        self.words.extend(later.words);
        let too_many = self.words.len().saturating_sub(MOST_WORDS);
        self.words.drain(..too_many);
    }
}
