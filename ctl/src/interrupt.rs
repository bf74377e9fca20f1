//! The signals that end a wait: SIGINT, SIGTERM, SIGHUP.
//!
//! They are caught so that a tunnel is taken down and an interactive `listen` comes back to its prompt. Once caught,
//! the operating system no longer ends the process by itself: whoever waits has to wait for them, too.

use std::future::pending;
use std::io;

use tokio::signal::unix::{SignalKind, signal};

/// Ends at the first of the three signals from now on. Where they cannot be caught, never: then they still end the process.
pub async fn signalled() {
    if wait().await.is_err() {
        pending().await
    }
}

async fn wait() -> io::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
    Ok(())
}
