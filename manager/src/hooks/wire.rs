//! What circusd and its Python worker say to each other: one JSON object a line on a Unix socket.
//!
//! Both ends come from the same binary, so nothing here has to stay as it is. One enum for each direction.

use super::HookTicket;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The longest line that the worker may send: the statistics of some ten thousand processes.
pub const MAX_LINE: usize = 16 << 20;

/// To the worker.
#[derive(Debug, Serialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum ToWorker<'a> {
    /// Run a hook.
    Hook {
        ticket: u64,
        /// `before_start`, …
        name: &'a str,
        target: &'a str,
        generation: u64,
        watcher: &'a str,
        facts: &'a Map<String, Value>,
        snapshot: &'a Value,
        /// Folders in front of `sys.path`, separated by colons.
        path: Option<&'a str>,
    },
    /// The answer to a command that a hook has asked for.
    Reply { ask: u64, reply: Value },
}

/// From the worker.
#[derive(Debug, Deserialize)]
#[serde(tag = "said", rename_all = "snake_case")]
pub enum FromWorker {
    /// It begins with a hook: its time runs from here.
    Began { ticket: u64 },
    /// A hook has returned.
    Done { ticket: u64, truth: bool, stats: Option<Map<String, Value>> },
    /// A hook has raised.
    Raised { ticket: u64, message: String, traceback: String },
    /// A hook cannot be found.
    NoImport { ticket: u64, message: String, path: Vec<String>, traceback: String },
    /// A hook wants a command carried out.
    Ask { ask: u64, call: Value },
}

impl FromWorker {
    /// The call that this ends.
    pub fn ticket(&self) -> Option<HookTicket> {
        match self {
            Self::Done { ticket, .. } | Self::Raised { ticket, .. } | Self::NoImport { ticket, .. } => {
                Some(HookTicket(*ticket))
            }
            Self::Ask { .. } | Self::Began { .. } => None,
        }
    }
}
