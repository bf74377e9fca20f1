//! Threads that connect to listening sockets again and again and count who is refused.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use ringmaster_protocol::message::{SocketAddress, SocketInfo, SocketType};

/// Between two connections: fine enough to hit any gap that a person could notice, and no load worth the name.
const PAUSE: Duration = Duration::from_millis(5);

/// A service that is busy lets a connection wait; that is no refusal.
const PATIENCE: Duration = Duration::from_secs(10);

/// Sockets that are tried at the same time; each takes a thread.
const MAX_SOCKETS: usize = 64;

/// How the names of watchers' sockets begin; circusd's own endpoints are none of them.
const PREFIX: &str = "circus.";

/// Where to connect.
#[derive(Debug, Clone)]
enum Target {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl Target {
    fn of(socket: SocketInfo) -> Option<Self> {
        if socket.kind != SocketType::Stream || socket.reuse_port || !socket.name.starts_with(PREFIX) {
            return None;
        }
        match socket.address {
            SocketAddress::Inet(address) => Some(Self::Tcp(SocketAddr::new(near(address.ip()), address.port()))),
            SocketAddress::Unix(path) if path.first().is_some_and(|byte| *byte != 0) => {
                Some(Self::Unix(std::ffi::OsStr::from_bytes(&path).into()))
            }
            SocketAddress::Unix(_) => None,
        }
    }

    fn connect(&self) -> std::io::Result<()> {
        match self {
            Self::Tcp(address) => TcpStream::connect_timeout(address, PATIENCE).map(drop),
            Self::Unix(path) => UnixStream::connect(path).map(drop),
        }
    }
}

/// An address of this host for one that means all of them.
fn near(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(v4) if v4.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(v6) if v6.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        IpAddr::V4(_) | IpAddr::V6(_) => address,
    }
}

#[derive(Debug, Default)]
struct Counters {
    made: AtomicU64,
    refused: AtomicU64,
    over: AtomicBool,
}

/// All threads.
#[derive(Debug)]
pub struct Probers {
    counters: Arc<Counters>,
    threads: Vec<JoinHandle<()>>,
}

impl Probers {
    /// One thread for each stream socket of a watcher that answers now; the others prove nothing.
    pub fn start(sockets: Vec<SocketInfo>) -> Self {
        let counters = Arc::new(Counters::default());
        let targets = sockets.into_iter().filter_map(Target::of).filter(|target| target.connect().is_ok());
        let threads = targets.take(MAX_SOCKETS).map(|target| {
            let counters = counters.clone();
            std::thread::spawn(move || probe(&target, &counters))
        });
        let threads = threads.collect();
        Self { counters, threads }
    }

    /// Ends them; gives how many connections were made and how many were refused.
    pub fn stop(self) -> (u64, u64) {
        self.counters.over.store(true, Ordering::Relaxed);
        for thread in self.threads {
            // A thread that panicked has counted as far as it came.
            let _ = thread.join();
        }
        (self.counters.made.load(Ordering::Relaxed), self.counters.refused.load(Ordering::Relaxed))
    }
}

fn probe(target: &Target, counters: &Counters) {
    while !counters.over.load(Ordering::Relaxed) {
        let counter = if target.connect().is_ok() { &counters.made } else { &counters.refused };
        counter.fetch_add(1, Ordering::Relaxed);
        std::thread::park_timeout(PAUSE);
    }
}
