//! The two clocks, read once for each event by the shell and handed in.

use std::time::Duration;

/// One moment on both clocks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Now {
    /// Monotonic, since circusd started: for durations and deadlines.
    pub mono: Duration,
    /// Seconds since the Unix epoch: for people, events and replies.
    pub wall: f64,
}
