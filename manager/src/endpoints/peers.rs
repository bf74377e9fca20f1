//! The connections of one endpoint: who is there, how to reach them, and how to end them.
//!
//! A connection's task lives exactly as long as its entry: the task's end removes the entry, and removing the entry
//! ends the task. The lock guards the table only and is never held across an await.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

use super::ClientId;
use super::outbox::Outbox;

/// All connections of an endpoint; `T` is what the endpoint keeps for each.
#[derive(Debug)]
pub(super) struct Peers<T> {
    table: Mutex<Table<T>>,
}

/// The entries by id.
#[derive(Debug)]
pub(super) struct Table<T> {
    next: u64,
    /// Counts what happens on all connections, so that it is known which was quiet the longest.
    turn: u64,
    entries: HashMap<ClientId, Peer<T>>,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Peer<T> {
    /// Its sending side.
    pub(super) outbox: Arc<Outbox>,
    /// What the endpoint keeps for it.
    pub(super) state: T,
    task: AbortHandle,
    /// The turn in which it connected, sent a message, or was sent one.
    last: u64,
    /// Requests that it still waits for an answer to.
    owed: u32,
}

/// What follows from something that a peer sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owes {
    /// Nothing.
    Nothing,
    /// An answer, most likely: what kind of request it is, is not looked at here.
    Answer,
}

/// Held by a connection's task; its end takes the entry out.
#[derive(Debug)]
pub(super) struct Seat<T> {
    peers: Arc<Peers<T>>,
    id: ClientId,
}

impl<T: Default> Peers<T> {
    pub(super) fn new() -> Arc<Self> {
        let table = Table { next: 1, turn: 0, entries: HashMap::new() };
        Arc::new(Self { table: Mutex::new(table) })
    }

    /// Enters a connection; `start` makes its sending side and spawns its task, which must hold the seat.
    pub(super) fn enter(self: &Arc<Self>, start: impl FnOnce(Seat<T>) -> (Arc<Outbox>, AbortHandle)) {
        // Under the lock: a task that ends at once waits for it, and so finds the entry it has to remove.
        let mut table = self.lock();
        let id = ClientId(table.next);
        table.next = table.next.wrapping_add(1);
        let (outbox, task) = start(Seat { peers: Arc::clone(self), id });
        let last = table.turn();
        table.entries.insert(id, Peer { outbox, state: T::default(), task, last, owed: 0 });
    }
}

impl<T> Peers<T> {
    /// The table, for as long as the guard lives.
    pub(super) fn lock(&self) -> MutexGuard<'_, Table<T>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Number of connections.
    pub(super) fn len(&self) -> usize {
        self.lock().entries.len()
    }

    /// Ends a connection now; what is queued for it is forgotten.
    pub(super) fn cut(&self, id: ClientId) {
        let peer = self.lock().entries.remove(&id);
        if let Some(peer) = peer {
            peer.end();
        }
    }

    /// Ends the connection that was quiet the longest, one that waits for an answer last. Gives its id.
    pub(super) fn cut_longest_idle(&self) -> Option<ClientId> {
        let table = self.lock();
        let (id, _) = table.entries.iter().min_by_key(|(_, peer)| (peer.owed > 0, peer.last))?;
        let id = *id;
        drop(table);
        self.cut(id);
        Some(id)
    }

    /// Ends all connections now.
    pub(super) fn cut_all(&self) {
        let entries = std::mem::take(&mut self.lock().entries);
        entries.into_values().for_each(|peer| peer.end());
    }

    /// Stops reading from everybody, sends what is queued, and waits until the peers have received it and closed, or
    /// until the deadline. Returns how many connections were not finished by then.
    pub(super) async fn finish_all(&self, deadline: Instant) -> usize {
        let entries = std::mem::take(&mut self.lock().entries);
        let mut lingering = JoinSet::new();
        for peer in entries.into_values() {
            peer.task.abort();
            lingering.spawn(peer.outbox.finish());
        }
        let all = async { while lingering.join_next().await.is_some() {} };
        // An elapsed deadline shows in what is left; dropping the set ends that.
        let _finished_or_not = tokio::time::timeout_at(deadline, all).await;
        lingering.len()
    }
}

impl<T> Table<T> {
    /// One connection.
    pub(super) fn get(&self, id: ClientId) -> Option<&Peer<T>> {
        self.entries.get(&id)
    }

    fn turn(&mut self) -> u64 {
        self.turn = self.turn.wrapping_add(1);
        self.turn
    }

    /// A connection has sent something; with `owes` it waits for an answer.
    pub(super) fn heard(&mut self, id: ClientId, owes: Owes) {
        let turn = self.turn();
        if let Some(peer) = self.entries.get_mut(&id) {
            peer.last = turn;
            match owes {
                Owes::Nothing => {}
                Owes::Answer => peer.owed = peer.owed.saturating_add(1),
            }
        }
    }

    /// A connection is sent an answer.
    pub(super) fn answered(&mut self, id: ClientId) -> Option<&Peer<T>> {
        let turn = self.turn();
        let peer = self.entries.get_mut(&id)?;
        peer.last = turn;
        peer.owed = peer.owed.saturating_sub(1);
        Some(peer)
    }

    /// All connections that are to be sent something, in no order.
    pub(super) fn told(&mut self, whom: impl Fn(&T) -> bool) -> impl Iterator<Item = &Peer<T>> {
        let turn = self.turn();
        let chosen = self.entries.values_mut().filter(move |peer| whom(&peer.state));
        chosen.map(move |peer| {
            peer.last = turn;
            &*peer
        })
    }

    /// What the endpoint keeps for one connection.
    pub(super) fn state_mut(&mut self, id: ClientId) -> Option<&mut T> {
        self.entries.get_mut(&id).map(|peer| &mut peer.state)
    }

    /// All connections, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Peer<T>> {
        self.entries.values()
    }
}

impl<T> Peer<T> {
    fn end(self) {
        self.outbox.close();
        self.task.abort();
    }
}

impl<T> Seat<T> {
    /// The connection's id.
    pub(super) fn id(&self) -> ClientId {
        self.id
    }
}

impl<T> Drop for Seat<T> {
    fn drop(&mut self) {
        self.peers.cut(self.id);
    }
}
