//! Shared words: a piece of the state file as a slice of atomics.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::AtomicU64;

/// Maps `bytes` of `file` from `offset` on, shared and writable, for the rest of the process's life. The range must
/// have been allocated (fallocate(2)), so that touching it cannot fail for want of space. Both numbers are multiples
/// of the page size.
pub fn map_words(file: BorrowedFd<'_>, offset: u64, bytes: usize) -> io::Result<&'static [AtomicU64]> {
    let offset = libc::off_t::try_from(offset).map_err(|_too_large| io::ErrorKind::InvalidInput)?;
    // SAFETY: a new mapping at an address of the system's choice touches nothing that exists.
    let address = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            bytes,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED,
            file.as_raw_fd(),
            offset,
        )
    };
    if address == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the mapping is page aligned, `bytes` long, never unmapped, and accessed only through atomics; any bit
    // pattern is a valid u64.
    Ok(unsafe { std::slice::from_raw_parts(address.cast::<AtomicU64>(), bytes / 8) })
}
