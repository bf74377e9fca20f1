//! One process of a watcher, as the manager sees it. What the system does with it is the core's business.

mod heritage;
mod launch;
mod making;

pub use heritage::{Heritage, NOFILE};
pub use launch::{Inherited, Launch, LaunchError, Place, process_name};
pub use making::Making;

use ringmaster_protocol::message::{ExitStatus, ProcessId};
use std::time::Duration;

/// The number of a process within its watcher, from 1 (spec f.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wid(pub u32);

/// Pairs a spawn with its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpawnTicket(pub u64);

/// A process that the core has started.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Started {
    /// Its name at the core.
    pub id: ProcessId,
    /// Its pid.
    pub pid: i32,
    /// When, in seconds since the Unix epoch.
    pub at: f64,
    /// When, on the monotonic clock; an adopted process counts from its adoption.
    pub at_mono: Duration,
    /// When `max_age` is over.
    pub expires: Option<Duration>,
    /// Whether its last words are waited for: its output is in a ring, and not all of it is known to be written.
    pub captured: bool,
    /// What `after_spawn` says of it.
    pub greeted: Greeted,
    /// Bytes of its output that are in no log, since this circusd has it.
    pub lost: u64,
}

/// Whether a process may stay, as far as the hook `after_spawn` is concerned. Until that is known it is not announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Greeted {
    /// The hook is being asked.
    Waiting,
    /// Yes, or nobody was asked.
    Yes,
    /// No: it goes, and nobody hears of it.
    No,
}

/// How an ordered end proceeds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stopping {
    /// When SIGKILL is due; `None` after it has been sent.
    pub kill_at: Option<Duration>,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ended {
    /// As the core saw it.
    pub status: ExitStatus,
    /// When, in seconds since the Unix epoch.
    pub at: f64,
    /// Until when its last words are waited for before the end is announced.
    pub announce_by: Duration,
}

impl Ended {
    /// Circus's `exit_code`: the status, or the negative signal (spec d). A status that nobody saw is told as null.
    pub fn exit_code(&self) -> Option<i32> {
        match self.status {
            ExitStatus::Code(code) => Some(code),
            ExitStatus::Signal(signal) => Some(-signal),
            ExitStatus::Unknown => None,
        }
    }
}

/// What state a process is in, with what is only known in that state.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ProcessState {
    /// The core has been asked for it.
    Spawning(SpawnTicket),
    /// It runs.
    Running(Started),
    /// It has been told to end.
    Stopping(Started, Stopping),
    /// It has ended; its last words are being written.
    Ended(Started, Ended),
}

/// Why there is a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// A command, the start of circusd, or an earlier circusd.
    Wanted,
    /// Another one has ended, and nobody had ordered that.
    Replacement,
}

/// A process and its number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Process {
    /// Its number.
    pub wid: Wid,
    /// Its state.
    pub state: ProcessState,
    /// Why it is there.
    pub cause: Cause,
}

impl Process {
    /// What the core started, unless it has not yet.
    pub fn started(&self) -> Option<&Started> {
        match &self.state {
            ProcessState::Spawning(_) => None,
            ProcessState::Running(started) | ProcessState::Stopping(started, _) | ProcessState::Ended(started, _) => {
                Some(started)
            }
        }
    }

    /// The same, to be changed.
    pub fn started_mut(&mut self) -> Option<&mut Started> {
        match &mut self.state {
            ProcessState::Spawning(_) => None,
            ProcessState::Running(started) | ProcessState::Stopping(started, _) | ProcessState::Ended(started, _) => {
                Some(started)
            }
        }
    }

    /// The pid while it lives.
    pub fn live_pid(&self) -> Option<i32> {
        match &self.state {
            ProcessState::Running(started) | ProcessState::Stopping(started, _) => Some(started.pid),
            ProcessState::Spawning(_) | ProcessState::Ended(..) => None,
        }
    }

    /// When something of it is overdue without an event: the SIGKILL of one that does not end, or the announcement of one whose
    /// last words do not come.
    pub fn due(&self) -> Option<Duration> {
        match &self.state {
            ProcessState::Stopping(_, stopping) => stopping.kill_at,
            ProcessState::Ended(started, ended) if started.greeted != Greeted::Waiting => Some(ended.announce_by),
            ProcessState::Spawning(_) | ProcessState::Running(_) | ProcessState::Ended(..) => None,
        }
    }

    /// Whether it runs and nobody has told it to end.
    pub fn running(&self) -> Option<&Started> {
        match &self.state {
            ProcessState::Running(started) => Some(started),
            ProcessState::Spawning(_) | ProcessState::Stopping(..) | ProcessState::Ended(..) => None,
        }
    }
}
