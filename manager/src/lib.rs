//! circusd as a library: configuration, watchers, commands, streams and endpoints.
#![forbid(unsafe_code)]

pub mod config;
pub mod endpoints;
pub mod options;
pub mod sampling;
