//! Our own table of descriptors, by numbers: what another process of ours left in it.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// The numbers in use (proc(5), `/proc/self/fd`), without the one that reads them.
pub fn open_numbers() -> io::Result<Vec<RawFd>> {
    let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
    let folder = rustix::fs::open("/proc/self/fd", flags, rustix::fs::Mode::empty())?;
    let own = folder.as_raw_fd();
    let mut numbers = Vec::new();
    for entry in rustix::fs::Dir::new(folder)? {
        numbers.extend(entry?.file_name().to_str().ok().and_then(|name| name.parse::<RawFd>().ok()));
    }
    numbers.retain(|number| *number != own);
    Ok(numbers)
}

/// Takes over a number that nobody else in this process holds; `None` when it is not open. The caller vouches that no
/// other value of this program owns it: it was left by a process that is gone, or handed over by our own command line.
pub fn inherited(number: RawFd) -> Option<OwnedFd> {
    // SAFETY: fcntl(2) with F_GETFD only looks.
    let open = unsafe { libc::fcntl(number, libc::F_GETFD) } >= 0;
    // SAFETY: the number is open, and by the caller's word nobody else owns it.
    open.then(|| unsafe { OwnedFd::from_raw_fd(number) })
}

/// Lets a descriptor stay open across execve(2), or not.
pub fn keep_across_exec(number: RawFd, keep: bool) {
    let flags = if keep { 0 } else { libc::FD_CLOEXEC };
    // SAFETY: fcntl(2) with F_SETFD changes a flag of a descriptor; one that is not open answers EBADF.
    unsafe { libc::fcntl(number, libc::F_SETFD, flags) };
}
