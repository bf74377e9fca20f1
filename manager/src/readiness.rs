//! Waiting for a descriptor to become readable, in the loop: a socket of the core, a pidfd.

use std::io;
use std::os::fd::OwnedFd;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Has the loop wait for it.
///
/// # Errors
/// The system has no room for it.
#[allow(
    deprecated,
    reason = "its successor is unsafe for the sake of types that lie about their descriptor; OwnedFd does not"
)]
pub fn watched(file: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(file, Interest::READABLE)
}
