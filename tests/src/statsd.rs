//! A statsd server of a test: what was sent to a UDP port.

use crate::wait::{NotYet, wait_until};
use anyhow::Result;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

/// Datagrams that are read at once, so that one look at a chatty sender ends.
const AT_ONCE: usize = 10_000;

/// The server.
#[derive(Debug)]
pub struct StatsdServer {
    socket: UdpSocket,
    seen: Vec<String>,
}

impl StatsdServer {
    /// Listens on a free port of the loopback address.
    pub fn start() -> Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, seen: Vec::new() })
    }

    /// The lines of a plugin's section that lead here.
    pub fn settings(&self) -> Result<String> {
        Ok(format!("host = 127.0.0.1\nport = {}\n", self.socket.local_addr()?.port()))
    }

    /// Everything that has arrived since the start or the last [`forget`](Self::forget).
    pub fn seen(&mut self) -> &[String] {
        let mut datagram = [0; 4096];
        for _ in 0..AT_ONCE {
            let Ok(length) = self.socket.recv(&mut datagram) else { break };
            let bytes = datagram.get(..length).unwrap_or_default();
            self.seen.push(String::from_utf8_lossy(bytes).into_owned());
        }
        &self.seen
    }

    /// How many have arrived that begin so.
    pub fn count(&mut self, start: &str) -> usize {
        self.seen().iter().filter(|line| line.starts_with(start)).count()
    }

    /// Forgets what has arrived.
    pub fn forget(&mut self) {
        self.seen();
        self.seen.clear();
    }

    /// Waits until for each of `starts` a datagram has arrived that begins so; `meanwhile` is done before each look.
    pub fn await_all(&mut self, limit: Duration, starts: &[&str], mut meanwhile: impl FnMut()) -> Result<()> {
        wait_until(limit, "statsd is told everything", || {
            meanwhile();
            let missing: Vec<&&str> = starts.iter().filter(|start| self.count(start) == 0).collect();
            if missing.is_empty() {
                return Ok(());
            }
            let mut kinds: Vec<&str> = self.seen.iter().filter_map(|line| line.split(':').next()).collect();
            kinds.sort_unstable();
            kinds.dedup();
            Err(NotYet::from(format!("missing {missing:?}; there are {kinds:?}")))
        })
    }
}
