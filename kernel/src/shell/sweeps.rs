//! Trees that are to be killed and may wait for a moment, because many of them are looked for at a time.
//!
//! Whether a process has left anybody behind is told by the list of its group, and that is as long as the group is large: a list at each
//! end makes the stop of a watcher cost the square of its processes. A list that is made after many ends tells of all of them
//! (docs/adr/0009-trees.md). Only the order and the times are here; who is killed is in `sweep.rs`.

use super::groups::GroupName;
use super::kin::Kin;
use crate::core::SignalFor;
use crate::limits::{LOOK_PAUSE, LOOK_SHARE};
use ringmaster_protocol::message::ProcessId;
use std::collections::HashMap;
use std::io;

/// A tree that is to be killed.
#[derive(Debug)]
pub struct Sweep {
    /// Whose.
    pub process: ProcessId,
    /// Whom its outcome concerns.
    pub purpose: SignalFor,
    /// What is known of the process, which may be forgotten by now.
    pub kin: Kin,
    /// Whom SIGKILL has reached.
    pub reached: io::Result<Vec<i32>>,
}

/// Those of one group.
#[derive(Debug, Default)]
struct Queue {
    waiting: Vec<Sweep>,
    /// When the group was listed last (`CLOCK_BOOTTIME`).
    looked_ns: Option<u64>,
    /// Members whom the core did not make, as seen then.
    strangers: usize,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Sweeps {
    queues: HashMap<GroupName, Queue>,
}

impl Sweeps {
    /// Has a tree killed at the next look at its group.
    pub fn put(&mut self, group: GroupName, sweep: Sweep) {
        self.queues.entry(group).or_default().waiting.push(sweep);
    }

    /// Whether the tree of a process waits in its group.
    pub fn concern(&self, group: &GroupName, process: ProcessId) -> bool {
        self.queues.get(group).is_some_and(|queue| queue.waiting.iter().any(|sweep| sweep.process == process))
    }

    /// The groups that are to be looked at now: small ones for as many ends, and those that were left alone long enough. `living`
    /// tells how many of the processes that the core made live in a group.
    pub fn due(&mut self, now_ns: u64, living: impl Fn(&GroupName) -> usize) -> Vec<GroupName> {
        self.queues.retain(|_, queue| !queue.waiting.is_empty() || queue.rested_at() > now_ns);
        let due = |(name, queue): &(&GroupName, &Queue)| {
            let members = living(name).saturating_add(queue.strangers);
            let worth = members <= queue.waiting.len().saturating_mul(LOOK_SHARE);
            !queue.waiting.is_empty() && (worth || queue.rested_at() <= now_ns)
        };
        self.queues.iter().filter(due).map(|(name, _)| name.clone()).collect()
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.queues.values().all(|queue| queue.waiting.is_empty())
    }

    /// All groups with somebody who waits.
    pub fn all(&self) -> Vec<GroupName> {
        self.queues.iter().filter(|(_, queue)| !queue.waiting.is_empty()).map(|(name, _)| name.clone()).collect()
    }

    /// When a group is to be looked at without any event (`CLOCK_BOOTTIME`).
    pub fn deadline(&self) -> Option<u64> {
        let waiting = self.queues.values().filter(|queue| !queue.waiting.is_empty());
        waiting.map(Queue::rested_at).min()
    }

    /// Those of one group, which is looked at now.
    pub fn take(&mut self, group: &GroupName, now_ns: u64) -> Vec<Sweep> {
        let Some(queue) = self.queues.get_mut(group) else {
            return Vec::new();
        };
        queue.looked_ns = Some(now_ns);
        std::mem::take(&mut queue.waiting)
    }

    /// So many members of a group are not the core's own.
    pub fn saw(&mut self, group: &GroupName, strangers: usize) {
        if let Some(queue) = self.queues.get_mut(group) {
            queue.strangers = strangers;
        }
    }
}

impl Queue {
    fn rested_at(&self) -> u64 {
        let pause = u64::try_from(LOOK_PAUSE.as_nanos()).unwrap_or(0);
        self.looked_ns.map_or(0, |looked| looked.saturating_add(pause))
    }
}

#[cfg(test)]
mod tests {
    use super::super::child::Origin;
    use super::super::groups::Groups;
    use super::super::tree::Identity;
    use super::*;
    use std::path::PathBuf;

    fn sweep(process: u64) -> Sweep {
        let main = Identity { pid: 1, start: 1 };
        let kin = Kin { main, lives: false, origin: Origin::Ours, pipes: [0, 0], remembered: Vec::new() };
        Sweep { process: ProcessId(process), purpose: SignalFor::Stop, kin, reached: Ok(Vec::new()) }
    }

    fn group(name: &str) -> GroupName {
        Groups::of_folder(PathBuf::new()).name(name)
    }

    /// Members listed while all of so many processes of one group end, one in each turn, with so many strangers among them.
    fn listed(count: usize, strangers: usize, between_ns: u64) -> usize {
        let (mut sweeps, group) = (Sweeps::default(), group("web.1"));
        let (mut now, mut listed, mut swept) = (1_000_000_000, 0, 0);
        for living in (0..count).rev() {
            sweeps.put(group.clone(), sweep(0));
            now += between_ns;
            for due in sweeps.due(now, |_| living) {
                swept += sweeps.take(&due, now).len();
                sweeps.saw(&due, strangers);
                listed += living + strangers;
            }
        }
        let left = sweeps.take(&group, now).len();
        assert_eq!(swept + left, count);
        assert!(left <= strangers / LOOK_SHARE, "{left} wait for a pause");
        listed
    }

    #[test]
    fn what_an_end_costs_does_not_depend_on_the_number_of_siblings() {
        for count in [100, 1000, 10_000, 100_000] {
            // The first look finds everybody: nobody knew how many ends would follow.
            let most = count + count * LOOK_SHARE;
            assert!(listed(count, 0, 0) <= most, "{count}: {} listed", listed(count, 0, 0));
            assert!(listed(count, count, 0) <= 2 * most, "{count}: {} listed", listed(count, count, 0));
        }
    }

    #[test]
    fn an_end_by_itself_is_looked_at_in_its_own_turn() {
        let pause = u64::try_from(LOOK_PAUSE.as_nanos()).unwrap();
        assert_eq!(listed(1000, 0, pause), (0..1000).sum::<usize>());
        let mut sweeps = Sweeps::default();
        sweeps.put(group("web.1"), sweep(1));
        assert_eq!((sweeps.deadline(), sweeps.due(5, |_| usize::MAX).len()), (Some(0), 1));
    }

    #[test]
    fn nobody_waits_longer_than_the_pause() {
        let (mut sweeps, group) = (Sweeps::default(), group("web.1"));
        sweeps.put(group.clone(), sweep(1));
        assert_eq!(sweeps.take(&group, 7).len(), 1);
        assert_eq!(sweeps.deadline(), None);
        sweeps.put(group.clone(), sweep(2));
        assert!(sweeps.concern(&group, ProcessId(2)) && !sweeps.concern(&group, ProcessId(1)));
        let at = sweeps.deadline().unwrap();
        assert_eq!(at, 7 + u64::try_from(LOOK_PAUSE.as_nanos()).unwrap());
        assert!(sweeps.due(at - 1, |_| usize::MAX).is_empty());
        assert_eq!(sweeps.due(at, |_| usize::MAX), std::slice::from_ref(&group));
        assert_eq!(sweeps.take(&group, at).len(), 1);
    }

    #[test]
    fn groups_that_are_at_rest_are_forgotten() {
        let mut sweeps = Sweeps::default();
        for number in 0..100 {
            let name = group(&format!("w{number}.1"));
            sweeps.put(name.clone(), sweep(number));
            assert_eq!(sweeps.due(u64::from(u32::MAX) * number, |_| 1), std::slice::from_ref(&name));
            sweeps.take(&name, u64::from(u32::MAX) * number);
        }
        assert_eq!(sweeps.queues.len(), 1);
    }
}
