//! circusd as a library: configuration, watchers, commands, streams and endpoints.
#![forbid(unsafe_code)]

pub mod kernel_link;
pub mod options;
pub mod streams;
