//! The processes of a watcher by number, and what is asked of them at every event: who has this id, who was asked for with this
//! ticket, who is on the way out, which number is free. Each is kept as it changes, so that an event costs the same whether there
//! are ten processes or ten thousand.

use crate::process::{Greeted, Process, ProcessState, SpawnTicket, Wid};
use ringmaster_protocol::message::ProcessId;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

/// The processes. One is changed by taking a copy with [`Self::get`] and putting it back with [`Self::put`].
#[derive(Debug)]
pub(super) struct Members {
    all: BTreeMap<Wid, Process>,
    asked: HashMap<SpawnTicket, Wid>,
    ids: HashMap<ProcessId, Wid>,
    /// Stopping or ended.
    going: BTreeSet<Wid>,
    /// `after_spawn` is being asked.
    greeting: BTreeSet<Wid>,
    /// They have a largest age.
    aging: BTreeSet<Wid>,
    /// When something of them is overdue ([`Process::due`]).
    due: BTreeSet<(Duration, Wid)>,
    /// All numbers below it are in use.
    low: Wid,
}

impl Default for Members {
    fn default() -> Self {
        Self {
            all: BTreeMap::new(),
            asked: HashMap::new(),
            ids: HashMap::new(),
            going: BTreeSet::new(),
            greeting: BTreeSet::new(),
            aging: BTreeSet::new(),
            due: BTreeSet::new(),
            low: Wid(1),
        }
    }
}

impl Members {
    pub(super) fn iter(&self) -> impl Iterator<Item = &Process> {
        self.all.values()
    }

    pub(super) fn numbers(&self) -> impl Iterator<Item = Wid> {
        self.all.keys().copied()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn get(&self, wid: Wid) -> Option<Process> {
        self.all.get(&wid).copied()
    }

    pub(super) fn by_id(&self, id: ProcessId) -> Option<Process> {
        self.get(*self.ids.get(&id)?)
    }

    pub(super) fn by_ticket(&self, ticket: SpawnTicket) -> Option<Process> {
        self.get(*self.asked.get(&ticket)?)
    }

    /// Puts a process at its number, in the place of what was there.
    pub(super) fn put(&mut self, process: Process) {
        let wid = process.wid;
        self.take(wid);
        match &process.state {
            ProcessState::Spawning(ticket) => drop(self.asked.insert(*ticket, wid)),
            ProcessState::Running(_) => {}
            ProcessState::Stopping(..) | ProcessState::Ended(..) => drop(self.going.insert(wid)),
        }
        if let Some(started) = process.started() {
            self.ids.insert(started.id, wid);
            if started.greeted == Greeted::Waiting {
                self.greeting.insert(wid);
            }
            if started.expires.is_some() {
                self.aging.insert(wid);
            }
        }
        self.due.extend(process.due().map(|at| (at, wid)));
        self.all.insert(wid, process);
    }

    pub(super) fn remove(&mut self, wid: Wid) -> Option<Process> {
        self.freed(wid);
        self.take(wid)
    }

    fn take(&mut self, wid: Wid) -> Option<Process> {
        let process = self.all.remove(&wid)?;
        match &process.state {
            ProcessState::Spawning(ticket) => drop(self.asked.remove(ticket)),
            ProcessState::Running(started) | ProcessState::Stopping(started, _) | ProcessState::Ended(started, _) => {
                self.ids.remove(&started.id);
            }
        }
        for set in [&mut self.going, &mut self.greeting, &mut self.aging] {
            set.remove(&wid);
        }
        if let Some(at) = process.due() {
            self.due.remove(&(at, wid));
        }
        Some(process)
    }

    /// Takes out those that were asked for.
    pub(super) fn drop_asked(&mut self) {
        let asked: Vec<Wid> = self.asked.values().copied().collect();
        for wid in asked {
            self.remove(wid);
        }
    }

    /// Those of whom something is overdue by then, in the order of their numbers.
    pub(super) fn overdue(&self, now: Duration) -> Vec<Process> {
        let mut wids: Vec<Wid> = self.due.range(..=(now, Wid(u32::MAX))).map(|(_, wid)| *wid).collect();
        wids.sort_unstable();
        wids.into_iter().filter_map(|wid| self.get(wid)).collect()
    }

    /// When something of one of them is overdue.
    pub(super) fn next_due(&self) -> Option<Duration> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Those that have a largest age.
    pub(super) fn aging(&self) -> impl Iterator<Item = &Process> {
        self.aging.iter().filter_map(|wid| self.all.get(wid))
    }

    /// How many are asked for, by the core or by a hook, and not answered.
    pub(super) fn coming(&self) -> usize {
        self.asked.len() + self.greeting.len()
    }

    /// How many run or are asked for.
    pub(super) fn staying(&self) -> usize {
        self.all.len().saturating_sub(self.going.len())
    }

    /// How many run.
    pub(super) fn running(&self) -> usize {
        self.staying().saturating_sub(self.asked.len())
    }

    /// The smallest number that is neither in use nor `held`.
    pub(super) fn free(&self, held: impl Fn(Wid) -> bool) -> Wid {
        let mut free = self.low;
        let mut taken = self.all.range(free..).map(|(wid, _)| *wid).peekable();
        loop {
            let is_taken = taken.next_if_eq(&free).is_some();
            if !is_taken && !held(free) {
                return free;
            }
            free = Wid(free.0.saturating_add(1));
        }
    }

    /// A number was given that was the smallest free one.
    pub(super) fn filled_to(&mut self, wid: Wid) {
        self.low = Wid(wid.0.saturating_add(1));
    }

    /// A number is free again.
    pub(super) fn freed(&mut self, wid: Wid) {
        self.low = self.low.min(wid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::{Cause, Ended, Started, Stopping};
    use ringmaster_protocol::message::ExitStatus;

    const NOW: Duration = Duration::from_secs(5);

    fn started(wid: u32, greeted: Greeted) -> Started {
        Started {
            id: ProcessId(u64::from(wid) + 100),
            pid: 1,
            at: 0.0,
            at_mono: Duration::ZERO,
            expires: wid.is_multiple_of(3).then_some(Duration::ZERO),
            captured: false,
            greeted,
            lost: 0,
        }
    }

    /// The same by looking at everybody.
    fn check(members: &Members) {
        let count = |what: fn(&Process) -> bool| members.iter().filter(|process| what(process)).count();
        let spawning = |process: &Process| matches!(process.state, ProcessState::Spawning(_));
        let waits = |process: &Process| process.started().is_some_and(|it| it.greeted == Greeted::Waiting);
        let goes = |process: &Process| matches!(process.state, ProcessState::Stopping(..) | ProcessState::Ended(..));
        assert_eq!(members.coming(), count(spawning) + count(waits));
        assert_eq!(members.going.len(), count(goes));
        assert_eq!(members.next_due(), members.iter().filter_map(Process::due).min());
        let overdue = members.iter().filter(|process| process.due().is_some_and(|at| at <= NOW)).copied();
        assert_eq!(members.overdue(NOW), overdue.collect::<Vec<_>>());
        assert_eq!(members.running(), count(|process| process.running().is_some()));
        assert_eq!(members.staying(), members.running() + count(spawning));
        assert_eq!(members.aging().count(), count(|process| process.started().is_some_and(|it| it.expires.is_some())));
        for process in members.iter() {
            match process.started() {
                Some(it) => assert_eq!(members.by_id(it.id), Some(*process)),
                None => assert!(members.asked.values().any(|wid| *wid == process.wid)),
            }
        }
        assert_eq!(members.ids.len() + members.asked.len(), members.len());
        let free = (1..).map(Wid).find(|wid| members.get(*wid).is_none() && wid.0 != 7).unwrap();
        assert_eq!(members.free(|wid| wid.0 == 7), free);
    }

    #[test]
    fn what_is_kept_is_what_a_look_at_everybody_shows() {
        let mut members = Members::default();
        let mut random: u32 = 12345;
        for step in 0..4000 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let wid = Wid(random >> 8 & 15 | 1);
            let greeted = if random & 1 == 0 { Greeted::Waiting } else { Greeted::Yes };
            let process = started(wid.0, greeted);
            let at = Duration::from_secs(u64::from(random >> 20 & 7));
            let ended = Ended { status: ExitStatus::Code(0), at: 0.0, announce_by: at };
            let state = match random >> 16 & 7 {
                0 => ProcessState::Spawning(SpawnTicket(step)),
                1 | 2 => ProcessState::Running(process),
                3 => ProcessState::Stopping(process, Stopping { kill_at: (step % 2 == 0).then_some(at) }),
                4 => ProcessState::Ended(process, ended),
                5 => {
                    let free = members.free(|wid| wid.0 == 7);
                    members.put(Process {
                        wid: free,
                        state: ProcessState::Spawning(SpawnTicket(step)),
                        cause: Cause::Wanted,
                    });
                    members.filled_to(free);
                    members.freed(Wid(7));
                    check(&members);
                    continue;
                }
                6 => {
                    members.drop_asked();
                    continue;
                }
                _ => {
                    members.remove(wid);
                    check(&members);
                    continue;
                }
            };
            members.put(Process { wid, state, cause: Cause::Replacement });
            check(&members);
        }
    }
}
