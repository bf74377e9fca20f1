//! What the accept loop, the connections and the handle of one endpoint have in common.

use std::sync::Arc;

use tokio::runtime::Handle;

use super::ClientId;
use super::limits::{self, BacklogLimits, MessageLimits};
use super::link::{Ended, Link};
use super::outbox::Outbox;
use super::peers::Peers;
use super::pool::Pool;
use super::statistics::{Counters, Statistics};
use super::stream::{ReadHalf, WriteHalf};
use super::zmtp::{Connection, Role};

/// How an endpoint differs from another one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Profile {
    /// The socket type it plays.
    pub(super) role: Role,
    /// What a peer may send.
    pub(super) messages: MessageLimits,
    /// What a peer may leave unread.
    pub(super) backlog: BacklogLimits,
}

/// The common part of an endpoint; `T` is what it keeps for each connection.
#[derive(Debug)]
pub(super) struct Shared<T> {
    pub(super) peers: Arc<Peers<T>>,
    pub(super) counters: Counters,
    pub(super) runtime: Handle,
    profile: Profile,
    partial: Arc<Pool>,
    backlog: Arc<Pool>,
}

impl<T: Default> Shared<T> {
    /// Nobody is connected yet.
    pub(super) fn new(profile: Profile, runtime: Handle) -> Arc<Self> {
        Arc::new(Self {
            peers: Peers::new(),
            counters: Counters::default(),
            runtime,
            profile,
            partial: Pool::new(limits::PARTIAL_POOL, limits::PARTIAL_ALLOWANCE),
            backlog: Pool::new(limits::BACKLOG_POOL, limits::BACKLOG_ALLOWANCE),
        })
    }
}

impl<T> Shared<T> {
    /// Puts the parts of a new connection together.
    pub(super) fn wire(self: &Arc<Self>, id: ClientId, read: ReadHalf, write: WriteHalf) -> (Link<T>, Arc<Outbox>) {
        self.counters.accepted.count();
        let outbox = Outbox::new(write, self.profile.backlog, self.backlog.charge(id), self.runtime.clone());
        let connection = Connection::new(self.profile.role, self.profile.messages);
        let link = Link::new(read, connection, Arc::clone(&outbox), self.partial.charge(id), Arc::clone(self));
        (link, outbox)
    }

    /// Ends the connections that hold the most while either pool is overdrawn.
    pub(super) fn relieve(&self) {
        let pools = [(&self.partial, "its unfinished message"), (&self.backlog, "what it does not read")];
        for (pool, what) in pools {
            while let Some(id) = pool.evict() {
                self.counters.cut.count();
                tracing::warn!("{id} closed: {what} holds the most of the memory that all clients share");
                self.peers.cut(id);
            }
        }
    }

    /// Counts and logs the end of a connection that was past its handshake.
    pub(super) fn report(&self, id: ClientId, ended: &Ended) {
        match ended {
            Ended::Peer | Ended::Broken(_) | Ended::Closing => tracing::debug!("{id} ended: {ended}"),
            Ended::Violation(_) | Ended::Deadline | Ended::Subscriptions(_) => {
                self.counters.violations.count();
                tracing::warn!("{id} closed: {ended}");
            }
            Ended::Unread => {
                self.counters.cut.count();
                tracing::warn!("{id} closed: {ended}");
            }
        }
    }

    /// A snapshot of the counters.
    pub(super) fn statistics(&self) -> Statistics {
        self.counters.snapshot(self.peers.len())
    }
}
