//! fork(2) for `--daemonize`, before anything else exists in the process.

use std::io;

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
