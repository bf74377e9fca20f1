//! Which sockets are looked at for watchers that start on demand.
//!
//! The shell is told the whole set whenever it changes. A socket at which somebody has knocked is out of it until a watcher
//! waits for it again, so that a connection that nobody takes is no endless loop.

use super::{Arbiter, Effect, Phase};
use crate::clock::Now;
use crate::watcher::WatcherId;
use std::collections::{BTreeMap, BTreeSet};

/// Who waits for what.
#[derive(Debug, Default)]
pub(super) struct Awaited {
    /// Only watchers that wait.
    by_watcher: BTreeMap<WatcherId, Vec<String>>,
    /// What the shell looks at.
    told: BTreeSet<String>,
    /// Something of the former may have changed.
    stale: bool,
}

impl Awaited {
    /// What one watcher waits for now.
    pub(super) fn note(&mut self, id: WatcherId, sockets: Vec<String>) {
        let before = match sockets.is_empty() {
            true => self.by_watcher.remove(&id),
            false => self.by_watcher.insert(id, sockets.clone()),
        };
        self.stale |= before.unwrap_or_default() != sockets;
    }

    /// The shell looks at nothing any more: its sockets are others, or about to be.
    pub(super) fn forget_told(&mut self) {
        self.told.clear();
        self.stale = true;
    }
}

impl Arbiter {
    /// Somebody has connected: every watcher that waits for this socket starts.
    pub(super) fn knocked(&mut self, socket: &str, touched: &mut BTreeSet<WatcherId>) {
        self.awaited.told.remove(socket);
        self.awaited.stale = true;
        match &self.phase {
            Phase::Booting(_) | Phase::Serving => {}
            Phase::Ending(_) | Phase::Ended(_) => return,
        }
        let waiting = self.awaited.by_watcher.iter().filter(|(_, sockets)| sockets.iter().any(|name| name == socket));
        for id in waiting.map(|(id, _)| *id).collect::<Vec<_>>() {
            if let Some(watcher) = self.watchers.get_mut(&id) {
                watcher.called();
                touched.insert(id);
            }
        }
    }

    /// Tells the shell at which sockets to look, when that has changed. Not while sockets are being bound: an open copy of
    /// one would keep its address taken.
    pub(super) fn await_connections(&mut self, effects: &mut Vec<Effect>) {
        if !self.awaited.stale || self.is_binding() {
            return;
        }
        self.awaited.stale = false;
        let wanted: BTreeSet<String> = self.awaited.by_watcher.values().flatten().cloned().collect();
        if wanted != self.awaited.told {
            effects.push(Effect::AwaitConnections(wanted.clone()));
            self.awaited.told = wanted;
        }
    }

    /// What the watcher waits for now, for [`Self::await_connections`].
    pub(super) fn note_awaited(&mut self, id: WatcherId, now: Now) {
        let watcher = self.watchers.get(&id);
        let sockets = watcher.map(|watcher| watcher.awaited(now, &self.world)).unwrap_or_default();
        self.awaited.note(id, sockets);
    }
}
