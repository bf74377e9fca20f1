//! The start of everything: processes that the core still has are taken back, then watchers start in the order of
//! their priority (spec b.6, k). What `reloadconfig` does to watchers goes the same way.

use super::outdated::Outdated;
use super::{Arbiter, Effect, Phase, Standing, Told};
use crate::clock::Now;
use crate::process::Wid;
use crate::watcher::{BatchId, Operation, Outcome, Status, Watcher, WatcherId};
use ringmaster_protocol::message::{Exit, ExitStatus, Lifetime, ProcessId, ProcessInfo, Rusage};
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

/// Watchers that start at the same time when there is no `warmup_delay`. Their spawns reach the core in order, so a
/// larger number gains nothing.
const SIDE_BY_SIDE: usize = 16;

/// How far the start is.
#[derive(Debug, Default)]
pub struct Boot {
    waiting: VecDeque<Planned>,
    starting: BTreeSet<WatcherId>,
    /// The pause between two watchers.
    next_at: Option<Duration>,
}

/// An operation that waits for its watcher's turn.
#[derive(Debug)]
struct Planned {
    id: WatcherId,
    operation: Operation,
    waiter: Option<BatchId>,
}

impl Boot {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// These operations follow, in this order.
    pub(super) fn extend(&mut self, steps: Vec<(WatcherId, Operation)>, batch: BatchId) {
        let planned = steps.into_iter().map(|(id, operation)| Planned { id, operation, waiter: Some(batch) });
        self.waiting.extend(planned);
    }

    /// The watcher is gone; gives those who wait for it.
    pub(super) fn forget(&mut self, id: WatcherId) -> Vec<BatchId> {
        let (gone, rest): (VecDeque<_>, VecDeque<_>) = self.waiting.drain(..).partition(|planned| planned.id == id);
        self.waiting = rest;
        gone.into_iter().filter_map(|planned| planned.waiter).collect()
    }

    /// Nothing follows any more; gives those who wait.
    pub(super) fn abandon(&mut self) -> Vec<BatchId> {
        self.waiting.drain(..).filter_map(|planned| planned.waiter).collect()
    }

    pub(super) fn deadline(&self) -> Option<Duration> {
        self.next_at.filter(|_| !self.waiting.is_empty())
    }
}

impl Arbiter {
    /// The core has told which processes it has: at start, or after it was away.
    pub(super) fn attached(
        &mut self,
        processes: Vec<ProcessInfo>,
        now: Now,
        effects: &mut Vec<Effect>,
        touched: &mut BTreeSet<WatcherId>,
    ) {
        self.connected = true;
        self.awaited.forget_told();
        effects.extend(self.ledger.again());
        self.chronicle.begin(now);
        touched.append(&mut self.unsettled);
        self.miss(&processes, now, effects, touched);
        let processes = self.in_order(processes);
        let mut found: BTreeSet<WatcherId> = BTreeSet::new();
        let mut outdated = Outdated::default();
        for info in processes {
            if let (Some(id), Some(exit)) = (self.owners.get(&info.id).copied(), &info.exit) {
                self.with_watcher(id, now, effects, |watcher, turn| watcher.exited(info.id, exit, turn));
                touched.insert(id);
            }
            if self.owners.contains_key(&info.id) || self.is_left(&info, effects) {
                continue;
            }
            let owner =
                owner(&info).and_then(|(name, wid)| Some((self.names.get(&name.to_lowercase()).copied()?, wid)));
            let Some((id, wid)) = owner else {
                leave(&info, effects);
                continue;
            };
            if let Some(watcher) = self.watchers.get_mut(&id)
                && let Some(then) = outdated.look(watcher, &info, &self.world.environment)
            {
                watcher.outdated.insert(info.id, then);
            }
            let told = self.chronicle.told(info.id);
            self.owners.insert(info.id, id);
            let open = self.watchers.get(&id).is_some_and(|watcher| watcher.processes.is_over());
            self.with_watcher(id, now, effects, |watcher, turn| {
                if open {
                    watcher.open_streams(turn);
                }
                watcher.adopt(wid, &info, told, turn);
            });
            if told != Told::Reap {
                found.insert(id);
            }
            touched.insert(id);
        }
        outdated.tell();
        let starts = self.start_plan(&found, now, effects, touched);
        match &mut self.phase {
            Phase::Booting(boot) => boot.waiting.extend(starts),
            Phase::Serving => {
                self.phase = Phase::Booting(Boot { waiting: starts, ..Boot::default() });
            }
            Phase::Ending(_) | Phase::Ended(_) => {}
        }
    }

    /// The processes of a listing in the order in which what is to be told of them happened.
    fn in_order(&mut self, mut processes: Vec<ProcessInfo>) -> Vec<ProcessInfo> {
        let there: BTreeSet<ProcessId> = processes.iter().map(|info| info.id).collect();
        self.chronicle.retain(|process| there.contains(&process));
        processes.sort_by_key(|info| match self.chronicle.told(info.id) {
            Told::Nothing => info.started_ns,
            Told::Spawn | Told::Reap => info.exit.map_or(0, |exit| exit.realtime_ns),
        });
        processes
    }

    /// Which watchers start now. One that was active for an earlier circusd simply goes on; one that had stopped stays so.
    fn start_plan(
        &mut self,
        found: &BTreeSet<WatcherId>,
        now: Now,
        effects: &mut Vec<Effect>,
        touched: &mut BTreeSet<WatcherId>,
    ) -> VecDeque<Planned> {
        let mut starts = VecDeque::new();
        for id in self.by_priority() {
            let Some(watcher) = self.watchers.get(&id) else {
                continue;
            };
            let name = &watcher.options.name;
            let here = found.contains(&id);
            if here {
                tracing::info!("{name} already running");
            }
            let stopped = watcher.status == Status::Stopped;
            match self.chronicle.standing(&name.to_lowercase()) {
                Some(Standing::Active) if stopped => {
                    self.with_watcher(id, now, effects, Watcher::go_on);
                    touched.insert(id);
                }
                Some(Standing::Stopped) if stopped && !here => {
                    tracing::info!("{name} was stopped and stays so");
                }
                Some(_) | None if here || (watcher.starts_by_itself() && stopped) => {
                    starts.push_back(Planned { id, operation: Operation::Start, waiter: None });
                }
                Some(_) | None => {}
            }
        }
        starts
    }

    /// The core has none of these any more: their ends were seen by nobody.
    fn miss(
        &mut self,
        processes: &[ProcessInfo],
        now: Now,
        effects: &mut Vec<Effect>,
        touched: &mut BTreeSet<WatcherId>,
    ) {
        let there: BTreeSet<ProcessId> = processes.iter().map(|info| info.id).collect();
        let missed: Vec<_> = self.owners.iter().filter(|(id, _)| !there.contains(id)).map(|(p, w)| (*p, *w)).collect();
        for (process, id) in missed {
            let exit = Exit {
                status: ExitStatus::Unknown,
                realtime_ns: u64::try_from(Duration::from_secs_f64(now.wall.max(0.0)).as_nanos()).unwrap_or(u64::MAX),
                rusage: Rusage::default(),
                heads: [0, 0],
            };
            self.with_watcher(id, now, effects, |watcher, turn| {
                watcher.exited(process, &exit, turn);
                watcher.drained(process, turn);
            });
            touched.insert(id);
        }
    }

    /// The core is away: nothing is asked of it until it is back, and what was asked is void.
    pub(super) fn detached(&mut self) {
        self.connected = false;
        self.tickets.clear();
        for watcher in self.watchers.values_mut().chain(self.departing.values_mut()) {
            watcher.processes.drop_spawning();
        }
    }

    /// Starts the watchers whose turn it is. Gives whether anything moved.
    pub(super) fn boot(&mut self, now: Now, effects: &mut Vec<Effect>, touched: &mut BTreeSet<WatcherId>) -> bool {
        let Phase::Booting(boot) = &mut self.phase else {
            return false;
        };
        let watchers = &self.watchers;
        boot.starting.retain(|id| watchers.get(id).is_some_and(crate::watcher::Watcher::busy));
        if boot.waiting.is_empty() {
            if boot.starting.is_empty() {
                self.phase = Phase::Serving;
            }
            return false;
        }
        let pause = Duration::from_secs(self.options.warmup_delay);
        let slow =
            |id: &WatcherId| watchers.get(id).is_some_and(|watcher| !watcher.options.warmup_delay.duration().is_zero());
        let room = if pause.is_zero() && !boot.starting.iter().any(slow) { SIDE_BY_SIDE } else { 1 };
        if boot.starting.len() >= room || boot.next_at.is_some_and(|at| at > now.mono) {
            return false;
        }
        let Some(Planned { id, operation, waiter }) = boot.waiting.pop_front() else {
            return false;
        };
        boot.starting.insert(id);
        boot.next_at = Some(now.mono.saturating_add(pause));
        let queued = self.watchers.get_mut(&id).is_some_and(|watcher| watcher.enqueue(operation, waiter));
        if let (false, Some(batch)) = (queued, waiter) {
            tracing::error!("too many commands are waiting for a watcher; it is passed over");
            self.batches.finish(batch, Outcome::Done, now, effects);
        }
        touched.insert(id);
        true
    }
}

/// The watcher and the number that an earlier circusd noted on a process.
pub fn owner(info: &ProcessInfo) -> Option<(String, Wid)> {
    let note: serde_json::Value = serde_json::from_slice(&info.note).ok()?;
    let name = note.get("watcher")?.as_str()?.to_owned();
    let wid = u32::try_from(note.get("wid")?.as_u64()?).ok()?;
    Some((name, Wid(wid)))
}

/// A process of no configured watcher: a persistent one is none of our business, an ended one is forgotten.
fn leave(info: &ProcessInfo, effects: &mut Vec<Effect>) {
    if info.exit.is_some() {
        effects.push(Effect::Forget(info.id));
        return;
    }
    match info.lifetime {
        Lifetime::Persistent => {
            tracing::warn!(
                "{} (pid {}) belongs to no watcher of this configuration and is left running",
                info.name,
                info.pid
            );
        }
        Lifetime::Leased => {
            tracing::warn!(
                "{} (pid {}) belongs to no watcher of this configuration and is stopped",
                info.name,
                info.pid
            );
            effects.push(Effect::Signal {
                process: info.id,
                signal: Some(crate::options::Signal::TERM),
                target: ringmaster_protocol::message::Target::Tree,
                then: super::AfterSignal::Ignore,
            });
        }
    }
}
