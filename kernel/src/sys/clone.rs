//! Making a process: clone3(2) on a stack of its own, with the result words in shared state (docs/adr/0002-spawn.md).

use super::child::{Orders, Plan, child_main};
use std::arch::asm;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes of the child's stack: its deepest path is a few hundred bytes; four pages leave room for debug builds.
const STACK: usize = 64 << 10;

/// The stack on which children run until they exec. One is enough, because the parent waits for each.
pub struct SpawnStack {
    base: *mut libc::c_void,
}

impl SpawnStack {
    /// Maps the stack, with a page below it that faults.
    pub fn new() -> io::Result<Self> {
        // SAFETY: a new private mapping touches nothing that exists.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                STACK,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK,
                -1,
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the first page of the mapping made above.
        unsafe { libc::mprotect(base, 4096, libc::PROT_NONE) };
        Ok(Self { base })
    }
}

impl Drop for SpawnStack {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `new` with this size; no child runs on it, because `spawn` returns only
        // when the child has left it.
        unsafe { libc::munmap(self.base, STACK) };
    }
}

/// Where the system and the child write what happened. All three lie in the slot of the process, so that "made" and
/// "recorded" are one act.
pub struct ResultWords<'a> {
    /// The pid, written by the system before the child runs (`CLONE_PARENT_SETTID`).
    pub pid: &'a AtomicU64,
    /// The pidfd's number.
    pub pidfd: &'a AtomicU64,
    /// 0, or what kept the child from its program: step + 1 in the top byte, its subject in the next three, errno in
    /// the low half.
    pub failure: &'a AtomicU64,
}

/// The system's argument of clone3(2), as Linux 5.7 has it.
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// `CLONE_INTO_CGROUP` of linux/sched.h (Linux 5.7); it does not fit the C library's type.
const CLONE_INTO_CGROUP: u64 = 1 << 33;

/// Whose child a process becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parent {
    /// Ours.
    Us,
    /// Our parent's (`CLONE_PARENT`: it has our own exit signal).
    Ours,
}

/// Where a process belongs.
#[derive(Debug, Clone, Copy)]
pub struct Kin<'a> {
    /// Whose child it is.
    pub parent: Parent,
    /// The directory of its cgroup; `None`: ours.
    pub group: Option<BorrowedFd<'a>>,
}

/// Makes a process and returns when it has become its program or failed to. `Err` is clone3's own failure; what happened
/// after that is in the words. Gives the pid and the pidfd (close-on-exec by nature).
pub fn spawn(
    stack: &mut SpawnStack,
    plan: &Plan,
    words: &ResultWords<'_>,
    kin: &Kin<'_>,
) -> io::Result<(i32, OwnedFd)> {
    let argv = pointers(&plan.argv);
    let env = pointers(&plan.env);
    let orders = Orders { plan, argv: &argv, env: &env, failure: words.failure };
    for word in [words.pid, words.pidfd, words.failure] {
        word.store(0, Ordering::Release);
    }
    let table = if plan.table_end.is_some() { libc::CLONE_FILES } else { 0 };
    let result_words = libc::CLONE_PIDFD | libc::CLONE_PARENT_SETTID;
    let (parent, exit_signal) = match kin.parent {
        Parent::Us => (0, libc::SIGCHLD),
        Parent::Ours => (libc::CLONE_PARENT, 0),
    };
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | parent | result_words | table;
    let flags = u64::try_from(flags).unwrap_or(0);
    let arguments = CloneArgs {
        flags: if kin.group.is_some() { flags | CLONE_INTO_CGROUP } else { flags },
        exit_signal: u64::try_from(exit_signal).unwrap_or(0),
        cgroup: kin.group.and_then(|group| u64::try_from(group.as_raw_fd()).ok()).unwrap_or(0),
        pidfd: address(words.pidfd.as_ptr()),
        parent_tid: address(words.pid.as_ptr()),
        stack: address(stack.base),
        stack_size: u64::try_from(STACK).unwrap_or(0),
        ..CloneArgs::default()
    };
    // SAFETY: the stack is ours alone (`&mut`) until the child has left it; `orders` and all that it refers to live in
    // this frame, which the system suspends until the child exec's or ends; signals are blocked, so that no handler runs
    // in the child.
    let result = unsafe { clone3(&raw const arguments, (&raw const orders).cast()) };
    if result < 0 {
        return Err(io::Error::from_raw_os_error(i32::try_from(-result).unwrap_or(libc::EINVAL)));
    }
    let pid = i32::try_from(result).unwrap_or(0);
    let number = RawFd::try_from(words.pidfd.load(Ordering::Acquire) & 0xffff_ffff).unwrap_or(-1);
    // SAFETY: the system has just made this descriptor and stored its number; nobody else owns it.
    Ok((pid, unsafe { OwnedFd::from_raw_fd(number) }))
}

pub(super) fn pointers(texts: &[CString]) -> Vec<*const libc::c_char> {
    texts.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect()
}

#[allow(clippy::as_conversions, reason = "an address in a system call's structure")]
fn address<T>(value: *mut T) -> u64 {
    value as u64
}

/// A function's address, for the child's only call.
const CHILD_MAIN: extern "C" fn(*const libc::c_void) -> ! = child_main;

/// The call itself. In the child it runs [`child_main`] on the new stack and never comes back; the C library's `syscall`
/// cannot be used because its return address is on the old stack.
///
/// # Safety
/// As described in [`spawn`].
#[cfg(target_arch = "x86_64")]
unsafe fn clone3(arguments: *const CloneArgs, orders: *const libc::c_void) -> i64 {
    let result: i64;
    // SAFETY: the registers that `syscall` destroys are declared; the child's path ends in a function that never
    // returns, on a stack aligned to 16 bytes.
    unsafe {
        asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r13",
            "call r12",
            "ud2",
            "2:",
            inlateout("rax") libc::SYS_clone3 => result,
            in("rdi") arguments,
            in("rsi") size_of::<CloneArgs>(),
            in("r12") CHILD_MAIN,
            in("r13") orders,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    result
}

/// As above.
///
/// # Safety
/// As described in [`spawn`].
#[cfg(target_arch = "aarch64")]
unsafe fn clone3(arguments: *const CloneArgs, orders: *const libc::c_void) -> i64 {
    let result: i64;
    // SAFETY: `svc` destroys x0 only; the child's path ends in a function that never returns.
    unsafe {
        asm!(
            "svc #0",
            "cbnz x0, 2f",
            "mov x29, xzr",
            "mov x0, x21",
            "blr x20",
            "brk #1",
            "2:",
            in("x8") libc::SYS_clone3,
            inlateout("x0") arguments => result,
            in("x1") size_of::<CloneArgs>(),
            in("x20") CHILD_MAIN,
            in("x21") orders,
        );
    }
    result
}
