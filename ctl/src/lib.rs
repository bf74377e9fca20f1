//! `circusctl` as a library: from an argument list to one request, one reply, a text and an exit status.
//!
//! The walk is `cli` (what was typed) → `commands` (the request) → `client` (the wire) → `commands` (the
//! text) → `run` (streams and exit status). What it is not: it keeps no state, retries nothing, starts no
//! daemon, and knows a command only through its row in [`commands::COMMANDS`].
#![forbid(unsafe_code)]

pub mod cli;
pub mod client;
pub mod commands;
pub mod endpoint;
pub mod python;
pub mod reply;
pub mod request;
pub mod run;
