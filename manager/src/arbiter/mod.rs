//! The arbiter: owner of all watchers, the one place where events become state and effects.
//!
//! It does not wait, read or write anything: the shell hands in one [`Event`] at a time together with the time, and
//! carries out the [`Effect`]s in order. What commands mean is in `commands`, what a watcher does in `watcher`.

mod batch;
mod boot;
mod chronicle;
mod demand;
mod difference;
mod effect;
mod event;
mod exclusive;
mod figures;
mod hooks;
mod kept;
mod ledger;
mod listeners;
mod made;
mod outdated;
mod reload_config;
mod restart;
mod roster;
mod signals;
mod socket_table;
#[cfg(test)]
mod test_rig;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_demand;
#[cfg(test)]
mod tests_figures;
#[cfg(test)]
mod tests_hooks;
#[cfg(test)]
mod tests_next;
#[cfg(test)]
mod tests_reload_config;
#[cfg(test)]
mod tests_restart;
#[cfg(test)]
mod tests_runtime;
mod upgrade;

pub use batch::{Batches, ReplyShape};
pub use boot::owner;
pub use chronicle::{About, Asked, Chronicle, Since, Standing, Told};
pub use difference::{SocketChange, WantedSocket};
pub use effect::{AfterSignal, Asker, Effect, Ending, JournalWrite, Sample, Sampled, Timing};
pub use event::{Event, OwnSignal, SpawnFailure};
pub use exclusive::Exclusive;
pub use hooks::HookTickets;
pub use kept::{KEPT_PREFIX, LEFT, keep, left, restore};
pub use ledger::{Stored, Write};
pub use reload_config::Rebound;
pub use restart::AnswerAt;
pub use roster::Left;
pub use socket_table::{BoundSocket, SOCKET_PREFIX, SocketPlace, SocketTable};

use crate::clock::Now;
use crate::commands::{self, Incoming};
use crate::config::Config;
use crate::metrics::Histogram;
use crate::options::{CircusOptions, SocketOptions};
use crate::process::SpawnTicket;
use crate::watcher::{BatchId, Operation, Outcome, Seed, Status, Turn, Watcher, WatcherId, World};
use boot::Boot;
use demand::Awaited;
use ledger::Ledger;
use reload_config::Reconfiguring;
use restart::Restarting;
use ringmaster_protocol::circus::{self, Errno};
use ringmaster_protocol::message::{Exit, Exited, ProcessId, ProcessInfo};
use serde_json::Map;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use upgrade::Upgrading;

/// What the arbiter as a whole is doing.
#[derive(Debug)]
pub enum Phase {
    /// Watchers are being started, one after another.
    Booting(Boot),
    /// Nothing but events.
    Serving,
    /// Everything is being stopped.
    Ending(Ending),
    /// The last effect has been handed out.
    Ended(Ending),
}

/// What an arbiter begins with.
#[derive(Debug, Default)]
pub struct Roster {
    /// The watchers, sorted by name.
    pub seeds: Vec<Seed>,
    /// The `[socket:]` sections whose sockets are bound.
    pub sockets: Vec<SocketOptions>,
    /// Processes that an earlier circusd has left to themselves.
    pub left: BTreeSet<ProcessId>,
    /// What an earlier circusd has told.
    pub chronicle: Chronicle,
}

/// The owner of everything.
#[derive(Debug)]
pub struct Arbiter {
    /// `[circus]`.
    pub options: CircusOptions,
    /// Shared by all watchers.
    pub world: World,
    /// By number, which is the order of their names, and then that in which they were added.
    pub watchers: BTreeMap<WatcherId, Watcher>,
    names: BTreeMap<String, WatcherId>,
    next_watcher: u32,
    /// Removed watchers whose processes are being stopped.
    departing: BTreeMap<WatcherId, Watcher>,
    /// Processes that are left to themselves.
    left: BTreeMap<ProcessId, Left>,
    /// Those that an earlier circusd has left, until the core tells of them.
    left_before: BTreeSet<ProcessId>,
    /// The `[socket:]` sections whose sockets are bound.
    sockets: Vec<SocketOptions>,
    reconfiguring: Option<Reconfiguring>,
    restarting: Option<Restarting>,
    /// See [`Arbiter::take_file`].
    file: Option<Box<Config>>,
    upgrading: Option<Upgrading>,
    owners: BTreeMap<ProcessId, WatcherId>,
    tickets: BTreeMap<SpawnTicket, WatcherId>,
    next_ticket: u64,
    hooks: HookTickets,
    /// Ends of processes whose spawn has not been answered yet.
    early_exits: BTreeMap<ProcessId, Exit>,
    batches: Batches,
    ledger: Ledger,
    /// What was told.
    pub chronicle: Chronicle,
    listeners: Vec<Asked>,
    begun: Vec<made::Begun>,
    deadlines: BTreeSet<(Duration, WatcherId)>,
    armed: BTreeMap<WatcherId, Duration>,
    awaited: Awaited,
    /// How long commands took, by name.
    commands: BTreeMap<&'static str, Histogram>,
    phase: Phase,
    /// Whether the core is there.
    connected: bool,
    /// What is to be settled when it is back.
    unsettled: BTreeSet<WatcherId>,
}

impl Arbiter {
    /// All watchers stopped. `seeds` are sorted by name.
    pub fn new(options: CircusOptions, world: World, roster: Roster) -> Self {
        let mut arbiter = Self {
            phase: Phase::Booting(Boot::new()),
            options,
            world,
            watchers: BTreeMap::new(),
            names: BTreeMap::new(),
            next_watcher: 0,
            departing: BTreeMap::new(),
            left: BTreeMap::new(),
            left_before: roster.left,
            sockets: roster.sockets,
            reconfiguring: None,
            restarting: None,
            file: None,
            upgrading: None,
            owners: BTreeMap::new(),
            tickets: BTreeMap::new(),
            next_ticket: 0,
            hooks: HookTickets::default(),
            early_exits: BTreeMap::new(),
            batches: Batches::default(),
            ledger: Ledger::default(),
            chronicle: roster.chronicle,
            listeners: Vec::new(),
            begun: Vec::new(),
            deadlines: BTreeSet::new(),
            armed: BTreeMap::new(),
            awaited: Awaited::default(),
            commands: BTreeMap::new(),
            connected: false,
            unsettled: BTreeSet::new(),
        };
        for seed in roster.seeds {
            arbiter.add(seed);
        }
        arbiter
    }

    /// Takes one event and gives what is to be done.
    pub fn handle(&mut self, now: Now, event: Event) -> Vec<Effect> {
        let mut effects = Vec::new();
        let mut touched = BTreeSet::new();
        match event {
            Event::Attached(processes) => self.attached(processes, now, &mut effects, &mut touched),
            Event::Detached => self.detached(),
            Event::Request { client, payload, arrived } => {
                let incoming = Incoming { client, payload: &payload, arrived, identified: None };
                commands::serve(self, now, incoming, &mut effects, &mut touched);
            }
            Event::Spawned { ticket, result } => {
                let Some(id) = self.tickets.remove(&ticket) else {
                    return effects;
                };
                self.spawned(id, ticket, result, now, &mut effects);
                touched.insert(id);
            }
            Event::Signalled { then, result } => self.signalled(then, result, now, &mut effects),
            Event::Exited(Exited { process, exit }) => {
                if let Some(id) = self.owners.get(&process).copied() {
                    self.with_watcher(id, now, &mut effects, |watcher, turn| watcher.exited(process, &exit, turn));
                    touched.insert(id);
                } else if !self.left_exited(process, &mut effects) && !self.tickets.is_empty() {
                    self.early_exits.insert(process, exit);
                }
            }
            Event::Drained(process) => {
                if let Some(id) = self.owners.get(&process).copied() {
                    self.with_watcher(id, now, &mut effects, |watcher, turn| watcher.drained(process, turn));
                    touched.insert(id);
                } else if !self.left_drained(process, &mut effects) {
                    effects.push(Effect::Forget(process));
                }
            }
            Event::Sampled { asker, result, extension } => {
                self.sampled(asker, result, extension, now, &mut effects);
            }
            Event::HookDone { ticket, outcome } => {
                self.hook_done(ticket, &outcome, now, &mut effects, &mut touched);
            }
            Event::Lost { process, stream, loss } => {
                if let Some(id) = self.owners.get(&process).copied() {
                    self.with_watcher(id, now, &mut effects, |watcher, turn| {
                        watcher.lost(process, stream, &loss, turn)
                    });
                }
            }
            Event::Identified { client, payload, result, arrived } => {
                let incoming = Incoming { client, payload: &payload, arrived, identified: Some(result) };
                commands::serve(self, now, incoming, &mut effects, &mut touched);
            }
            Event::Rotated { watcher, files } => self.rotated(&watcher, files),
            Event::Watched => effects.push(Effect::Show(Box::new(self.snapshot(now)))),
            Event::ConfigRead(result) => self.config_read(result, now, &mut effects, &mut touched),
            Event::Rebound(rebound) => self.rebound(rebound, now, &mut effects, &mut touched),
            Event::Knocked(socket) => self.knocked(&socket, &mut touched),
            Event::Tried(result) => self.tried(result, now, &mut effects),
            Event::Stored { name, number, outcome } => self.ledger.stored(&name, number, &outcome, &mut effects),
            Event::Wake => {}
            Event::Signal(signal) => self.own_signal(signal, now, &mut effects, &mut touched),
        }
        self.settle(now, touched, &mut effects);
        self.proceed_upgrade(now, &mut effects);
        let (mut effects, new) = self.chronicle.enter(now, effects);
        self.tell_listeners(now, new, &mut effects);
        let mut effects = self.ledger.enter(effects);
        if !self.begun.is_empty() {
            effects.splice(0..0, self.tell_begun(now));
        }
        self.time(now, &effects);
        effects
    }

    fn spawned(
        &mut self,
        id: WatcherId,
        ticket: SpawnTicket,
        result: Result<Box<ProcessInfo>, SpawnFailure>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        match &result {
            Ok(info) if self.watchers.contains_key(&id) || self.departing.contains_key(&id) => {
                self.owners.insert(info.id, id);
            }
            Ok(info) => self.spawned_for_nobody(info, effects),
            Err(_) => {}
        }
        self.with_watcher(id, now, effects, |watcher, turn| {
            watcher.spawned(ticket, result.as_deref().map_err(|failure| failure.0.as_str()), turn);
        });
        // The end of a short life may be told before its beginning: answers and notices take two ways.
        let early = result.ok().and_then(|info| Some((info.id, self.early_exits.remove(&info.id)?)));
        if let Some((process, exit)) = early {
            self.with_watcher(id, now, effects, |watcher, turn| watcher.exited(process, &exit, turn));
        }
        if self.tickets.is_empty() {
            self.early_exits.clear();
        }
    }

    /// When [`Event::Wake`] is due.
    pub fn deadline(&self) -> Option<Duration> {
        let watchers = self.deadlines.first().map(|(at, _)| *at);
        let boot = match &self.phase {
            Phase::Booting(boot) => boot.deadline(),
            Phase::Serving | Phase::Ending(_) | Phase::Ended(_) => None,
        };
        let told = [self.chronicle.deadline(), self.listeners_deadline(), self.upgrade_deadline()];
        [watchers, boot].into_iter().chain(told).flatten().min()
    }

    /// A watcher by its name in any case.
    pub fn watcher(&self, name: &str) -> Option<&Watcher> {
        self.watchers.get(self.names.get(&name.to_lowercase())?)
    }

    /// The lower-cased names in order, with their watchers.
    pub fn by_name(&self) -> impl Iterator<Item = (&str, &Watcher)> {
        self.names.iter().filter_map(|(name, id)| Some((name.as_str(), self.watchers.get(id)?)))
    }

    /// Watchers in the order in which they start: high priority first, then by name.
    pub fn by_priority(&self) -> Vec<WatcherId> {
        let mut ids: Vec<WatcherId> = self.watchers.keys().copied().collect();
        ids.sort_by_key(|id| std::cmp::Reverse(self.watchers.get(id).map(|watcher| watcher.options.priority)));
        ids
    }

    /// A group of `size` operations whose end is an answer.
    pub fn open_batch(&mut self, asker: Asker, shape: ReplyShape, size: usize) -> BatchId {
        self.batches.open(asker, shape, size)
    }

    /// Queues the same operation on several watchers. With an asker the answer is sent when all are done; `None` means
    /// that nobody waits.
    pub fn enqueue(
        &mut self,
        ids: &[WatcherId],
        operation: &Operation,
        asker: Option<(Asker, ReplyShape)>,
        touched: &mut BTreeSet<WatcherId>,
    ) -> bool {
        let batch = asker.map(|(asker, shape)| self.batches.open(asker, shape, ids.len()));
        for id in ids {
            let Some(watcher) = self.watchers.get_mut(id) else {
                continue;
            };
            if !watcher.enqueue(operation.clone(), batch) {
                if let Some(batch) = batch {
                    self.batches.drop(batch);
                }
                return false;
            }
            touched.insert(*id);
        }
        true
    }

    /// Begins the end. Persistent watchers are left running; the others stop, all at once, low priority first.
    pub fn end(
        &mut self,
        ending: Ending,
        asker: Option<Asker>,
        now: Now,
        effects: &mut Vec<Effect>,
        touched: &mut BTreeSet<WatcherId>,
    ) {
        tracing::info!("Arbiter exiting");
        self.drop_reconfiguring(now, effects);
        self.drop_upgrade(now, effects);
        self.drop_restart(now, effects);
        if let Phase::Booting(boot) = &mut self.phase {
            for waiter in boot.abandon() {
                self.batches.fail(waiter, Exclusive::Stopping, now, effects);
            }
        }
        self.phase = Phase::Ending(ending);
        let mut order = self.by_priority();
        order.reverse();
        let mut leaving = Vec::new();
        for id in order {
            let Some(watcher) = self.watchers.get_mut(&id) else {
                continue;
            };
            for waiter in watcher.abandon() {
                self.batches.fail(waiter, Exclusive::Stopping, now, effects);
            }
            // One that is being stopped already is stopped to the end.
            if watcher.options.use_papa && watcher.status != Status::Stopping {
                if !watcher.processes.is_empty() {
                    tracing::info!("{} left running in papa", watcher.options.name);
                }
                continue;
            }
            leaving.push(id);
        }
        let shape = asker.map(|asker| (asker, ReplyShape::Plain));
        if let (true, Some((asker, _))) = (leaving.is_empty(), &shape) {
            batch::answer(asker, now, Map::new(), effects);
        }
        if !leaving.is_empty() {
            self.enqueue(&leaving, &Operation::Stop, shape, touched);
        }
    }

    /// Runs watchers until nothing moves, answers those who waited, and keeps the deadlines.
    fn settle(&mut self, now: Now, mut touched: BTreeSet<WatcherId>, effects: &mut Vec<Effect>) {
        while let Some((at, id)) = self.deadlines.first().copied().filter(|(at, _)| *at <= now.mono) {
            self.deadlines.remove(&(at, id));
            self.armed.remove(&id);
            touched.insert(id);
        }
        if !self.connected {
            self.unsettled.append(&mut touched);
            return;
        }
        loop {
            while let Some(id) = touched.pop_first() {
                self.with_watcher(id, now, effects, Watcher::settle);
                self.arm(id, now);
            }
            self.sweep();
            self.free_sockets(now, effects, &mut touched);
            if !self.boot(now, effects, &mut touched) && touched.is_empty() {
                break;
            }
        }
        self.await_connections(effects);
        if let Phase::Ending(ending) = self.phase
            && self.all_gone()
        {
            self.phase = Phase::Ended(ending);
            effects.push(Effect::Finish(ending));
        }
    }

    fn all_gone(&self) -> bool {
        let gone = |watcher: &Watcher| !watcher.busy() && watcher.processes.is_empty();
        self.hooks.is_idle()
            && self.departing.values().all(gone)
            && self.watchers.values().all(|watcher| (watcher.options.use_papa && !watcher.busy()) || gone(watcher))
    }

    fn arm(&mut self, id: WatcherId, now: Now) {
        self.note_awaited(id, now);
        let watcher = self.watchers.get(&id).or_else(|| self.departing.get(&id));
        let wanted = watcher.and_then(|watcher| watcher.deadline(now));
        if let Some(old) = self.armed.remove(&id) {
            self.deadlines.remove(&(old, id));
        }
        if let Some(at) = wanted {
            self.deadlines.insert((at, id));
            self.armed.insert(id, at);
        }
    }

    /// Lets `work` act on one watcher and takes care of what it finished.
    pub(crate) fn with_watcher<T>(
        &mut self,
        id: WatcherId,
        now: Now,
        effects: &mut Vec<Effect>,
        work: impl FnOnce(&mut Watcher, &mut Turn<'_>) -> T,
    ) -> Option<T> {
        let watcher = match self.watchers.get_mut(&id) {
            Some(watcher) => watcher,
            None => self.departing.get_mut(&id)?,
        };
        let mut finished: Vec<(BatchId, Outcome)> = Vec::new();
        let before = effects.len();
        let mut turn = Turn {
            now,
            world: &self.world,
            effects,
            next_ticket: &mut self.next_ticket,
            tickets: &mut self.tickets,
            hooks: &mut self.hooks,
            finished: &mut finished,
        };
        let result = work(watcher, &mut turn);
        for effect in effects.iter().skip(before) {
            if let Effect::Forget(process) = effect {
                self.owners.remove(process);
            }
        }
        for (batch, outcome) in finished {
            self.batches.finish(batch, outcome, now, effects);
        }
        Some(result)
    }
}

/// Tells whoever waits that it is not done, and why.
fn refuse(asker: &Asker, now: Now, reason: &str, effects: &mut Vec<Effect>) {
    if let Some(client) = asker.client {
        let payload = circus::error(&asker.id, now.wall, Errno::Command, reason, None);
        effects.push(Effect::Reply { client, payload, timing: asker.timing });
    }
}
