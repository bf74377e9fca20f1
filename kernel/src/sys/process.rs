//! Ends of processes: waitid(2) with resource usage, pidfds.

use ringmaster_protocol::message::{ExitStatus, Rusage};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};

/// A child that has ended and is still a zombie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// Which.
    pub pid: i32,
    /// How.
    pub status: ExitStatus,
    /// What it used.
    pub rusage: Rusage,
}

/// One ended child, whichever; it stays a zombie. `None`: there is none.
pub fn wait_any_peek() -> Option<Ended> {
    waitid(libc::P_ALL, 0, libc::WEXITED | libc::WNOHANG | libc::WNOWAIT)
}

/// Whether child `pid` has been stopped by a signal and not continued.
pub fn stopped(pid: i32) -> bool {
    let id = libc::id_t::try_from(pid).unwrap_or(0);
    waitid(libc::P_PID, id, libc::WSTOPPED | libc::WNOHANG | libc::WNOWAIT).is_some()
}

/// Takes a zombie away.
pub fn reap(pid: i32) {
    if let Ok(id) = libc::id_t::try_from(pid) {
        waitid(libc::P_PID, id, libc::WEXITED | libc::WNOHANG);
    }
}

fn waitid(kind: libc::idtype_t, id: libc::id_t, options: i32) -> Option<Ended> {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the raw call takes rusage as its fifth argument (the C wrapper hides it); both buffers are writable.
    let result = unsafe {
        libc::syscall(
            libc::SYS_waitid,
            libc::c_long::from(kind),
            libc::c_long::from(id),
            info.as_mut_ptr(),
            libc::c_long::from(options),
            usage.as_mut_ptr(),
        )
    };
    if result != 0 {
        return None;
    }
    // SAFETY: both were zeroed, which is valid for them, and then possibly filled by the system.
    let (info, usage) = unsafe { (info.assume_init(), usage.assume_init()) };
    // SAFETY: waitid fills the fields of SIGCHLD; all zero when no child has changed.
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    if pid == 0 {
        return None;
    }
    let status = match info.si_code {
        libc::CLD_EXITED => ExitStatus::Code(status),
        libc::CLD_KILLED | libc::CLD_DUMPED => ExitStatus::Signal(status),
        _ => ExitStatus::Unknown,
    };
    Some(Ended { pid, status, rusage: rusage(&usage) })
}

fn rusage(usage: &libc::rusage) -> Rusage {
    let micros = |time: libc::timeval| {
        let whole = u64::try_from(time.tv_sec).unwrap_or(0).saturating_mul(1_000_000);
        whole.saturating_add(u64::try_from(time.tv_usec).unwrap_or(0))
    };
    Rusage {
        user_us: micros(usage.ru_utime),
        system_us: micros(usage.ru_stime),
        max_rss_kib: u64::try_from(usage.ru_maxrss).unwrap_or(0),
    }
}

/// Sends any signal, real-time ones included, through a pidfd; 0 only looks.
pub fn pidfd_signal(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    // SAFETY: the call takes numbers and a null pointer.
    let result = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            libc::c_long::from(pidfd.as_raw_fd()),
            libc::c_long::from(signal),
            std::ptr::null::<libc::siginfo_t>(),
            libc::c_long::from(0),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// `struct pidfd_info` of linux/pidfd.h, first published size (64 bytes).
#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    mask: u64,
    cgroupid: u64,
    pid: u32,
    tgid: u32,
    ppid: u32,
    ids: [u32; 8],
    exit_code: i32,
}

/// `PIDFD_INFO_EXIT` (Linux 6.15).
const INFO_EXIT: u64 = 1 << 3;

/// `_IOWR(0xFF, 11, struct pidfd_info)` with the size above.
const PIDFD_GET_INFO: libc::c_ulong = 0xC040_FF0B;

const _: () = assert!(size_of::<PidfdInfo>() == 64);

/// How the process of a pidfd ended, once somebody has reaped it; for those whose parent we are not. `None`: it is not
/// reaped, nobody kept a pidfd, or this Linux is older than 6.15.
pub fn exit_of_pidfd(pidfd: BorrowedFd<'_>) -> Option<ExitStatus> {
    let info = pidfd_info(pidfd)?;
    if info.mask & INFO_EXIT == 0 {
        return None;
    }
    let status = info.exit_code;
    if libc::WIFEXITED(status) {
        Some(ExitStatus::Code(libc::WEXITSTATUS(status)))
    } else if libc::WIFSIGNALED(status) {
        Some(ExitStatus::Signal(libc::WTERMSIG(status)))
    } else {
        Some(ExitStatus::Unknown)
    }
}

/// What a descriptor says of the process that it stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    /// A process that lives or waits to be reaped.
    Process {
        /// Its pid.
        pid: i32,
        /// Its parent's.
        parent: i32,
    },
    /// One that has been reaped.
    Reaped,
    /// It is no pidfd, or this Linux (before 6.13) does not say.
    Unknown,
}

/// Which process a pidfd stands for.
pub fn pidfd_holds(pidfd: BorrowedFd<'_>) -> Holds {
    match pidfd_info(pidfd) {
        Some(info) if info.mask & INFO_PID != 0 => {
            let number = |pid| i32::try_from(pid).unwrap_or(0);
            Holds::Process { pid: number(info.pid), parent: number(info.ppid) }
        }
        Some(_) => Holds::Reaped,
        None if io::Error::last_os_error().raw_os_error() == Some(libc::ESRCH) => Holds::Reaped,
        None => Holds::Unknown,
    }
}

/// `PIDFD_INFO_PID` (Linux 6.13).
const INFO_PID: u64 = 1;

fn pidfd_info(pidfd: BorrowedFd<'_>) -> Option<PidfdInfo> {
    let mut info = PidfdInfo { mask: INFO_PID | INFO_EXIT, ..PidfdInfo::default() };
    // SAFETY: the request number carries the structure's size; the system writes no more than that.
    let result = unsafe { libc::ioctl(pidfd.as_raw_fd(), PIDFD_GET_INFO, &raw mut info) };
    (result == 0).then_some(info)
}
