//! Free loopback ports.

use anyhow::{Result, bail};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the range that the system gives to outgoing connections (32768 by default), so that none of those takes a port
/// between our look and the use; above what services of a developer's machine use.
const FIRST: u16 = 21_000;
/// Size of the range.
const COUNT: u16 = 10_000;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// A port of 127.0.0.1 on which nobody listens. Two calls in one process never give the same; two test programs at the
/// same time begin at different places.
pub fn free_port() -> Result<u16> {
    let start = u16::try_from(std::process::id() * 97 % u32::from(COUNT))?;
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + (start + step % COUNT) % COUNT;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no free port between {FIRST} and {}", FIRST + COUNT)
}
