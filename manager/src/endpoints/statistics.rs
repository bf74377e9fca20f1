//! Plain counters of an endpoint: what came, what went wrong and whose fault it was.
//!
//! They only grow, except `connected`. Nobody is told when they change.

use std::sync::atomic::{AtomicU64, Ordering};

/// A snapshot of an endpoint's counters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Connections accepted so far.
    pub accepted: u64,
    /// Connections open now, in the handshake or past it.
    pub connected: u64,
    /// Connections closed before the handshake was over: strangers, wrong socket types, the deadline.
    pub refused: u64,
    /// Connections closed for breaking the protocol or a limit after the handshake.
    pub violations: u64,
    /// Connections closed because their client does not read.
    pub cut: u64,
    /// Messages received.
    pub received: u64,
    /// Messages received and dropped because they do not have exactly one frame.
    pub misshapen: u64,
    /// Messages accepted for sending, once for each receiver.
    pub sent: u64,
    /// Events dropped because a subscriber does not keep up, once for each subscriber.
    pub dropped: u64,
    /// Times that accept failed.
    pub accept_errors: u64,
}

/// The counters behind [`Statistics`].
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) accepted: Counter,
    pub(super) refused: Counter,
    pub(super) violations: Counter,
    pub(super) cut: Counter,
    pub(super) received: Counter,
    pub(super) misshapen: Counter,
    pub(super) sent: Counter,
    pub(super) dropped: Counter,
    pub(super) accept_errors: Counter,
}

/// One counter.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    /// Counts one more.
    pub(super) fn count(&self) {
        self.add(1);
    }

    /// Counts so many more.
    pub(super) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counters {
    /// A snapshot, with the number of connections that is kept elsewhere.
    pub(super) fn snapshot(&self, connected: usize) -> Statistics {
        Statistics {
            accepted: self.accepted.get(),
            connected: u64::try_from(connected).unwrap_or(u64::MAX),
            refused: self.refused.get(),
            violations: self.violations.get(),
            cut: self.cut.get(),
            received: self.received.get(),
            misshapen: self.misshapen.get(),
            sent: self.sent.get(),
            dropped: self.dropped.get(),
            accept_errors: self.accept_errors.get(),
        }
    }
}
