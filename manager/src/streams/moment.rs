//! One instant on two clocks. Told by whoever drives the worker, so that tests can move it.

use jiff::Timestamp;
use std::time::Instant;

/// Now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment {
    /// For durations.
    pub(super) steady: Instant,
    /// For dates; may jump.
    pub(super) wall: Timestamp,
}

impl Moment {
    /// Reads both clocks of the system.
    pub(super) fn now() -> Self {
        Self { steady: Instant::now(), wall: Timestamp::now() }
    }
}
