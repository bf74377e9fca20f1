//! SIGKILL to what processes have left behind, for all that wait in a group at once (`sweeps.rs` says when).

use super::groups::GroupName;
use super::kin::{Kin, Writers};
use super::signals::KILL_ROUNDS;
use super::sweeps::Sweep;
use super::tree::{self, Identity, Kinship, Snapshot};
use super::{Shell, clock, socket};
use crate::core::{Input, SignalFor};
use ringmaster_protocol::message::{ProcessId, Target};
use std::collections::HashSet;
use std::mem;

use super::child::Origin;

impl Shell {
    /// Takes a SIGKILL to a tree over that may be looked for together with others: nobody is known to belong to the process but
    /// itself, or it has ended. The outcome comes later, as [`Input::Signalled`]. Other signals find its tree swept.
    pub(super) fn put_off(&mut self, process: ProcessId, signal: i32, target: Target, purpose: SignalFor) -> bool {
        let Some((group, lives)) = self.group_of(process) else {
            return false;
        };
        if signal != libc::SIGKILL || target != Target::Tree {
            if self.sweeps.concern(&group, process) {
                self.sweep(&group);
            }
            return false;
        }
        // A group of its own is killed at once; who belongs to one that lives is looked up before it is gone.
        if lives && (self.groups.living(&group) <= 1 || !self.is_alone(process)) {
            return false;
        }
        let Some(kin) = self.children.get(&process).map(|child| child.kin()) else {
            return false;
        };
        let reached = self.signal_main(process, signal);
        self.sweeps.put(group, Sweep { process, purpose, kin, reached });
        true
    }

    fn group_of(&self, process: ProcessId) -> Option<(GroupName, bool)> {
        let child = self.children.get(&process)?;
        Some((child.group.clone()?, child.pidfd.is_some()))
    }

    /// Sweeps the groups that are worth a look.
    pub(super) fn sweep_due(&mut self) {
        for group in self.sweeps.due(clock::now().boot_ns, |group| self.groups.living(group)) {
            self.sweep(&group);
        }
    }

    /// Sweeps all groups: nobody would do it later.
    pub(super) fn sweep_all(&mut self) {
        for group in self.sweeps.all() {
            self.sweep(&group);
        }
    }

    /// A process is about to be made: nobody who was to be killed before stands in its way.
    pub(super) fn sweep_before(&mut self, name: &str) {
        if !self.sweeps.is_empty() {
            let group = self.groups.name(name);
            self.sweep(&group);
        }
    }

    /// Kills what is left of all trees that wait in a group, and tells.
    fn sweep(&mut self, group: &GroupName) {
        let mut sweeps = self.sweeps.take(group, clock::now().boot_ns);
        if sweeps.is_empty() {
            return;
        }
        if !self.kill_group(group, &mut sweeps) {
            self.kill_kin(group, &mut sweeps);
        }
        for Sweep { process, purpose, kin, reached } in sweeps {
            if let Some(child) = self.children.get_mut(&process) {
                child.remembered = kin.remembered;
            }
            let outcome = reached.map_err(|error| socket::failed(format!("signal 9 to process {}", process.0), &error));
            self.drive(Input::Signalled { process, purpose, outcome });
        }
    }

    /// All members at once, when no process of ours lives among them.
    fn kill_group(&mut self, group: &GroupName, sweeps: &mut [Sweep]) -> bool {
        if self.groups.living(group) > 0 {
            return false;
        }
        let Some(pids) = self.groups.pids(group) else {
            return false;
        };
        if !pids.is_empty() && !self.groups.kill(group) {
            return false;
        }
        self.reached(sweeps, 0, Ok(pids));
        true
    }

    /// Looks for the members of each tree and kills them, until nobody new is found.
    fn kill_kin(&mut self, group: &GroupName, sweeps: &mut [Sweep]) {
        let mut seen: HashSet<Identity> = HashSet::new();
        let mut frozen = false;
        for round in 0..KILL_ROUNDS {
            let mut found = self.kin_in(group, sweeps);
            found.iter_mut().for_each(|members| members.retain(|member| seen.insert(*member)));
            if found.iter().all(Vec::is_empty) {
                break;
            }
            if round > 0 && !mem::replace(&mut frozen, true) {
                self.groups.freeze(group, true);
            }
            for (number, members) in found.iter().enumerate().filter(|(_, members)| !members.is_empty()) {
                self.reached(sweeps, number, tree::signal_all(members, libc::SIGKILL));
            }
        }
        if frozen {
            self.groups.freeze(group, false);
        }
    }

    fn reached(&self, sweeps: &mut [Sweep], number: usize, outcome: std::io::Result<Vec<i32>>) {
        if let Some(sweep) = sweeps.get_mut(number) {
            match (&mut sweep.reached, outcome) {
                (Ok(reached), Ok(more)) => reached.extend(more),
                (reached @ Ok(_), Err(error)) => *reached = Err(error),
                (Err(_), _) => {}
            }
        }
    }

    /// Who belongs to each of them now.
    fn kin_in(&mut self, group: &GroupName, sweeps: &mut [Sweep]) -> Vec<Vec<Identity>> {
        let mut nobody = vec![Vec::new(); sweeps.len()];
        let Some(pids) = self.groups.pids(group) else {
            // It was removed, which is done to empty ones only; otherwise it cannot be looked at.
            return if self.groups.is_there(group) { self.look_for(sweeps) } else { nobody };
        };
        let unknown: Vec<i32> = pids.iter().copied().filter(|pid| !self.by_pid.contains_key(pid)).collect();
        self.sweeps.saw(group, unknown.len());
        if !unknown.into_iter().any(tree::is_alive) {
            return nobody;
        }
        if self.groups.living(group) > 0 {
            return self.look_for(sweeps);
        }
        if let Some(first) = nobody.first_mut() {
            *first = self.groups.members(group, pids);
        }
        nobody
    }

    /// Finds them by one snapshot that shows all that may belong to any of them (see [`Self::look`]).
    fn look_for(&self, sweeps: &mut [Sweep]) -> Vec<Vec<Identity>> {
        let former = sweeps.iter().any(|sweep| sweep.kin.origin == Origin::Former);
        let snapshot = match self.kinship {
            Kinship::Lists if !former => {
                let known = sweeps.iter().flat_map(|sweep| sweep.kin.roots());
                Snapshot::below(known.chain(self.unknown_children()).collect())
            }
            Kinship::Lists | Kinship::Parents => Snapshot::take(),
        };
        let mains = |pid| self.by_pid.contains_key(&pid);
        let kin = sweeps.iter().map(|sweep| &sweep.kin);
        let orphans = Writers::find(&snapshot, self.keeper_pid, kin, mains);
        let tree = |kin: &mut Kin| kin.tree(&snapshot, &orphans, mains);
        sweeps.iter_mut().map(|sweep| tree(&mut sweep.kin)).collect()
    }
}
