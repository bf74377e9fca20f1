//! Somebody who connects to a service all the time and notices every refusal.

use anyhow::Result;
use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long the service may take to answer one connection.
const ANSWER: Duration = Duration::from_secs(10);

/// What happened to the connections.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Count {
    /// Answered.
    pub served: u64,
    /// Refused by the system: nobody listened.
    pub refused: u64,
    /// Anything else that went wrong.
    pub failed: Vec<String>,
}

/// A running prober.
pub struct Prober {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Count>,
}

impl Prober {
    /// Begins to connect to `port` of 127.0.0.1, again and again; a service is expected to send something.
    pub fn start(port: u16) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut count = Count::default();
            while !flag.load(Ordering::Relaxed) {
                match probe(SocketAddr::from(([127, 0, 0, 1], port))) {
                    Ok(()) => count.served += 1,
                    Err(error) if error.kind() == ErrorKind::ConnectionRefused => count.refused += 1,
                    Err(error) => count.failed.push(error.to_string()),
                }
                std::thread::park_timeout(Duration::from_millis(3));
            }
            count
        });
        Self { stop, thread }
    }

    /// Stops and gives the counts.
    pub fn stop(self) -> Result<Count> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_panic| anyhow::anyhow!("the prober panicked"))
    }
}

fn probe(address: SocketAddr) -> std::io::Result<()> {
    let mut connection = TcpStream::connect_timeout(&address, ANSWER)?;
    connection.set_read_timeout(Some(ANSWER))?;
    let mut answer = [0; 64];
    match connection.read(&mut answer)? {
        0 => Err(std::io::Error::other("closed without an answer")),
        _ => Ok(()),
    }
}
