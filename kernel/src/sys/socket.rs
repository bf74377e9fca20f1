//! Socket options and requests that rustix does not know.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Bytes that were sent and that the other side has not read yet; over TCP, not acknowledged yet (`SIOCOUTQ`: unix(7),
/// tcp(7)).
pub fn unread_bytes(socket: BorrowedFd<'_>) -> io::Result<u64> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the request writes one int.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if result == 0 { Ok(u64::try_from(bytes).unwrap_or(0)) } else { Err(io::Error::last_os_error()) }
}

/// `SO_BINDTODEVICE` (socket(7)).
pub fn bind_to_device(socket: BorrowedFd<'_>, device: &str) -> io::Result<()> {
    let length = libc::socklen_t::try_from(device.len()).map_err(|_long| io::ErrorKind::InvalidInput)?;
    // SAFETY: the option's value is `length` readable bytes.
    let result = unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_BINDTODEVICE, device.as_ptr().cast(), length)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
