//! What a new process does between clone and exec.
//!
//! The child runs in its parent's memory while the parent waits (`CLONE_VM | CLONE_VFORK`), so this code allocates
//! nothing, takes no lock, cannot panic, and uses raw system calls only: the C library's wrappers for user ids would
//! talk to threads that the child does not have. Everything it needs lies in [`Orders`], prepared by the parent.

use ringmaster_protocol::message::SpawnStep;
use std::ffi::CString;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU64, Ordering};

/// The steps that a child reports, by their number in the failure word.
pub const CHILD_STEPS: [SpawnStep; 8] = [
    SpawnStep::Session,
    SpawnStep::Rlimit,
    SpawnStep::Groups,
    SpawnStep::Gid,
    SpawnStep::WorkingDirectory,
    SpawnStep::Uid,
    SpawnStep::Descriptors,
    SpawnStep::Exec,
];
const SESSION: u64 = 0;
const RLIMIT: u64 = 1;
const GROUPS: u64 = 2;
const GID: u64 = 3;
const CWD: u64 = 4;
const UID: u64 = 5;
const DESCRIPTORS: u64 = 6;
const EXEC: u64 = 7;

/// The subject of the step [`RLIMIT`] when it is not a limit but the score for the killer of processes.
pub const OOM_SCORE: u64 = 0xff_ffff;

/// Exit status of a child that could not become its program, as a shell has it. Nobody sees it.
const STATUS: libc::c_long = 127;

/// The fifth argument, which prctl(2) wants to be 0 and the others do not have.
const NOTHING: libc::c_long = 0;

/// `_NSIG / 8`: bytes of the system's signal set.
const SIGSET_BYTES: libc::c_long = 8;

/// One limit to set.
#[derive(Debug, Clone, Copy)]
pub struct ResourceLimit {
    /// `RLIMIT_*`.
    pub resource: u32,
    /// Soft and hard.
    pub limit: libc::rlimit64,
}

/// One descriptor of the child.
#[derive(Debug, Clone, Copy)]
pub struct Placement {
    /// The parent's descriptor; above every `target`, so that no step overwrites a later source.
    pub source: RawFd,
    /// The child's.
    pub target: RawFd,
}

/// In whose name a child is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behalf {
    /// Our own user or root: it enters its directory before it becomes its user, as Circus does.
    Owner,
    /// Another user, to whom it gives nothing that he has not got: it enters its directory as that user, and no program that
    /// it runs gains privileges (prctl(2), `PR_SET_NO_NEW_PRIVS`).
    Stranger,
}

/// Everything about a child, resolved.
pub struct Plan {
    /// In whose name.
    pub behalf: Behalf,
    /// Arguments.
    pub argv: Vec<CString>,
    /// `KEY=VALUE`.
    pub env: Vec<CString>,
    /// Paths to try in order.
    pub programs: Vec<CString>,
    /// Working directory.
    pub cwd: CString,
    /// Supplementary groups.
    pub groups: Option<Vec<u32>>,
    /// Group.
    pub gid: Option<u32>,
    /// User.
    pub uid: Option<u32>,
    /// Limits.
    pub limits: Vec<ResourceLimit>,
    /// File mode mask.
    pub umask: u32,
    /// What to write into /proc/self/oom_score_adj (proc(5)), when the core has another value than the child is to have.
    pub oom_score_adj: Option<CString>,
    /// Descriptors in ascending order of `target`.
    pub descriptors: Vec<Placement>,
    /// Every source lies below it: the child copies only that part of the table. `None`: the whole table.
    pub table_end: Option<RawFd>,
}

impl Plan {
    /// A child of the owner's in `/` that becomes nothing yet and has no descriptor.
    pub fn bare(umask: u32) -> Self {
        Self {
            behalf: Behalf::Owner,
            argv: Vec::new(),
            env: Vec::new(),
            programs: Vec::new(),
            cwd: c"/".to_owned(),
            groups: None,
            gid: None,
            uid: None,
            limits: Vec::new(),
            umask,
            oom_score_adj: None,
            descriptors: Vec::new(),
            table_end: None,
        }
    }
}

/// [`Plan`] as the child reads it.
pub(super) struct Orders<'a> {
    pub plan: &'a Plan,
    pub argv: &'a [*const libc::c_char],
    pub env: &'a [*const libc::c_char],
    pub failure: &'a AtomicU64,
}

/// The child's whole life before exec.
pub(super) extern "C" fn child_main(orders: *const libc::c_void) -> ! {
    // SAFETY: the parent passes a pointer to its `Orders`, which live until the child has exec'ed or ended.
    let orders = unsafe { &*orders.cast::<Orders<'_>>() };
    let (step, subject, errno) = match prepare(orders.plan) {
        Ok(()) => (EXEC, 0, exec(orders)),
        Err(failure) => failure,
    };
    let errno = u64::try_from(errno).unwrap_or(0);
    orders.failure.store((step + 1) << 56 | (subject & 0xff_ffff) << 32 | errno, Ordering::Release);
    loop {
        // SAFETY: ends this process without running anything of the parent's.
        unsafe { libc::syscall(libc::SYS_exit_group, STATUS) };
    }
}

/// Step, subject, errno.
type Failure = (u64, u64, i32);

fn prepare(plan: &Plan) -> Result<(), Failure> {
    if let Some(end) = plan.table_end {
        // The table is still the parent's: nothing may be placed before this.
        let (all, unshare) = (i64::from(u32::MAX), i64::from(libc::CLOSE_RANGE_UNSHARE));
        call(DESCRIPTORS, 0, libc::SYS_close_range, [i64::from(end), all, unshare, 0])?;
    }
    call(SESSION, 0, libc::SYS_setsid, [0; 4])?;
    if let Some(text) = &plan.oom_score_adj {
        write_oom_score(text)?;
    }
    for (index, limit) in (0u64..).zip(&plan.limits) {
        let value = pointer(&raw const limit.limit);
        call(RLIMIT, index, libc::SYS_prlimit64, [0, i64::from(limit.resource), value, 0])?;
    }
    call(SESSION, 0, libc::SYS_umask, [i64::from(plan.umask), 0, 0, 0])?;
    if let Some(groups) = &plan.groups {
        let count = i64::try_from(groups.len()).unwrap_or(i64::MAX);
        call(GROUPS, 0, libc::SYS_setgroups, [count, pointer(groups.as_ptr()), 0, 0])?;
    }
    if let Some(gid) = plan.gid.map(i64::from) {
        call(GID, 0, libc::SYS_setresgid, [gid, gid, gid, 0])?;
    }
    let enter = || call(CWD, 0, libc::SYS_chdir, [pointer(plan.cwd.as_ptr()), 0, 0, 0]);
    if plan.behalf == Behalf::Owner {
        enter()?;
    }
    if let Some(uid) = plan.uid.map(i64::from) {
        call(UID, 0, libc::SYS_setresuid, [uid, uid, uid, 0])?;
    }
    if plan.behalf == Behalf::Stranger {
        call(UID, 0, libc::SYS_prctl, [i64::from(libc::PR_SET_NO_NEW_PRIVS), 1, 0, 0])?;
        enter()?;
    }
    place(&plan.descriptors)?;
    unblock_signals();
    Ok(())
}

/// Sets the child's own value: the one who writes is a vfork child, whose memory's other users keep theirs (Linux,
/// fs/proc/base.c). The descriptor is closed with all that have no place.
fn write_oom_score(text: &CString) -> Result<(), Failure> {
    let path = pointer(c"/proc/self/oom_score_adj".as_ptr());
    let (here, flags) = (i64::from(libc::AT_FDCWD), i64::from(libc::O_WRONLY));
    let file = call(RLIMIT, OOM_SCORE, libc::SYS_openat, [here, path, flags, 0])?;
    let length = i64::try_from(text.count_bytes()).unwrap_or(0);
    call(RLIMIT, OOM_SCORE, libc::SYS_write, [file, pointer(text.as_ptr()), length, 0]).map(drop)
}

/// Puts every descriptor at its number and closes all others.
fn place(descriptors: &[Placement]) -> Result<(), Failure> {
    let mut free_from: i64 = 0;
    for placement in descriptors {
        let target = i64::from(placement.target);
        let subject = u64::try_from(target).unwrap_or(0);
        call(DESCRIPTORS, subject, libc::SYS_dup3, [i64::from(placement.source), target, 0, 0])?;
    }
    for placement in descriptors {
        let target = i64::from(placement.target);
        if target > free_from {
            call(DESCRIPTORS, 0, libc::SYS_close_range, [free_from, target - 1, 0, 0])?;
        }
        free_from = target + 1;
    }
    call(DESCRIPTORS, 0, libc::SYS_close_range, [free_from, i64::from(u32::MAX), 0, 0]).map(drop)
}

/// An empty mask. Every signal has its default action already: the core has seen to that at its start.
fn unblock_signals() {
    let none: u64 = 0;
    let set = pointer(&raw const none);
    let how = i64::from(libc::SIG_SETMASK);
    let _ = call(SESSION, 0, libc::SYS_rt_sigprocmask, [how, set, 0, SIGSET_BYTES]);
}

/// Tries the programs in order as execvpe(3) does: one that may not be executed is remembered, one that is not there
/// is passed over. Gives errno.
fn exec(orders: &Orders<'_>) -> i32 {
    let mut verdict = libc::ENOENT;
    for program in &orders.plan.programs {
        let arguments = [pointer(program.as_ptr()), pointer(orders.argv.as_ptr()), pointer(orders.env.as_ptr()), 0];
        match call(EXEC, 0, libc::SYS_execve, arguments) {
            Err((_, _, libc::EACCES)) => verdict = libc::EACCES,
            Err((_, _, libc::ENOENT | libc::ENOTDIR)) => {}
            Err((_, _, errno)) => return errno,
            Ok(_) => return 0,
        }
    }
    verdict
}

#[allow(clippy::as_conversions, reason = "an address as a system call argument")]
fn pointer<T>(value: *const T) -> i64 {
    value as i64
}

fn call(step: u64, subject: u64, number: libc::c_long, arguments: [i64; 4]) -> Result<i64, Failure> {
    let [a, b, c, d] = arguments;
    // SAFETY: the callers pass numbers, or addresses of objects that outlive the call and that the system only reads.
    let result = unsafe { libc::syscall(number, a, b, c, d, NOTHING) };
    if result >= 0 {
        return Ok(result);
    }
    // SAFETY: errno belongs to the one thread of parent and child, and the parent waits.
    let errno = unsafe { *libc::__errno_location() };
    Err((step, subject, errno))
}
