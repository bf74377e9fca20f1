//! What the test and the scribe say to each other.

use ringmaster_protocol::message::StreamState;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The pid that prefixes show.
pub const PID: i32 = 42;

/// When the process began.
pub const STARTED_NS: u64 = 1_000_000_000;

/// Settings of a stream.
pub type Settings = BTreeMap<String, String>;

/// What a circusd is told when it begins.
#[derive(Debug, Serialize, Deserialize)]
pub struct Beginning {
    /// As the core answers `OpenProcess`.
    pub states: [StreamState; 2],
    /// `stdout_stream` and `stderr_stream`, all of class `FileStream`.
    pub streams: [Option<Settings>; 2],
}

/// What the core tells.
#[derive(Debug, Serialize, Deserialize)]
pub enum Word {
    /// Notices `Output` of both streams.
    Advanced {
        /// The next offsets.
        heads: [u64; 2],
        /// The numbers of the next records.
        records: [u64; 2],
    },
    /// Notice `Exited`.
    Ended {
        /// The final offsets.
        heads: [u64; 2],
    },
}
