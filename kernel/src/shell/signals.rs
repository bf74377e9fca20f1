//! Signals to processes and what belongs to them.

use super::tree::{self, Identity, Snapshot};
use super::{Shell, socket};
use crate::sys;
use ringmaster_protocol::message::{ProcessId, Refusal, Target};
use std::io;
use std::os::fd::AsFd;

/// Rounds of killing a tree that makes new members meanwhile. Each round sees all members of its moment; a bomb that
/// outruns so many needs a cgroup.
const KILL_ROUNDS: usize = 10;

impl Shell {
    /// Sends a signal; gives whom it reached.
    pub(super) fn send_signal(
        &mut self,
        id: ProcessId,
        signal: i32,
        target: Target,
    ) -> Result<Vec<i32>, Refusal> {
        let fail = |error: io::Error| socket::failed(format!("signal {signal} to process {}", id.0), &error);
        match target {
            Target::Main => self.signal_main(id, signal).map_err(fail),
            Target::Children => {
                let targets = self.with_snapshot(id, |child, snapshot| snapshot.children(child.identity()));
                tree::signal_all(&targets, signal).map_err(fail)
            }
            Target::Descendants => {
                let targets = self.with_snapshot(id, super::child::Child::descendants);
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

    /// The process first, then the rest of its tree; with SIGKILL until nobody new is found.
    fn signal_tree(&mut self, id: ProcessId, signal: i32) -> io::Result<Vec<i32>> {
        let mut seen: Vec<Identity> = Vec::new();
        // Who belongs to it is looked up before it is gone.
        let mut members = self.members(id);
        let mut reached = self.signal_main(id, signal)?;
        let rounds = if signal == libc::SIGKILL { KILL_ROUNDS } else { 1 };
        for _ in 0..rounds {
            members.retain(|member| !seen.contains(member));
            if members.is_empty() {
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
        let us = i32::try_from(std::process::id()).unwrap_or(0);
        let snapshot = self.snapshot.take().unwrap_or_else(Snapshot::take);
        let mains = |pid: i32| self.by_pid.get(&pid).is_some_and(|other| *other != id);
        let members = match self.children.get_mut(&id) {
            Some(child) => child.tree(&snapshot, us, mains),
            None => Vec::new(),
        };
        self.snapshot = Some(snapshot);
        members
    }

    fn with_snapshot(
        &mut self,
        id: ProcessId,
        ask: impl FnOnce(&mut super::child::Child, &Snapshot) -> Vec<Identity>,
    ) -> Vec<Identity> {
        let snapshot = self.snapshot.take().unwrap_or_else(Snapshot::take);
        let found = self
            .children
            .get_mut(&id)
            .map(|child| ask(child, &snapshot))
            .unwrap_or_default();
        self.snapshot = Some(snapshot);
        found
    }
}
