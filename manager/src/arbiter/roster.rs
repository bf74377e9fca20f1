//! Watchers that come and go while circusd runs (`add`, `rm`, `reloadconfig`), and processes that are left to themselves.

use super::kept::{drop_kept, keep_left, keep_removal};
use super::{About, Arbiter, Effect, Exclusive, Phase};
use crate::clock::Now;
use crate::process::{Process, Wid};
use crate::watcher::{BatchId, Operation, Origin, Seed, Watcher, WatcherId, publish};
use ringmaster_protocol::message::{ProcessId, ProcessInfo};
use std::collections::BTreeSet;

/// A process that nobody watches any more and that is not to be stopped (`rm` with `nostop`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// Lower-cased name of the watcher that it belonged to.
    pub name: String,
    /// Its number, which its name at the core keeps taken.
    pub wid: Wid,
    /// Whether its output is still taken, so that its last words are waited for.
    pub drains: bool,
}

impl Arbiter {
    /// A new, stopped watcher. The name must be free.
    pub fn add(&mut self, seed: Seed) -> WatcherId {
        let id = WatcherId(self.next_watcher);
        self.next_watcher = self.next_watcher.saturating_add(1);
        let name = seed.options.name.to_lowercase();
        let mut watcher = Watcher::new(id, seed);
        watcher.processes.avoid(self.taken_numbers(&name));
        self.names.insert(name, id);
        self.watchers.insert(id, watcher);
        id
    }

    /// Numbers that earlier processes of that name still hold at the core.
    fn taken_numbers(&self, name: &str) -> BTreeSet<Wid> {
        let left = self.left.values().filter(|left| left.name == name);
        let departing = self.departing.values().filter(|watcher| watcher.options.name.to_lowercase() == name);
        left.map(|left| left.wid).chain(departing.flat_map(|watcher| watcher.processes.taken_numbers())).collect()
    }

    /// `rm`: the watcher is gone at once; its processes are stopped, or left to themselves.
    pub fn remove(
        &mut self,
        id: WatcherId,
        leave: bool,
        waiter: Option<BatchId>,
        now: Now,
        effects: &mut Vec<Effect>,
        touched: &mut BTreeSet<WatcherId>,
    ) {
        let Some(watcher) = self.take_out(id, now, effects) else {
            return;
        };
        let gone = About::Removed(watcher.options.name.to_lowercase());
        publish(effects, &watcher.topic_name(), "remove", &[("time", now.wall.into())], gone);
        effects.push(match watcher.origin {
            Origin::File(_) => keep_removal(&watcher.options.name),
            Origin::Added { .. } => drop_kept(&watcher.options.name),
        });
        if leave {
            self.leave_running(&watcher, effects);
        } else {
            self.depart(watcher, waiter, touched);
        }
    }

    /// Takes a watcher out of every list; who waits for it is told.
    pub(super) fn take_out(&mut self, id: WatcherId, now: Now, effects: &mut Vec<Effect>) -> Option<Watcher> {
        let mut watcher = self.watchers.remove(&id)?;
        self.names.remove(&watcher.options.name.to_lowercase());
        let mut waiters = watcher.abandon();
        if let Phase::Booting(boot) = &mut self.phase {
            waiters.extend(boot.forget(id));
        }
        for waiter in waiters {
            self.batches.fail(waiter, Exclusive::Removing, now, effects);
        }
        self.arm(id, now);
        Some(watcher)
    }

    /// Stops what is left of a watcher that is in no list any more.
    pub(super) fn depart(&mut self, mut watcher: Watcher, waiter: Option<BatchId>, touched: &mut BTreeSet<WatcherId>) {
        watcher.enqueue(Operation::Stop, waiter);
        touched.insert(watcher.id);
        self.departing.insert(watcher.id, watcher);
    }

    fn leave_running(&mut self, watcher: &Watcher, effects: &mut Vec<Effect>) {
        let name = watcher.options.name.to_lowercase();
        let started = |process: &Process| process.started().map(|started| (process.wid, *started));
        for (wid, started) in watcher.processes.iter().filter_map(started) {
            self.owners.remove(&started.id);
            let left = Left { name: name.clone(), wid, drains: started.captured };
            self.left.insert(started.id, left);
            effects.push(Effect::LeaveAlone(started.id));
        }
        effects.push(keep_left(self.left.keys()));
        tracing::info!("{} removed, its processes are left running", watcher.options.name);
    }

    /// The core's answer to a spawn whose watcher was removed meanwhile: left like the others.
    pub(super) fn spawned_for_nobody(&mut self, info: &ProcessInfo, effects: &mut Vec<Effect>) {
        if let Some((name, wid)) = super::boot::owner(info) {
            let name = name.to_lowercase();
            let drains = false;
            self.left.insert(info.id, Left { name, wid, drains });
            effects.push(Effect::LeaveAlone(info.id));
            effects.push(keep_left(self.left.keys()));
        }
    }

    /// A process that was left to itself has ended: it is reaped silently. `false`: it is none.
    pub(super) fn left_exited(&mut self, process: ProcessId, effects: &mut Vec<Effect>) -> bool {
        match self.left.get(&process) {
            None => false,
            Some(left) if left.drains => true,
            Some(_) => self.forget_left(process, effects),
        }
    }

    /// The last words of a process that was left to itself are written. `false`: it is none.
    pub(super) fn left_drained(&mut self, process: ProcessId, effects: &mut Vec<Effect>) -> bool {
        self.left.contains_key(&process) && self.forget_left(process, effects)
    }

    fn forget_left(&mut self, process: ProcessId, effects: &mut Vec<Effect>) -> bool {
        self.left.remove(&process);
        effects.push(Effect::Forget(process));
        effects.push(keep_left(self.left.keys()));
        true
    }

    /// A process that the core told of when circusd attached. `true`: it is one that an earlier circusd, or this one,
    /// has left to itself.
    pub(super) fn is_left(&mut self, info: &ProcessInfo, effects: &mut Vec<Effect>) -> bool {
        if self.left_before.remove(&info.id)
            && let Some((name, wid)) = super::boot::owner(info)
        {
            let name = name.to_lowercase();
            let namesake = self.names.get(&name).and_then(|id| self.watchers.get_mut(id));
            if let Some(namesake) = namesake {
                namesake.processes.avoid(BTreeSet::from([wid]));
            }
            let drains = false;
            self.left.insert(info.id, Left { name, wid, drains });
        }
        if !self.left.contains_key(&info.id) {
            return false;
        }
        if info.exit.is_some() {
            self.forget_left(info.id, effects);
        }
        true
    }

    /// Processes that were left to themselves.
    pub fn left_alone(&self) -> BTreeSet<ProcessId> {
        self.left.keys().copied().collect()
    }

    /// Processes whose ends have been announced and whose last words are not written yet.
    pub fn announced(&self) -> BTreeSet<ProcessId> {
        let watchers = self.watchers.values().chain(self.departing.values());
        watchers.flat_map(|watcher| watcher.processes.announced()).collect()
    }

    /// Forgets removed watchers that have stopped.
    pub(super) fn sweep(&mut self) {
        self.departing.retain(|_, watcher| watcher.busy() || !watcher.processes.is_over());
    }
}
