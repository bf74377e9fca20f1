//! circusd as a library: configuration, watchers, commands, streams and endpoints.
//!
//! The walk of a control command: `endpoints` (bytes to a request), `shell` (request to an event), `arbiter` (event to
//! state and effects), `commands` (what the request means), `watcher` (how it is carried out), `shell` (effects done).
//!
//! A program that wants to run watchers itself begins at [`embedded`]; the other modules are for the programs of this
//! repository and change with them.
#![forbid(unsafe_code)]

pub mod arbiter;
pub mod attendant;
pub mod cli;
pub mod client;
pub mod clock;
pub mod commands;
pub mod config;
pub mod daemon;
pub mod embedded;
pub mod endpoints;
pub mod hooks;
pub mod kernel_link;
pub mod metrics;
pub mod options;
pub mod pidfd;
pub mod plugins;
pub mod print;
pub mod process;
pub mod program;
pub mod python;
pub mod readiness;
pub mod replace;
pub mod run;
pub mod sampling;
pub mod shell;
pub mod stand_by;
pub mod statsd;
pub mod streams;
pub mod time_zone;
pub mod watcher;
