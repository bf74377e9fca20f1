//! Capture: pipe to file with the file's offset in shared memory.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::AtomicU64;

/// Moves at most `length` bytes from `pipe` to `file` at the position in `position`, which the system advances in the
/// same call (splice(2)): whatever kills this process, bytes and position agree. `Ok(0)` is the end of the pipe.
pub fn splice_into(
    pipe: BorrowedFd<'_>,
    file: BorrowedFd<'_>,
    position: &AtomicU64,
    length: usize,
) -> io::Result<usize> {
    // SAFETY: `position` is a live, aligned 8-byte word; loff_t has the same size, and atomics allow the system to
    // write to it behind a shared reference.
    let moved = unsafe {
        libc::splice(
            pipe.as_raw_fd(),
            std::ptr::null_mut(),
            file.as_raw_fd(),
            position.as_ptr().cast::<libc::loff_t>(),
            length,
            libc::SPLICE_F_NONBLOCK | libc::SPLICE_F_MOVE,
        )
    };
    usize::try_from(moved).map_err(|_negative| io::Error::last_os_error())
}
