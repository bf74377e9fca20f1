//! New processes of our own program: to the background, and the kernel half.

use super::clone::pointers;
use std::ffi::CString;
use std::io;
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt;

/// Which side of a fork this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fork {
    /// The starter; the child has that pid.
    Parent(i32),
    /// The new process.
    Child,
}

/// Forks. Called once, while the process has one thread and no lock is held.
pub fn fork() -> io::Result<Fork> {
    // SAFETY: the process is single threaded (the core starts no thread), so the child may run any code.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Fork::Child),
        pid => Ok(Fork::Parent(pid)),
    }
}

/// Forks with one table of descriptors for both (`CLONE_FILES`, clone(2)): what either opens or closes, the other has opened
/// or closed. The child's end is told by SIGCHLD. Called by a process with one thread.
pub fn fork_sharing_files() -> io::Result<Fork> {
    let arguments = [CLONE_FILES, 0, 0, 0, SIGCHLD, 0, 0, 0];
    // SAFETY: without CLONE_VM the child has a copy of this memory and goes on here, like after fork(2); the process has one
    // thread, so no lock is held.
    match unsafe { libc::syscall(libc::SYS_clone3, arguments.as_ptr(), size_of_val(&arguments)) } {
        0 => Ok(Fork::Child),
        failed if failed < 0 => Err(io::Error::last_os_error()),
        pid => Ok(Fork::Parent(i32::try_from(pid).unwrap_or(0))),
    }
}

/// `CLONE_FILES` of linux/sched.h, as clone3(2) takes it.
const CLONE_FILES: u64 = 0x400;

/// The signal of a child's end, as clone3(2) takes it.
const SIGCHLD: u64 = 17;

/// Replaces this process by the program of an open file (execveat(2) with `AT_EMPTY_PATH`), with the environment as it is.
/// Descriptors without close-on-exec stay. Returns only when it fails.
pub fn become_program(program: RawFd, argv: &[CString]) -> io::Error {
    let env: Vec<CString> = std::env::vars_os()
        .filter_map(|(key, value)| CString::new([key.as_bytes(), b"=", value.as_bytes()].concat()).ok())
        .collect();
    let (argv, env) = (pointers(argv), pointers(&env));
    // SAFETY: both lists end with a null pointer and live until the call returns or the memory is gone.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            libc::c_long::from(program),
            c"".as_ptr(),
            argv.as_ptr(),
            env.as_ptr(),
            libc::c_long::from(libc::AT_EMPTY_PATH),
        )
    };
    io::Error::last_os_error()
}
