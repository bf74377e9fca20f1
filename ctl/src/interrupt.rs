//! The signals that end a wait: SIGINT, SIGTERM, SIGHUP.
//!
//! They are caught so that a tunnel is taken down and an interactive `listen` comes back to its prompt. Once caught,
//! the operating system no longer ends the process by itself: whoever waits has to wait for them, too.

use std::future::pending;
use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The three signals, caught.
#[derive(Debug)]
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    /// Catches them from now on. Needs a runtime around it.
    ///
    /// # Errors
    /// When the operating system does not let us.
    pub fn catch() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Ends at the first of them that came since [`catch`](Self::catch) or since the last call.
    pub async fn any(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}

/// Ends at the first of the three signals from this call on, also one that comes before somebody waits. Where they cannot be caught,
/// never: then they still end the process. Needs a runtime around it.
pub fn signalled() -> impl Future<Output = ()> {
    let signals = Signals::catch();
    async {
        match signals {
            Ok(mut signals) => signals.any().await,
            Err(_) => pending().await,
        }
    }
}
