//! Signals of the core itself: all blocked, the few that matter read from a descriptor.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

fn full_set() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigfillset initialises the whole set.
    unsafe {
        libc::sigfillset(set.as_mut_ptr());
        set.assume_init()
    }
}

/// Blocks every signal that can be blocked; children unblock them between clone and exec.
pub fn block_all() -> io::Result<()> {
    let set = full_set();
    // SAFETY: `set` is initialised; the old mask is not asked for.
    let result = unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut()) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Signals of Linux.
const LAST_SIGNAL: libc::c_long = 64;
/// `_NSIG / 8`: bytes of the system's signal set.
const SIGSET_BYTES: libc::c_long = 8;

/// The system's `struct sigaction`; all zero is `SIG_DFL` with no flags on every architecture.
#[repr(C)]
struct KernelSigaction([u64; 4]);

/// Default action for every signal, also for those that were ignored before (SIGPIPE by Rust's runtime, any other by
/// whoever started us). Children inherit it, so that they have only their mask to empty. Called while all are blocked.
pub fn default_all() {
    let default = KernelSigaction([0; 4]);
    for signal in 1..=LAST_SIGNAL {
        // SAFETY: the raw call reads one structure that outlives it and writes nothing. The C library's wrapper refuses
        // two signals that it uses for threads, which we do not have. SIGKILL and SIGSTOP answer EINVAL.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                &raw const default,
                std::ptr::null::<KernelSigaction>(),
                SIGSET_BYTES,
            )
        };
    }
}

/// A descriptor that becomes readable when one of `signals` is pending (signalfd(2)).
pub fn signal_queue(signals: &[i32]) -> io::Result<OwnedFd> {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigemptyset initialises the set before sigaddset and signalfd read it.
    let fd = unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for signal in signals {
            libc::sigaddset(set.as_mut_ptr(), *signal);
        }
        libc::signalfd(-1, set.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The number of the next pending signal; `None` when there is none.
pub fn take_signal(queue: BorrowedFd<'_>) -> Option<i32> {
    let mut info = MaybeUninit::<libc::signalfd_siginfo>::uninit();
    let size = size_of::<libc::signalfd_siginfo>();
    // SAFETY: the buffer has `size` writable bytes.
    let got = unsafe { libc::read(queue.as_raw_fd(), info.as_mut_ptr().cast(), size) };
    if usize::try_from(got) != Ok(size) {
        return None;
    }
    // SAFETY: signalfd filled the whole structure.
    let info = unsafe { info.assume_init() };
    i32::try_from(info.ssi_signo).ok()
}

/// Takes one of `signals`, all of which are blocked, and waits for it at most until the timeout (sigtimedwait(2)). `None`: none
/// came.
pub fn wait_signal(signals: &[i32], timeout: Option<Duration>) -> Option<i32> {
    let mut set = MaybeUninit::uninit();
    let timeout = timeout.map(|time| libc::timespec {
        tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(time.subsec_nanos()),
    });
    // SAFETY: sigemptyset initialises the set before it is read; a null pointer means no timeout.
    let signal = unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for signal in signals {
            libc::sigaddset(set.as_mut_ptr(), *signal);
        }
        libc::sigtimedwait(
            set.as_ptr(),
            std::ptr::null_mut(),
            timeout.as_ref().map_or(std::ptr::null(), std::ptr::from_ref),
        )
    };
    (signal > 0).then_some(signal)
}

/// SIGALRM ends this process, although all other signals are blocked.
pub fn let_alarm_kill() -> io::Result<()> {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigemptyset initialises the set before it is read; the old mask is not asked for.
    let result = unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), libc::SIGALRM);
        libc::sigprocmask(libc::SIG_UNBLOCK, set.as_ptr(), std::ptr::null_mut())
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Asks for SIGALRM in so many seconds; 0: not at all (alarm(2)).
pub fn alarm(seconds: u32) {
    // SAFETY: sets a timer of this process and touches no memory.
    unsafe { libc::alarm(seconds) };
}
