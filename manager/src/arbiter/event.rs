//! What can wake the arbiter. What is not here cannot.

use super::effect::{AfterSignal, Asker};
use super::{Rebound, Stored};
use crate::config::Config;
use crate::endpoints::ClientId;
use crate::hooks::{HookAnswer, HookCall, HookError, HookTicket};
use crate::process::SpawnTicket;
use crate::streams::Loss;
use ringmaster_protocol::message::{Exited, ProcessId, ProcessInfo};
use ringmaster_protocol::ring::Stream;
use serde_json::{Map, Value};
use std::time::Duration;

/// A spawn that failed, in words for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpawnFailure(pub String);

/// A signal sent to circusd itself (spec b.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnSignal {
    /// SIGTERM
    Term,
    /// SIGINT
    Int,
    /// SIGQUIT
    Quit,
    /// SIGHUP
    Hup,
    /// SIGWINCH
    Winch,
    /// SIGUSR2
    Usr2,
}

impl OwnSignal {
    /// Whether it asks circusd to end.
    pub fn ends(self) -> bool {
        match self {
            Self::Term | Self::Int | Self::Quit => true,
            Self::Hup | Self::Winch | Self::Usr2 => false,
        }
    }

    /// As Circus logs it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Term => "SIG_TERM",
            Self::Int => "SIG_INT",
            Self::Quit => "SIG_QUIT",
            Self::Hup => "SIG_HUP",
            Self::Winch => "SIG_WINCH",
            Self::Usr2 => "SIG_USR2",
        }
    }
}

/// Everything that can happen.
#[derive(Debug)]
pub enum Event {
    /// Processes that the core has for us, at start or after it came back; watchers that are not running yet start now.
    Attached(Vec<ProcessInfo>),
    /// The connection to the core is lost; [`Event::Attached`] follows when it is back.
    Detached,
    /// A client sent one payload.
    Request {
        /// Who.
        client: ClientId,
        /// What.
        payload: Vec<u8>,
        /// When, on the monotonic clock; `None`: a hook asks, whose time is nobody's.
        arrived: Option<Duration>,
    },
    /// The core's answer to a spawn.
    Spawned {
        /// Which.
        ticket: SpawnTicket,
        /// The process, or why there is none.
        result: Result<Box<ProcessInfo>, SpawnFailure>,
    },
    /// The core's answer to a signal.
    Signalled {
        /// What is to be done with it.
        then: AfterSignal,
        /// Whom it reached, or why none.
        result: Result<Vec<i32>, String>,
    },
    /// A process has ended.
    Exited(Exited),
    /// The last words of an ended process are in its log.
    Drained(ProcessId),
    /// Output of a process is lost; its log has a line about it.
    Lost {
        /// Whose.
        process: ProcessId,
        /// Which output.
        stream: Stream,
        /// How much, when and why.
        loss: Loss,
    },
    /// Log files of a watcher, by its name, were moved away for new ones.
    Rotated {
        /// Whose.
        watcher: String,
        /// How many.
        files: u64,
    },
    /// Somebody wants to see figures; answered by `Effect::Show`.
    Watched,
    /// Facts from /proc are there.
    Sampled {
        /// Who asked.
        asker: Asker,
        /// What to answer, or the text of a refusal.
        result: Result<Map<String, Value>, String>,
        /// The hook that is to see them first.
        extension: Option<Box<HookCall>>,
    },
    /// A hook has answered, or has failed. Comes once for each `Effect::RunHook`, within its time limit.
    HookDone {
        /// Which call.
        ticket: HookTicket,
        /// What it said.
        outcome: Result<HookAnswer, HookError>,
    },
    /// Whether the users and groups of a request exist, with the request.
    Identified {
        /// Who sent it.
        client: ClientId,
        /// The request.
        payload: Vec<u8>,
        /// Or who does not exist.
        result: Result<(), String>,
        /// When the request arrived.
        arrived: Option<Duration>,
    },
    /// The configuration as it is now, or all that is wrong with it.
    ConfigRead(Result<Box<Config>, String>),
    /// What became of the sockets.
    Rebound(Rebound),
    /// Somebody has connected to the socket of that name, for which on-demand watchers wait.
    Knocked(String),
    /// The version of the program on disk, or why it is not fit to replace this one.
    Tried(Result<String, String>),
    /// What became of a value that the core was to keep.
    Stored {
        /// Its name.
        name: String,
        /// Which write of it.
        number: u64,
        /// Whether it is settled.
        outcome: Stored,
    },
    /// A deadline has come.
    Wake,
    /// circusd got a signal.
    Signal(OwnSignal),
}
