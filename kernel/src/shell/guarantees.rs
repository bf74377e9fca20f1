//! Which of the promises hold on this host: what each rests on is tried once, at the start. One that does not hold is told in
//! `status` with its reason and with what happens instead; the core runs in any case.

use super::groups::{Groups, Without};
use crate::limits::{OOM_SCORE_ADJ, STAGE_FIRST};
use crate::sys::{self, CHILD_STEPS, Kin, Parent, Plan, ResultWords, SpawnStack};
use ringmaster_protocol::message::{Guarantee, SpawnStep};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, WaitOptions, getpid, pidfd_getfd, pidfd_open, waitpid};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

/// Where Linux keeps how likely a process is killed for want of memory (proc(5)).
pub const OOM_FILE: &str = "/proc/self/oom_score_adj";

/// The promise for which processes have cgroups.
pub const TREES: &str = "trees-are-killed-whole";

/// One promise.
struct Row {
    name: &'static str,
    /// What it rests on, when it holds.
    by: &'static str,
    /// What happens otherwise.
    instead: &'static str,
    /// Tries it, in the instance's folder of process files.
    test: fn(BorrowedFd<'_>, &mut Groups) -> io::Result<()>,
}

/// In the order of `status`. The position of a row is its bit in the state: a new one comes last.
const ROWS: [Row; 8] = [
    Row {
        name: "children-survive-core-death",
        by: "children lead sessions of their own and hold their pipes' readers",
        instead: "no process can be started",
        test: |_, _| child(None).map(drop),
    },
    Row {
        name: "output-survives-core-death",
        by: "pipes are found again through /proc",
        instead: "output cannot be captured",
        test: |_, _| pipe_opens_anew(),
    },
    Row {
        name: "output-is-taken-in-one-step",
        by: "splice(2) moves bytes and offset at once",
        instead: "output cannot be captured",
        test: |folder, _| splice_keeps_count(folder),
    },
    Row {
        name: "exit-status-of-adopted-children",
        by: "this Linux tells exit statuses through pidfds",
        instead: "a child that outlives a killed core ends with an unknown status",
        test: |_, _| exit_is_told(),
    },
    Row {
        name: "sockets-survive-core-death",
        by: "listening sockets are copied from the processes that hold them",
        instead: "a socket is bound anew, and connections that wait in it are lost",
        test: |_, _| descriptor_is_copied(),
    },
    Row {
        name: TREES,
        by: "the processes of a watcher have a cgroup",
        instead: "who belongs to a process is told by descent, session and pipes; one that left all of them may stay",
        test: |_, groups| group_takes_a_child(groups),
    },
    Row {
        name: "core-is-killed-last-for-want-of-memory",
        by: "its oom_score_adj is low, and children have that of its starter",
        instead: "Linux chooses between the core and its children by their sizes",
        test: |_, _| oom_score_is_low(),
    },
    Row {
        name: "upgrade-in-place",
        by: "the keeper becomes another program and keeps its children",
        instead: "it cannot be upgraded",
        test: |_, _| Ok(()),
    },
];

/// What no host gives to this build.
const LIMITS: [(&str, &str); 2] = [
    (
        "exit-status-while-no-core-runs",
        "a child that ends between the death of a core and the start of the next leaves no status",
    ),
    (
        "output-of-children-that-end-while-no-core-runs",
        "what is in a pipe goes with its last holder; at most one pipe (64 KiB as a rule) for each stream",
    ),
];

/// Tries all of them but those of the bits `held`, which held a moment ago, and makes no groups any more when they do not work.
/// Gives them with the bits of those that hold. Called in the keeper, before it keeps anything: the processes that are made for it
/// are its own.
pub fn find(folder: BorrowedFd<'_>, groups: &mut Groups, held: u64) -> (Vec<Guarantee>, u64) {
    let mut now = 0;
    let mut rows = Vec::new();
    for (bit, row) in (0..).zip(ROWS) {
        let known = held & 1 << bit != 0 && (row.name != TREES || groups.are_made().is_ok());
        let tried = if known { Ok(()) } else { (row.test)(folder, groups) };
        let (holds, reason) = match tried {
            Ok(()) => (true, row.by.into()),
            Err(why) => (false, format!("{why}: {}", row.instead)),
        };
        now |= u64::from(holds) << bit;
        rows.push(Guarantee { name: row.name.into(), holds, reason });
    }
    let never = LIMITS.map(|(name, reason)| Guarantee { name: name.into(), holds: false, reason: reason.into() });
    rows.extend(never);
    (rows, now)
}

/// Makes a process as all are made and waits for its end. It goes the whole way and has no program to become.
fn child(group: Option<BorrowedFd<'_>>) -> io::Result<OwnedFd> {
    let [pid, pidfd, failure] = [const { AtomicU64::new(0) }; 3];
    let words = ResultWords { pid: &pid, pidfd: &pidfd, failure: &failure };
    let (pid, pidfd) = sys::spawn(&mut SpawnStack::new()?, &nowhere(), &words, &Kin { parent: Parent::Us, group })?;
    waitpid(Pid::from_raw(pid), WaitOptions::empty())?;
    let word = failure.load(Ordering::Acquire);
    let step = usize::try_from(word >> 56).ok().and_then(|step| CHILD_STEPS.get(step.checked_sub(1)?));
    match step {
        Some(SpawnStep::Exec) => Ok(pidfd),
        Some(_) | None => Err(io::Error::from_raw_os_error(i32::try_from(word & 0xffff_ffff).unwrap_or(libc::EINVAL))),
    }
}

/// For a child that becomes nothing.
fn nowhere() -> Plan {
    Plan { table_end: Some(STAGE_FIRST), ..Plan::bare(0o077) }
}

fn pipe_opens_anew() -> io::Result<()> {
    let (_read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    let path = format!("/proc/self/fd/{}", write.as_raw_fd());
    rustix::fs::open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    Ok(())
}

/// On the very file system that has the process files.
fn splice_keeps_count(folder: BorrowedFd<'_>) -> io::Result<()> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(folder, "probe", flags, Mode::RUSR | Mode::WUSR)?;
    rustix::fs::unlinkat(folder, "probe", AtFlags::empty())?;
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    rustix::io::write(&write, b"xy")?;
    let position = AtomicU64::new(1);
    let moved = sys::splice_into(read.as_fd(), file.as_fd(), &position, 2)?;
    let mut found = [0; 2];
    rustix::io::pread(&file, &mut found, 1)?;
    match (moved, position.into_inner(), &found) {
        (2, 3, b"xy") => Ok(()),
        _ => Err(io::Error::other("splice(2) does not count what it moves")),
    }
}

fn exit_is_told() -> io::Result<()> {
    let told = sys::exit_of_pidfd(child(None)?.as_fd());
    told.map(drop).ok_or_else(|| io::Error::other("this Linux (before 6.15) tells exit statuses to the parent only"))
}

/// One's own is always allowed; that of a former core's child is a matter of rights (ptrace(2), Yama).
fn descriptor_is_copied() -> io::Result<()> {
    let (us, (end, _other)) = (pidfd_open(getpid(), PidfdFlags::empty())?, pipe_with(PipeFlags::CLOEXEC)?);
    pidfd_getfd(us, end.as_raw_fd(), PidfdGetfdFlags::empty())?;
    let yama = std::fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").unwrap_or_default();
    if matches!(yama.trim(), "" | "0") || rustix::process::geteuid().is_root() {
        return Ok(());
    }
    Err(io::Error::other(format!("kernel.yama.ptrace_scope is {}", yama.trim())))
}

fn group_takes_a_child(groups: &mut Groups) -> io::Result<()> {
    let name = groups.name("probe");
    let outcome = match groups.make(&name) {
        Ok(Some(group)) => child(Some(group)).map(drop).map_err(Without::Clone),
        Ok(None) => return groups.are_made().map_err(|why| io::Error::other(why.to_string())),
        Err(why) => Err(why),
    };
    groups.leave(&name);
    outcome.map_err(|why| {
        let told = io::Error::other(why.to_string());
        groups.give_up(why);
        told
    })
}

fn oom_score_is_low() -> io::Result<()> {
    let score = std::fs::read_to_string(OOM_FILE)?;
    if score.trim().parse::<i32>().is_ok_and(|score| score <= OOM_SCORE_ADJ) {
        return Ok(());
    }
    Err(io::Error::other(format!("its oom_score_adj is {}, and lowering it needs CAP_SYS_RESOURCE", score.trim())))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The core may lower its own value only with CAP_SYS_RESOURCE; a child's may always be raised.
    #[test]
    fn a_child_gets_its_own_oom_score() {
        let before = std::fs::read_to_string(OOM_FILE).unwrap();
        let [pid, pidfd, failure] = [const { AtomicU64::new(0) }; 3];
        let words = ResultWords { pid: &pid, pidfd: &pidfd, failure: &failure };
        let script = c"read score </proc/self/oom_score_adj && [ $score = 987 ]";
        let plan = Plan {
            argv: vec![c"sh".into(), c"-c".into(), script.into()],
            programs: vec![c"/bin/sh".into()],
            oom_score_adj: Some(c"987".into()),
            ..nowhere()
        };
        let mut stack = SpawnStack::new().unwrap();
        let (pid, _pidfd) = sys::spawn(&mut stack, &plan, &words, &Kin { parent: Parent::Us, group: None }).unwrap();
        let (_, status) = waitpid(Pid::from_raw(pid), WaitOptions::empty()).unwrap().unwrap();
        assert_eq!((failure.into_inner(), status.exit_status()), (0, Some(0)));
        assert_eq!(std::fs::read_to_string(OOM_FILE).unwrap(), before);
    }
}
