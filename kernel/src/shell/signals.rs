//! Signals to processes and what belongs to them.

use super::child::{Child, Origin};
use super::groups::{Company, GroupName};
use super::tree::{self, Identity, Kinship, Snapshot};
use super::{Shell, socket};
use crate::sys;
use ringmaster_protocol::message::{ProcessId, Refusal, Target};
use std::collections::HashMap;
use std::io;
use std::os::fd::AsFd;

/// Rounds of killing a tree that has no group and makes new members meanwhile. Each round sees all members of its moment.
pub(super) const KILL_ROUNDS: usize = 10;

impl Shell {
    /// Sends a signal; gives whom it reached.
    pub(super) fn send_signal(&mut self, id: ProcessId, signal: i32, target: Target) -> Result<Vec<i32>, Refusal> {
        let fail = |error: io::Error| socket::failed(format!("signal {signal} to process {}", id.0), &error);
        match target {
            Target::Main => {
                if signal != 0 {
                    self.remember(id);
                }
                self.signal_main(id, signal).map_err(fail)
            }
            Target::Children => {
                let targets = self.look(id, Around::Below, |child, snapshot, _| snapshot.children(child.identity()));
                tree::signal_all(&targets, signal).map_err(fail)
            }
            Target::Descendants => {
                let targets = self.members(id, Around::Below);
                tree::signal_all(&targets, signal).map_err(fail)
            }
            Target::Tree => self.signal_tree(id, signal).map_err(fail),
            Target::Descendant(pid) => {
                let mut targets = self.members(id, Around::Everywhere);
                targets.retain(|member| member.pid == pid);
                tree::signal_all(&targets, signal).map_err(fail)
            }
        }
    }

    pub(super) fn signal_main(&self, id: ProcessId, signal: i32) -> io::Result<Vec<i32>> {
        let Some(child) = self.children.get(&id) else {
            return Ok(Vec::new());
        };
        let Some(pidfd) = &child.pidfd else {
            return Ok(Vec::new());
        };
        match sys::pidfd_signal(pidfd.as_fd(), signal) {
            Ok(()) => Ok(vec![child.facts.pid]),
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Whoever descends from it now is known to belong to it later, when it has ended and they are orphans. A group of its
    /// own knows that without being asked.
    fn remember(&mut self, id: ProcessId) {
        if self.kinship == Kinship::Lists && self.own_group(id).is_none() && !self.is_alone(id) {
            self.look(id, Around::Below, |child, snapshot, _| child.descendants(snapshot));
        }
    }

    /// The process first, then the rest of its tree; with SIGKILL all at once, or until nobody new is found.
    fn signal_tree(&mut self, id: ProcessId, signal: i32) -> io::Result<Vec<i32>> {
        if signal == libc::SIGKILL
            && let Some((group, pids)) = self.own_group(id)
            && (pids.is_empty() || self.groups.kill(&group))
        {
            return Ok(pids);
        }
        let mut frozen = None;
        let reached = self.sweep_tree(id, signal, &mut frozen);
        frozen.iter().for_each(|group| self.groups.freeze(group, false));
        reached
    }

    /// Looks for the members and signals them, one by one. Those that multiply meanwhile are `frozen` with their group.
    fn sweep_tree(&mut self, id: ProcessId, signal: i32, frozen: &mut Option<GroupName>) -> io::Result<Vec<i32>> {
        let mut seen: Vec<Identity> = Vec::new();
        // Who belongs to it is looked up before it is gone.
        let mut members = self.members(id, Around::Everywhere);
        let mut reached = self.signal_main(id, signal)?;
        let rounds = if signal == libc::SIGKILL { KILL_ROUNDS } else { 1 };
        for round in 0..rounds {
            members.retain(|member| !seen.contains(member));
            // One that was alive may have made children before the signal came.
            if members.is_empty() && (round > 0 || reached.is_empty()) {
                break;
            }
            if round > 0 && frozen.is_none() {
                *frozen = self.children.get(&id).and_then(|child| child.group.clone());
                frozen.iter().for_each(|group| self.groups.freeze(group, true));
            }
            reached.extend(tree::signal_all(&members, signal)?);
            seen.append(&mut members);
            if rounds > 1 {
                self.snapshot = None;
                self.company.clear();
                members = self.members(id, Around::Everywhere);
            }
        }
        Ok(reached)
    }

    /// Who belongs to it, without itself: the members of its own group, else those who are found `around`.
    fn members(&mut self, id: ProcessId, around: Around) -> Vec<Identity> {
        let Some(main) = self.children.get(&id).map(|child| child.identity()) else {
            return Vec::new();
        };
        let Some((group, pids)) = self.own_group(id) else {
            if self.is_alone(id) {
                return Vec::new();
            }
            let adopter = self.keeper_pid;
            return self.look(id, around, |child, snapshot, mains| match around {
                Around::Below => child.descendants(snapshot),
                Around::Everywhere => child.tree(snapshot, adopter, |pid| mains.contains_key(&pid)),
            });
        };
        let others = pids.into_iter().filter(|pid| *pid != main.pid).collect();
        self.groups.members(&group, others)
    }

    /// Its group and who is in it, when it shares the group with no process of ours that lives, and has not left it.
    fn own_group(&self, id: ProcessId) -> Option<(GroupName, Vec<i32>)> {
        let child = self.children.get(&id)?;
        let group = child.group.clone()?;
        let lives = child.pidfd.is_some();
        if self.groups.living(&group) > usize::from(lives) {
            return None;
        }
        let pids = self.groups.pids(&group)?;
        (!lives || pids.contains(&child.facts.pid)).then_some((group, pids))
    }

    /// Whether there is nobody in the group of a process but those whom we made, itself included while it lives: then nobody
    /// belongs to any of them, and nobody has to be looked for. Its siblings ask the same within the turn.
    pub(super) fn is_alone(&mut self, id: ProcessId) -> bool {
        let Some(child) = self.children.get(&id) else {
            return false;
        };
        let Some(group) = &child.group else {
            return false;
        };
        if !self.company.contains_key(group) {
            let Some(pids) = self.groups.pids(group) else {
                return false;
            };
            let strangers = pids.iter().any(|pid| !self.by_pid.contains_key(pid) && tree::is_alive(*pid));
            self.company.insert(group.clone(), Company { pids: pids.into_iter().collect(), strangers });
        }
        let lives = child.pidfd.is_some();
        let company = self.company.get(group);
        company.is_some_and(|company| !company.strangers && (!lives || company.pids.contains(&child.facts.pid)))
    }

    /// Asks about one process in a snapshot that shows all that may belong to it.
    ///
    /// The keeper adopts the orphans of the processes that we made (`PR_SET_CHILD_SUBREAPER`): they are among our own children, or
    /// below one of those whom nobody knows. So when there is no unknown child, nothing but the descendants of the process
    /// itself is looked at. Orphans of processes that a former core made may be anywhere.
    fn look(
        &mut self,
        id: ProcessId,
        around: Around,
        ask: impl FnOnce(&mut Child, &Snapshot, &HashMap<i32, ProcessId>) -> Vec<Identity>,
    ) -> Vec<Identity> {
        let Some(child) = self.children.get_mut(&id) else {
            return Vec::new();
        };
        match (self.kinship, around, child.origin) {
            (Kinship::Parents, _, _) | (Kinship::Lists, Around::Everywhere, Origin::Former) => {
                ask(child, self.snapshot.get_or_insert_with(Snapshot::take), &self.by_pid)
            }
            (Kinship::Lists, Around::Below, _) => {
                let snapshot = Snapshot::below(child.kin().roots().collect());
                ask(child, &snapshot, &self.by_pid)
            }
            (Kinship::Lists, Around::Everywhere, Origin::Ours) => {
                let known: Vec<i32> = child.kin().roots().collect();
                let snapshot = Snapshot::below(known.into_iter().chain(self.unknown_children()).collect());
                match self.children.get_mut(&id) {
                    Some(child) => ask(child, &snapshot, &self.by_pid),
                    None => Vec::new(),
                }
            }
        }
    }

    /// Children of the keeper that are no processes of ours: orphans, and the other half.
    pub(super) fn unknown_children(&self) -> impl Iterator<Item = i32> {
        let own = rustix::process::getpid().as_raw_nonzero().get();
        let unknown = move |pid: &i32| *pid != own && !self.by_pid.contains_key(pid);
        tree::children_of(self.keeper_pid).into_iter().filter(unknown)
    }
}

/// Where to look for what belongs to a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Around {
    /// Among its descendants.
    Below,
    /// Also among the orphans.
    Everywhere,
}
