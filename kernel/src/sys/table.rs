//! Our own table of descriptors, by numbers: what another process of ours left in it.

use std::collections::HashSet;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// Numbers that are asked for by one call: poll(2) takes no more than the limit of open files.
const PORTION: usize = 512;

/// The numbers in use. The table's size (proc(5), `FDSize` in `/proc/self/status`) bounds them; asking for each is several
/// times as fast as reading the folder of them, and asking for many at once several times as fast as that.
pub fn open_numbers() -> io::Result<Vec<RawFd>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let size = status.lines().find_map(|line| line.strip_prefix("FDSize:")).and_then(|size| size.trim().parse().ok());
    let size: RawFd = size.ok_or(io::ErrorKind::InvalidData)?;
    let mut all: Vec<libc::pollfd> = (0..size).map(|fd| libc::pollfd { fd, events: 0, revents: 0 }).collect();
    let answered = all.chunks_mut(PORTION).all(look);
    let shown = |asked: &libc::pollfd| answered && asked.revents & libc::POLLNVAL == 0;
    // A descriptor that is only a path (`O_PATH`) cannot be polled. The system gives the lowest free number, so what is not
    // shown below the highest that is, is rarely a hole.
    let end = if answered { all.iter().rposition(shown).map_or(0, |last| last + 1) } else { all.len() };
    let below = all.iter().take(end);
    Ok(below.filter(|asked| shown(asked) || is_open(asked.fd)).map(|asked| asked.fd).collect())
}

/// Has the system say which of these are open. `false`: it refuses to look at so many.
fn look(portion: &mut [libc::pollfd]) -> bool {
    let count = libc::nfds_t::try_from(portion.len()).unwrap_or(0);
    // SAFETY: the slice has that many entries; asked for no event and with no time to wait, poll(2) only looks.
    unsafe { libc::poll(portion.as_mut_ptr(), count, 0) >= 0 }
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

/// Takes over every open number but those. The caller vouches for them as for [`inherited`].
pub fn inherited_but(kept: &HashSet<RawFd>) -> io::Result<Vec<OwnedFd>> {
    let numbers = open_numbers()?.into_iter().filter(|number| !kept.contains(number));
    // SAFETY: the numbers have just been seen open, and by the caller's word nobody else owns them.
    Ok(numbers.map(|number| unsafe { OwnedFd::from_raw_fd(number) }).collect())
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

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, Mode, OFlags};

    #[test]
    fn every_kind_of_descriptor_is_found() {
        let path = rustix::fs::openat(CWD, "/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
        let (read, write) = rustix::pipe::pipe().unwrap();
        let far = rustix::io::fcntl_dupfd_cloexec(&read, 900).unwrap();
        let found = open_numbers().unwrap();
        for open in [&path, &read, &write, &far] {
            assert!(found.contains(&open.as_raw_fd()), "{open:?} in {found:?}");
        }
        assert!(found.is_sorted());
    }
}
