//! Our own table of descriptors, by numbers: what another process of ours left in it.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

/// The numbers in use. The table's size (proc(5), `FDSize` in `/proc/self/status`) bounds them; asking for each is several
/// times as fast as reading the folder of them.
pub fn open_numbers() -> io::Result<Vec<RawFd>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let size = status.lines().find_map(|line| line.strip_prefix("FDSize:")).and_then(|size| size.trim().parse().ok());
    let size: RawFd = size.ok_or(io::ErrorKind::InvalidData)?;
    Ok((0..size).filter(|number| is_open(*number)).collect())
}

fn is_open(number: RawFd) -> bool {
    // SAFETY: fcntl(2) with F_GETFD only looks.
    unsafe { libc::fcntl(number, libc::F_GETFD) >= 0 }
}

/// Takes over a number that nobody else in this process holds; `None` when it is not open. The caller vouches that no
/// other value of this program owns it: it was left by a process that is gone, or handed over by our own command line.
pub fn inherited(number: RawFd) -> Option<OwnedFd> {
    // SAFETY: the number is open, and by the caller's word nobody else owns it.
    is_open(number).then(|| unsafe { OwnedFd::from_raw_fd(number) })
}

/// Lets a descriptor stay open across execve(2).
pub fn keep_across_exec(number: RawFd) {
    // SAFETY: fcntl(2) with F_SETFD changes a flag of a descriptor; one that is not open answers EBADF.
    unsafe { libc::fcntl(number, libc::F_SETFD, 0) };
}

/// Lets no descriptor but the first three stay open across execve(2) (close_range(2) with `CLOSE_RANGE_CLOEXEC`, Linux 5.11;
/// before that nothing changes, and every child closes what is not its own anyway).
pub fn close_all_on_exec() {
    // SAFETY: changes flags of descriptors only.
    unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
}
