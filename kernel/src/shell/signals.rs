//! Signals to processes and what belongs to them.

use super::child::{Child, Origin};
use super::tree::{self, Identity, Kinship, Snapshot};
use super::{Shell, socket};
use crate::sys;
use ringmaster_protocol::message::{ProcessId, Refusal, Target};
use std::collections::HashMap;
use std::io;
use std::os::fd::AsFd;

/// Rounds of killing a tree that makes new members meanwhile. Each round sees all members of its moment; a bomb that
/// outruns so many needs a cgroup.
const KILL_ROUNDS: usize = 10;

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
                let targets = self.look(id, Around::Below, |child, snapshot, _| child.descendants(snapshot));
                tree::signal_all(&targets, signal).map_err(fail)
            }
            Target::Tree => self.signal_tree(id, signal).map_err(fail),
            Target::Descendant(pid) => {
                let mut targets = self.members(id);
                targets.retain(|member| member.pid == pid);
                tree::signal_all(&targets, signal).map_err(fail)
            }
        }
    }

    fn signal_main(&self, id: ProcessId, signal: i32) -> io::Result<Vec<i32>> {
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

    /// Whoever descends from it now is known to belong to it later, when it has ended and they are orphans.
    fn remember(&mut self, id: ProcessId) {
        if self.kinship == Kinship::Lists {
            self.look(id, Around::Below, |child, snapshot, _| child.descendants(snapshot));
        }
    }

    /// The process first, then the rest of its tree; with SIGKILL until nobody new is found.
    fn signal_tree(&mut self, id: ProcessId, signal: i32) -> io::Result<Vec<i32>> {
        let mut seen: Vec<Identity> = Vec::new();
        // Who belongs to it is looked up before it is gone.
        let mut members = self.members(id);
        let mut reached = self.signal_main(id, signal)?;
        let rounds = if signal == libc::SIGKILL { KILL_ROUNDS } else { 1 };
        for round in 0..rounds {
            members.retain(|member| !seen.contains(member));
            // One that was alive may have made children before the signal came.
            if members.is_empty() && (round > 0 || reached.is_empty()) {
                break;
            }
            reached.extend(tree::signal_all(&members, signal)?);
            seen.append(&mut members);
            if rounds > 1 {
                self.snapshot = None;
                members = self.members(id);
            }
        }
        Ok(reached)
    }

    fn members(&mut self, id: ProcessId) -> Vec<Identity> {
        let us = self.keeper_pid;
        self.look(id, Around::Everywhere, |child, snapshot, mains| {
            child.tree(snapshot, us, |pid| mains.contains_key(&pid))
        })
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
            (Kinship::Lists, Around::Below, _) => ask(child, &Snapshot::below(child.roots()), &self.by_pid),
            (Kinship::Lists, Around::Everywhere, Origin::Ours) => {
                let mut roots = child.roots();
                let unknown = tree::children_of(self.keeper_pid);
                roots.extend(unknown.iter().filter(|pid| !self.by_pid.contains_key(pid)));
                ask(child, &Snapshot::below(roots), &self.by_pid)
            }
        }
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
