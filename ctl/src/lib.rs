//! `circusctl` as a library: from an argument list, or lines of a shell, to requests, replies, texts and an exit status.
//!
//! The walk is `cli` (what was typed) → `commands` (the request) → `daemon` and `client` (the wire) → `commands` (the
//! text) → `run` (streams and exit status). `shell` takes the same walk for each line; `listen`, `kernel` and `attach` ask
//! other endpoints. What it is not: it keeps no state but the shell's history, retries nothing, starts no daemon, and knows a
//! command only through its row in [`commands::COMMANDS`].
#![forbid(unsafe_code)]

mod attach;
pub mod cli;
pub mod client;
pub mod commands;
pub mod completion;
pub mod core_link;
pub mod daemon;
pub mod drill;
pub mod endpoint;
pub mod failure;
mod interrupt;
pub mod kernel;
pub mod listen;
mod parser;
mod print;
pub mod python;
pub mod replay;
pub mod reply;
pub mod request;
mod ring;
pub mod run;
pub mod session;
pub mod shell;
pub mod tail;
pub mod top;
pub mod tunnel;
pub mod upgrade;
