//! What a client has still to be told: one mark for each fact, never a queue of messages.
//!
//! A notice tells a present state, so a mark that is set twice is told once, with the newest state. A client that does not
//! read costs a few bytes for each process, whatever its children write.

use ringmaster_protocol::message::ProcessId;
use std::collections::{HashMap, VecDeque};

/// One fact about one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    Stdout,
    Stderr,
    StdoutEnd,
    StderrEnd,
    Exit,
}

impl Mark {
    /// In the order in which they are told.
    pub const ALL: [Self; 5] = [Self::Stdout, Self::Stderr, Self::StdoutEnd, Self::StderrEnd, Self::Exit];

    fn bit(self) -> u8 {
        match self {
            Self::Stdout => 1,
            Self::Stderr => 2,
            Self::StdoutEnd => 4,
            Self::StderrEnd => 8,
            Self::Exit => 16,
        }
    }
}

/// The marks of one client.
#[derive(Debug, Default)]
pub(super) struct Marks {
    bits: HashMap<ProcessId, u8>,
    /// Processes with marks, first marked first; may name some that have none any more.
    order: VecDeque<ProcessId>,
}

impl Marks {
    pub fn set(&mut self, process: ProcessId, mark: Mark) {
        let bits = self.bits.entry(process).or_insert_with(|| {
            self.order.push_back(process);
            0
        });
        *bits |= mark.bit();
    }

    pub fn forget(&mut self, process: ProcessId) {
        if self.bits.remove(&process).is_some() {
            self.order.retain(|known| *known != process);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.bits.is_empty()
    }

    /// The process that was marked first, with its marks in the order in which they are told.
    pub fn take(&mut self) -> Option<(ProcessId, impl Iterator<Item = Mark> + use<>)> {
        let process = self.order.pop_front()?;
        let bits = self.bits.remove(&process).unwrap_or(0);
        Some((process, Mark::ALL.into_iter().filter(move |mark| bits & mark.bit() != 0)))
    }
}
