//! Ends of processes: the keeper notes and reaps, we drain and keep.

use super::child::{Child, Origin, Watch};
use super::poll::Token;
use super::{Shell, clock, tree};
use crate::core::ring::Captured;
use crate::core::{Input, Now};
use crate::limits::NOTED;
use crate::state::{End, Phase};
use crate::sys;
use ringmaster_protocol::message::{Exit, ExitStatus, ProcessId, Rusage};
use ringmaster_protocol::ring::Stream;
use std::os::fd::AsFd;

impl Shell {
    /// Registers a process that was made, and waits for its output and its end.
    pub(super) fn take_in(&mut self, id: ProcessId, child: Child) {
        self.register(id, child);
        for stream in Stream::ALL {
            self.resume(id, stream);
        }
        self.watch(id);
    }

    /// Registers a process.
    pub(super) fn register(&mut self, id: ProcessId, child: Child) {
        if child.facts.phase == Phase::Running {
            self.by_pid.insert(child.facts.pid, id);
            child.group.iter().for_each(|group| self.groups.lives(group, true));
        }
        self.children.insert(id, Box::new(child));
    }

    /// The keeper has noted and reaped children since it said so last. Those without a record were somebody's orphans.
    pub(super) fn keeper_has_noted(&mut self) {
        self.noted_by = None;
        for id in std::mem::take(&mut self.dying) {
            self.note_end(id);
        }
        self.drive(Input::OrphanEnded);
        self.groups.remove_left();
    }

    /// A process has ended. The end of a child of the keeper's is in its slot now or in a moment.
    pub(super) fn process_ended(&mut self, id: ProcessId) {
        match self.children.get(&id) {
            Some(child) if child.origin == Origin::Ours && child.slot.end_of(child.facts.pid).is_none() => {
                child.pidfd.iter().for_each(|pidfd| self.poll.remove(pidfd));
                self.await_note(id);
            }
            Some(_) | None => self.note_end(id),
        }
    }

    fn await_note(&mut self, id: ProcessId) {
        self.dying.push(id);
        self.noted_by.get_or_insert(deadline(self.now));
    }

    /// How a process has ended: one of the keeper's, whose end is in the slot as a rule, or one whose parent the keeper
    /// is not, because another made it.
    fn note_end(&mut self, id: ProcessId) {
        let Some(child) = self.children.get(&id) else {
            return;
        };
        if let Some(end) = child.slot.end_of(child.facts.pid) {
            self.ended(id, &end);
            return;
        }
        let (Some(pidfd), identity) = (&child.pidfd, child.identity()) else {
            return;
        };
        // The start is 0 when it could not be read as the process was made; its pid is nobody else's until the keeper has noted it.
        let is_it = |stat: &tree::Stat| stat.identity == identity || identity.start == 0;
        if tree::stat(identity.pid).is_some_and(|stat| is_it(&stat) && stat.parent == self.keeper_pid) {
            self.poll.remove(pidfd);
            self.await_note(id);
            return;
        }
        let told = || sys::exit_of_pidfd(pidfd.as_fd());
        let noted = || child.slot.end_of(child.facts.pid);
        let seen = || Some(end_now(told().or_else(|| zombie_status(identity)).or_else(told)?));
        // Between two of these looks it may have been reaped, by the keeper or by somebody else.
        let end = seen().or_else(noted).unwrap_or_else(|| end_now(ExitStatus::Unknown));
        let end = noted().unwrap_or(end);
        self.ended(id, &end);
    }

    /// Somebody has stopped the keeper, which nobody else would see: it has noted nothing for too long. One that runs does
    /// not notice that it is told to go on; perhaps it could not note the end, and the pidfd tells.
    pub(super) fn note_overdue(&mut self) {
        if self.noted_by.take_if(|at| *at <= self.now.boot_ns).is_some() {
            self.log(&format!("the keeper has not noted an end for {NOTED:?}: it is told to go on"));
            let _ = sys::pidfd_signal(self.keeper.as_fd(), libc::SIGCONT);
            for id in std::mem::take(&mut self.dying) {
                self.note_end(id);
            }
        }
    }

    /// Empties the pipes as far as their rings allow, then tells the core.
    pub(super) fn ended(&mut self, id: ProcessId, end: &End) {
        let pending = [self.drain(id, Stream::Stdout), self.drain(id, Stream::Stderr)];
        let End { status, rusage, realtime_ns } = *end;
        self.drive(Input::Ended { process: id, status, rusage, realtime_ns, pending });
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

    /// Keeps the end, and how far the output had come, in the slot.
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
            if let Some(pipe) = child.pipe(stream).filter(|pipe| pipe.watch == Watch::Yes) {
                self.poll.remove(&pipe.read);
            }
        }
        self.state.release(child.index);
        if child.file.is_somewhere() {
            super::file::ProcessFile::remove(self.launcher.rings(), id);
        }
        if let Some(group) = &child.group {
            self.groups.leave(group);
        }
    }

    /// Waits for the end of a process.
    pub(super) fn watch(&mut self, id: ProcessId) {
        let pidfd = self.children.get(&id).and_then(|child| child.pidfd.as_ref());
        if let Some(Err(error)) = pidfd.map(|pidfd| self.poll.add(pidfd, Token::Pidfd(id))) {
            self.missed(Token::Pidfd(id), &error);
        }
    }
}

/// When the keeper is to have noted an end that is seen now.
fn deadline(now: Now) -> u64 {
    now.boot_ns + u64::try_from(NOTED.as_nanos()).unwrap_or(0)
}

/// An end that is seen now.
pub(super) fn end_now(status: ExitStatus) -> End {
    End { status, rusage: Rusage::default(), realtime_ns: clock::now().real_ns }
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
