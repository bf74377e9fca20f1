//! The lease: at most one connection is the instance's manager, and what happens to leased processes without one.

use super::event::{ClientId, Effect, ReplyTo};
use super::{Answer, Core, Effects, Timer, invalid};
use crate::limits::MAX_GRACE_MS;
use ringmaster_protocol::limits::MAX_NAME;
use ringmaster_protocol::message::{LeaseInfo, Leased, Lifetime, ProcessId, Refusal, TakeLease};

/// Who manages the instance.
#[derive(Debug)]
pub(super) enum Lease {
    /// Nobody.
    Free,
    /// That connection.
    Held {
        /// Which.
        client: ClientId,
        /// Its pid.
        pid: i32,
        /// Its words about itself.
        holder: String,
    },
    /// The connection broke; leased processes live on until then.
    Grace {
        /// `CLOCK_BOOTTIME`.
        until: u64,
    },
}

impl Lease {
    pub fn holder(&self) -> Option<ClientId> {
        match self {
            Self::Held { client, .. } => Some(*client),
            Self::Free | Self::Grace { .. } => None,
        }
    }

    pub fn is_held_by(&self, client: ClientId) -> bool {
        self.holder() == Some(client)
    }

    /// Whether leased processes may live.
    pub fn protects(&self) -> bool {
        match self {
            Self::Free => false,
            Self::Held { .. } | Self::Grace { .. } => true,
        }
    }

    pub fn info(&self, epoch: u64) -> Option<LeaseInfo> {
        match self {
            Self::Held { pid, holder, .. } => Some(LeaseInfo { pid: *pid, holder: holder.clone(), epoch }),
            Self::Free | Self::Grace { .. } => None,
        }
    }
}

impl Core {
    /// While somebody manages the instance, nobody else changes processes and sockets.
    pub(super) fn may_change(&self, client: ClientId) -> Result<(), Refusal> {
        match self.lease.holder() {
            Some(holder) if holder != client => Err(Refusal::NoLease),
            Some(_) | None => Ok(()),
        }
    }

    pub(super) fn take_lease(&mut self, to: ReplyTo, take: TakeLease, out: &mut Effects) -> Answer {
        if take.grace_ms > MAX_GRACE_MS {
            return Err(invalid("grace_ms", take.grace_ms, &format!("at most {MAX_GRACE_MS}")));
        }
        let holder: String = take.holder.chars().take(MAX_NAME).collect();
        match &self.lease {
            Lease::Held { client, pid, holder } if *client != to.client => {
                return Err(Refusal::LeaseHeld { pid: *pid, holder: holder.clone() });
            }
            Lease::Held { .. } => {}
            Lease::Free => self.epoch = self.epoch.saturating_add(1),
            Lease::Grace { until } => {
                self.timers.remove(&(*until, Timer::Lease));
                self.epoch = self.epoch.saturating_add(1);
            }
        }
        let Some(pid) = self.clients.get(&to.client).map(|client| client.peer.pid) else {
            return Ok(None);
        };
        self.lease = Lease::Held { client: to.client, pid, holder };
        self.grace_ms = take.grace_ms;
        self.leaving = false;
        self.save_lease(true, out);
        Ok(Some(Leased { epoch: self.epoch, ext: Vec::new() }.into()))
    }

    pub(super) fn put_lease(&mut self, to: ReplyTo, out: &mut Effects) -> Answer {
        if !self.lease.is_held_by(to.client) {
            return Err(Refusal::NoLease);
        }
        self.end_lease(out);
        Ok(Some(super::done()))
    }

    /// The holder's connection broke, or a former core left a lease.
    pub(super) fn begin_grace(&mut self) {
        let until = self.now.boot_ns.saturating_add(self.grace_ms.saturating_mul(1_000_000));
        self.lease = Lease::Grace { until };
        self.timers.insert((until, Timer::Lease));
    }

    /// The grace is over and no manager came.
    pub(super) fn end_grace(&mut self, out: &mut Effects) {
        match self.lease {
            Lease::Grace { .. } => self.end_lease(out),
            Lease::Free | Lease::Held { .. } => {}
        }
    }

    fn end_lease(&mut self, out: &mut Effects) {
        self.lease = Lease::Free;
        self.save_lease(false, out);
        let leased = self.processes.values().filter(|process| process.lifetime == Lifetime::Leased);
        for id in leased.map(|process| process.id).collect::<Vec<ProcessId>>() {
            self.condemn(id, out);
        }
        let passing = self.sockets.iter().filter(|(_, socket)| !socket.info.persistent);
        for name in passing.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
            self.sockets.remove(&name);
            out.push(Effect::Unbind { name });
        }
        self.resume_all(out);
    }

    fn save_lease(&self, leased: bool, out: &mut Effects) {
        out.push(Effect::SaveLease { epoch: self.epoch, leased, grace_ms: self.grace_ms });
    }
}
