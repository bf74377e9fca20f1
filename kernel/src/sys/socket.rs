//! Socket options that rustix does not know.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// `SO_BINDTODEVICE` (socket(7)).
pub fn bind_to_device(socket: BorrowedFd<'_>, device: &str) -> io::Result<()> {
    let length = libc::socklen_t::try_from(device.len()).map_err(|_long| io::ErrorKind::InvalidInput)?;
    // SAFETY: the option's value is `length` readable bytes.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_BINDTODEVICE,
            device.as_ptr().cast(),
            length,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
