//! A slot in which a process was about to be made when the core died: was it made?
//!
//! Nobody was told of such a process, so both answers are safe as long as they are true: a request that is repeated starts
//! it once, whatever happened before.

use super::{clock, tree};
use crate::state::{Facts, Header, Phase, Slot, StateFile};
use crate::sys;
use rustix::event::{PollFd, PollFlags};
use rustix::time::Timespec;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::Ordering;

/// Clock ticks by which a process may seem to have started before its slot was opened: the two clocks differ in
/// resolution (10 ms).
const TICK_SLACK: u64 = 2;

/// Ticks within which a process whose start was not recorded must have started after its slot was opened.
const OPENING_TICKS: u64 = 3000;

/// How long a process that is killed may take to be gone.
const GONE: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// Settles all slots before anything else happens: a process between clone and exec that is not wanted any more is gone when
/// this returns, so that it does not take descriptors of ours for its own.
pub fn settle_all(state: &mut StateFile) {
    for index in state.used() {
        let slot = state.slot(index);
        let Some((slot, facts)) = slot.and_then(|slot| Some((slot, slot.facts()?))) else {
            state.release(index);
            continue;
        };
        if facts.phase == Phase::Opening
            && let Some(settled) = settle(slot, facts)
        {
            slot.publish(Some(&settled));
        }
    }
}

/// What a slot means now. A slot in which a process was about to be made is settled by the words that the system and the
/// child wrote; `None`: it never came to be.
pub fn settle(slot: Slot, mut facts: Facts) -> Option<Facts> {
    if facts.phase != Phase::Opening {
        return Some(facts);
    }
    let pid = i32::try_from(slot.pid().load(Ordering::Acquire) & 0xffff_ffff).unwrap_or(0);
    if pid == 0 || slot.failure().load(Ordering::Acquire) != 0 {
        return None;
    }
    let stat = tree::stat(pid).filter(|stat| was_made_then(stat, facts.opened_ns))?;
    if is_still_ours(pid) {
        // It has not become its program yet, and nobody was told of it: it never will.
        end(stat.identity);
        return None;
    }
    if facts.pipes != [0, 0] && !stat.zombie && !tree::writes_to(pid, facts.pipes) {
        return None;
    }
    facts.pid = pid;
    facts.start_ticks = stat.identity.start;
    facts.phase = Phase::Running;
    Some(facts)
}

/// The dry run of a kernel half that is gone: nobody hears what it says, and it may never come to its end.
pub fn end_trial(header: Header) {
    let (pid, began) = header.trial();
    if pid != 0
        && let Some(stat) = tree::stat(pid).filter(|stat| was_made_then(stat, began))
    {
        end(stat.identity);
    }
    header.end_trial();
}

/// Whether a process is as old as what was about to be made then (`CLOCK_BOOTTIME`).
fn was_made_then(stat: &tree::Stat, opened_ns: u64) -> bool {
    let (start, opened) = (stat.identity.start, clock::ticks(opened_ns));
    start + TICK_SLACK >= opened && start <= opened + OPENING_TICKS
}

/// Kills a process and waits until it is gone. One that the system holds in a call (a dead network file system) is not waited
/// for: it does nothing any more when it comes back from there.
fn end(identity: tree::Identity) {
    if let Some(pidfd) = tree::hold(identity) {
        let _ = sys::pidfd_signal(pidfd.as_fd(), libc::SIGKILL);
        let mut end = [PollFd::new(&pidfd, PollFlags::IN)];
        let _ = rustix::event::poll(&mut end, Some(&GONE));
    }
}

/// Whether a process still runs our own program, as a child does between clone and exec.
fn is_still_ours(pid: i32) -> bool {
    let program = |whose: &str| std::fs::metadata(format!("/proc/{whose}/exe")).map(|found| (found.dev(), found.ino()));
    match (program(&pid.to_string()), program("self")) {
        (Ok(theirs), Ok(ours)) => theirs == ours,
        (Err(_), _) | (_, Err(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::StateFile;
    use ringmaster_protocol::message::ProcessId;
    use std::process::{Child, Command, Stdio};

    /// A state with one slot as a core leaves it that is killed after clone3 and before it has noted its success.
    struct Left {
        state: StateFile,
        index: usize,
        facts: Facts,
        _directory: tempfile::TempDir,
    }

    impl Left {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let at = std::fs::File::open(directory.path()).unwrap();
            let mut state = StateFile::open(&at, "state", 1, 1).unwrap();
            let facts = Facts {
                id: ProcessId(1),
                phase: Phase::Opening,
                pid: 0,
                start_ticks: 0,
                started_ns: 1,
                opened_ns: clock::now().boot_ns,
                pipes: [0, 0],
            };
            let (index, slot) = state.take().unwrap();
            slot.publish(Some(&facts));
            Self { state, index, facts, _directory: directory }
        }

        fn settle_with(&self, pid: i32, failure: u64) -> Option<Facts> {
            let slot = self.state.slot(self.index).unwrap();
            // The system writes 32 bits; what lies above them means nothing.
            let word = 7 << 32 | u64::try_from(pid).unwrap();
            slot.pid().store(word, Ordering::Release);
            slot.failure().store(failure, Ordering::Release);
            settle(slot, self.facts)
        }
    }

    fn sleeper() -> (Child, i32) {
        let mut command = Command::new("sleep");
        let child = command.arg("1000").stdout(Stdio::null()).spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        (child, pid)
    }

    fn end(mut child: Child) {
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn one_that_was_not_made_or_did_not_become_its_program_is_forgotten() {
        let left = Left::new();
        assert_eq!(left.settle_with(0, 0), None);
        let (child, pid) = sleeper();
        assert_eq!(left.settle_with(pid, 1 << 56 | 2), None);
        end(child);
        assert_eq!(left.settle_with(pid, 0), None, "it is gone");
    }

    #[test]
    fn one_that_runs_is_taken_over() {
        let left = Left::new();
        let (child, pid) = sleeper();
        let settled = left.settle_with(pid, 0).unwrap();
        assert_eq!((settled.phase, settled.pid), (Phase::Running, pid));
        assert_eq!(settled.start_ticks, tree::stat(pid).unwrap().identity.start);
        end(child);
    }

    #[test]
    fn another_process_with_that_pid_is_not() {
        let mut left = Left::new();
        let (child, pid) = sleeper();
        left.facts.pipes = [u64::MAX, 0];
        assert_eq!(left.settle_with(pid, 0), None, "it does not write to the pipe");
        left.facts.pipes = [0, 0];
        left.facts.opened_ns += 3_600_000_000_000;
        assert_eq!(left.settle_with(pid, 0), None, "it is older than the slot");
        left.facts.opened_ns = 0;
        let younger = tree::stat(pid).unwrap().identity.start > OPENING_TICKS;
        assert_eq!(left.settle_with(pid, 0).is_none(), younger, "it is too young");
        end(child);
    }

    #[test]
    fn one_between_clone_and_exec_is_killed() {
        let left = Left::new();
        let pid = match sys::fork().unwrap() {
            sys::Fork::Child => loop {
                std::thread::park();
            },
            sys::Fork::Parent(pid) => pid,
        };
        assert_eq!(left.settle_with(pid, 0), None);
        let waited =
            rustix::process::waitpid(rustix::process::Pid::from_raw(pid), rustix::process::WaitOptions::empty());
        let (_, status) = waited.unwrap().unwrap();
        assert_eq!(status.terminating_signal(), Some(libc::SIGKILL));
    }

    #[test]
    fn a_settled_slot_is_left_alone() {
        let mut left = Left::new();
        left.facts.phase = Phase::Running;
        assert_eq!(left.settle_with(0, 0), Some(left.facts));
    }
}
