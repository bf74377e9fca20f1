//! Ends of processes: drain, record, reap, in this order.

use super::child::Child;
use super::poll::Token;
use super::{Shell, tree};
use crate::core::Input;
use crate::core::ring::Captured;
use crate::state::Phase;
use crate::sys;
use ringmaster_protocol::message::{Exit, ExitStatus, ProcessId, Rusage};
use ringmaster_protocol::ring::Stream;
use std::os::fd::AsFd;

impl Shell {
    /// Registers a process that was made or found.
    pub(super) fn take_in(&mut self, id: ProcessId, child: Child) {
        if child.facts.phase == Phase::Running {
            self.by_pid.insert(child.facts.pid, id);
            child.group.iter().for_each(|group| self.groups.lives(group, true));
        }
        self.children.insert(id, child);
        for stream in Stream::ALL {
            self.resume(id, stream);
        }
    }

    /// Some children have ended; signals of several may have come as one.
    pub(super) fn children_ended(&mut self) {
        let mut orphans = false;
        while let Some(ended) = sys::wait_any_peek() {
            match self.by_pid.get(&ended.pid).copied() {
                Some(id) => self.ended(id, ended.status, ended.rusage),
                None => {
                    sys::reap(ended.pid);
                    orphans = true;
                    self.drive(Input::OrphanEnded);
                }
            }
            // Whatever became of it above: it must not be seen again.
            sys::reap(ended.pid);
        }
        if orphans {
            self.groups.remove_left();
        }
    }

    /// A process whose parent we are not has ended: one that a former core made.
    pub(super) fn stranger_ended(&mut self, id: ProcessId) {
        let Some(child) = self.children.get(&id) else {
            return;
        };
        let (pidfd, identity) = (child.pidfd.as_ref(), child.identity());
        if let Some(ended) = sys::wait_peek(identity.pid) {
            self.ended(id, ended.status, ended.rusage);
            return;
        }
        let told = pidfd.and_then(|pidfd| sys::exit_of_pidfd(pidfd.as_fd()));
        let status = told.or_else(|| zombie_status(identity)).or_else(|| {
            let pidfd = self.children.get(&id)?.pidfd.as_ref()?;
            sys::exit_of_pidfd(pidfd.as_fd())
        });
        self.ended(id, status.unwrap_or(ExitStatus::Unknown), Rusage::default());
    }

    /// Empties the pipes as far as their rings allow, then tells the core.
    pub(super) fn ended(&mut self, id: ProcessId, status: ExitStatus, rusage: Rusage) {
        let pending = [self.drain(id, Stream::Stdout), self.drain(id, Stream::Stderr)];
        self.drive(Input::Ended { process: id, status, rusage, pending });
    }

    /// Takes what is in the pipe now; gives how much of it had to stay. What others write meanwhile is not waited for.
    fn drain(&mut self, process: ProcessId, stream: Stream) -> u64 {
        let mut left = self.children.get_mut(&process).map_or(0, |child| child.pending(stream));
        while left > 0 {
            self.last = None;
            self.drive(Input::Readable { process, stream });
            match self.last {
                Some((_, Captured::Bytes(bytes))) => left = left.saturating_sub(bytes),
                Some((_, Captured::Empty | Captured::End)) => return 0,
                Some((_, Captured::Failed(_))) | None => return left,
            }
        }
        0
    }

    /// Notes the end in the slot, then takes the zombie away.
    pub(super) fn save_exit(&mut self, id: ProcessId, exit: Exit) {
        let Some(child) = self.children.get_mut(&id) else {
            return;
        };
        child.facts.phase = Phase::Exited(exit);
        child.slot.publish(Some(&child.facts));
        let pid = child.facts.pid;
        if let Some(pidfd) = child.pidfd.take() {
            self.poll.remove(pidfd);
        }
        sys::reap(pid);
        if self.by_pid.remove(&pid).is_some() {
            child.group.iter().for_each(|group| self.groups.lives(group, false));
        }
    }

    /// Forgets a process.
    pub(super) fn release(&mut self, id: ProcessId) {
        let Some(mut child) = self.children.remove(&id) else {
            return;
        };
        for stream in Stream::ALL {
            if let Some(pipe) = child.pipe(stream).filter(|pipe| pipe.watched) {
                self.poll.remove(&pipe.read);
            }
        }
        self.state.release(child.index);
        super::file::ProcessFile::remove(self.launcher.rings(), id);
        if let Some(group) = &child.group {
            self.groups.leave(group);
        }
    }

    /// Waits for the end of a process that is not our child.
    pub(super) fn watch_stranger(&mut self, id: ProcessId) {
        let pidfd = self.children.get(&id).and_then(|child| child.pidfd.as_ref());
        if let Some(Err(error)) = pidfd.map(|pidfd| self.poll.add(pidfd, Token::Pidfd(id))) {
            self.log(&format!("process {}: its end will not be seen: {error}", id.0));
        }
    }
}

/// How a zombie ended, as proc(5) shows it to those who may know.
pub(super) fn zombie_status(identity: tree::Identity) -> Option<ExitStatus> {
    let stat = tree::stat(identity.pid).filter(|stat| stat.identity == identity && stat.zombie)?;
    let code = stat.exit_code;
    if libc::WIFSIGNALED(code) {
        Some(ExitStatus::Signal(libc::WTERMSIG(code)))
    } else {
        Some(ExitStatus::Code(libc::WEXITSTATUS(code)))
    }
}
