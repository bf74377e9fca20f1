//! Papa's text protocol: what people type and what Papa's own client library says (docs/manual/telnet.md).
//!
//! Pure: a [`Session`] takes bytes and asks its [`Host`], the core's shell, for facts and requests; bytes come out. It reads no
//! clock and no descriptor. What it does *not* do: look names up anywhere but in the tables that the host hands out, keep
//! state of its own about processes, or decide what a request may do; the core refuses as it does in the binary protocol.

mod accounts;
mod command;
mod error;
mod help;
mod list;
mod names;
mod options;
mod output;
mod people;
mod process;
mod reference;
mod session;
mod socket;
mod value;
mod watch;
mod words;

pub use accounts::Tables;
pub use command::continuations;
pub use error::TextError;
pub use session::{After, Session};
pub use watch::Acked;

use crate::message::{Listen, ProcessId, ProcessInfo, Refusal, Reply, Request, SocketInfo};
use crate::ring::{Record, Stream};

/// What a session may ask of the core's shell. Every call is answered at once.
pub trait Host {
    /// A request of the binary protocol, in this client's name.
    fn ask(&mut self, request: Request) -> Result<Reply, Refusal>;
    /// Forgets a process as Papa does: a living one at its end, its output at once.
    fn abandon(&mut self, process: ProcessId) -> Result<(), Refusal>;
    /// One process.
    fn process(&self, process: ProcessId) -> Option<ProcessInfo>;
    /// All processes.
    fn processes(&self) -> Vec<ProcessInfo>;
    /// All sockets: what was asked for, what came of it.
    fn sockets(&self) -> Vec<(Listen, SocketInfo)>;
    /// Whether nothing is owned, and the client may end the core.
    fn is_idle(&self) -> bool;
    /// Whether the client's acknowledgement lets output of a process go.
    fn may_release(&self, process: ProcessId) -> bool;
    /// Bytes of output still in the ring; empty when they cannot be read.
    fn output(&self, process: ProcessId, stream: Stream, from: u64, to: u64) -> Vec<u8>;
    /// A record of output.
    fn record(&self, process: ProcessId, stream: Stream, number: u64) -> Option<Record>;
    /// Users, groups and host names of this machine.
    fn tables(&self) -> Tables;
    /// This watcher has taken output and goes on watching.
    fn acked(&mut self, acked: Vec<Acked>);
    /// This watcher does not watch these any more.
    fn left(&mut self, processes: Vec<ProcessId>);
}
