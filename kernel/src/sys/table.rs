//! Our own table of descriptors, by numbers: what another process of ours left in it.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

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
    let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
    flags >= 0 || io::Error::last_os_error().raw_os_error() != Some(libc::EBADF)
}

/// Takes over a number that nobody else in this process holds; `None` when it is not open. The caller vouches that no
/// other value of this program owns it: it was left by a process that is gone, or handed over by our own command line.
pub fn inherited(number: RawFd) -> Option<OwnedFd> {
    // SAFETY: the number is open, and by the caller's word nobody else owns it.
    is_open(number).then(|| unsafe { OwnedFd::from_raw_fd(number) })
}

/// A descriptor of one's own of what a number stands for.
pub fn copy(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: fcntl(2) makes a new descriptor, or answers EBADF.
    let copy = unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 0) };
    if copy < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is new, and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
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

/// Lets a number that is open mean another descriptor from now on, for all processes that share the table (dup3(2)). The caller
/// vouches that whoever owns the number goes on to want what it stands for.
pub fn replace(number: RawFd, by: &OwnedFd) -> io::Result<()> {
    // SAFETY: the number stays open at any time, so its owner still owns an open descriptor.
    let result = unsafe { libc::dup3(by.as_raw_fd(), number, libc::O_CLOEXEC) };
    if result == number { Ok(()) } else { Err(io::Error::last_os_error()) }
}
