//! `on_demand`: a watcher that starts when somebody connects to one of its sockets (spec f.11).
//!
//! `start` makes it wait, a connection starts its processes, the end of the last process makes it wait again, `stop` ends
//! the waiting. Who looks at the sockets is the shell; here is only when to look, and at which.

use super::{Operation, Status, Turn, Watcher, World};
use crate::clock::Now;
use std::time::Duration;

/// Whether a connection is waited for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Demand {
    /// No: it is no such watcher, or `stop` was the last word.
    #[default]
    Off,
    /// From that time on.
    From(Duration),
    /// A connection has come; the next start is a real one.
    Called,
}

impl Watcher {
    /// The sockets, by their names at the core, at which a connection starts this watcher now. A socket of which each process
    /// has its own (`so_reuseport`) has no queue that could be looked at.
    pub fn awaited(&self, now: Now, world: &World) -> Vec<String> {
        let waits = match self.demand {
            Demand::From(time) => time <= now.mono,
            Demand::Off | Demand::Called => false,
        };
        if !waits || !self.options.on_demand || self.status != Status::Stopped || self.busy() {
            return Vec::new();
        }
        let shared = || world.sockets.iter().filter(|socket| !socket.reuse_port);
        let own = shared().filter(|socket| self.options.holds(&socket.name));
        own.map(|socket| socket.kernel_name()).collect()
    }

    /// Somebody has connected.
    pub fn called(&mut self) {
        if matches!(self.demand, Demand::From(_)) {
            self.demand = Demand::Called;
            self.enqueue(Operation::Start, None);
        }
    }

    /// A start: whether it only begins to wait.
    pub(super) fn waits_for_demand(&mut self, turn: &Turn<'_>) -> bool {
        let stopped = self.status == Status::Stopped && self.processes.is_empty();
        let waits = self.options.on_demand && stopped && self.demand != Demand::Called;
        self.demand = if waits { Demand::From(turn.now.mono) } else { Demand::Off };
        waits
    }

    /// The last process has ended: waits for the next connection, after a pause when processes keep failing. Circus
    /// publishes nothing then.
    pub(super) fn wait_again(&mut self, turn: &mut Turn<'_>) {
        let from = self.processes.pause(turn.now.mono).unwrap_or(turn.now.mono);
        self.close_quietly(turn);
        self.demand = Demand::From(from);
    }

    /// A start on demand has failed; the connection that asked for it may still be in the queue.
    pub(super) fn wait_after_failure(&mut self, turn: &Turn<'_>) {
        if self.options.on_demand {
            self.demand = Demand::From(turn.now.mono.saturating_add(turn.world.check_delay));
        }
    }

    /// When waiting begins, if later.
    pub(super) fn demand_deadline(&self) -> Option<Duration> {
        match self.demand {
            Demand::From(time) if self.options.on_demand && self.status == Status::Stopped => Some(time),
            Demand::From(_) | Demand::Off | Demand::Called => None,
        }
    }
}
