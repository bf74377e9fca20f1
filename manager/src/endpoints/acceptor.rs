//! Accepts connections, takes them through the handshake, and hands them to the server of the endpoint.
//!
//! Never more than [`limits::CONNECTIONS`] at once: a newcomer takes the place of the connection that was quiet the longest.
//! ZMQ clients connect again by themselves when they have something to say. When accept fails for want of descriptors or
//! memory the loop pauses, longer each time, instead of spinning.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::Instant;

use super::ClientId;
use super::limits::{self, ACCEPT_BACKOFF_FIRST, ACCEPT_BACKOFF_LAST};
use super::link::{Ended, Link};
use super::listening::Listening;
use super::peers::Seat;
use super::shared::{Profile, Shared};
use super::stream::Listener;

/// A running endpoint. Dropping it closes every connection; the listening socket stays the core's.
#[derive(Debug)]
pub(super) struct Endpoint<T> {
    shared: Arc<Shared<T>>,
    acceptor: AbortHandle,
}

impl<T: Default + Send + 'static> Endpoint<T> {
    /// Starts to accept. `serve` is called for each connection that is past its handshake, and its future says why
    /// the connection ended.
    ///
    /// # Errors
    /// There is no tokio runtime, or it cannot register the socket.
    pub(super) fn start<S, F>(listening: Listening, profile: Profile, serve: S) -> io::Result<Self>
    where
        S: Fn(Arc<Shared<T>>, Link<T>, ClientId) -> F + Clone + Send + 'static,
        F: Future<Output = Ended> + Send + 'static,
    {
        let runtime = Handle::try_current().map_err(io::Error::other)?;
        let listener = listening.into_tokio()?;
        let shared = Shared::new(profile, runtime);
        let acceptor: JoinHandle<()> = shared.runtime.spawn(accept_loop(listener, Arc::clone(&shared), serve));
        Ok(Self { shared, acceptor: acceptor.abort_handle() })
    }
}

impl<T> Endpoint<T> {
    /// What the connections share.
    pub(super) fn shared(&self) -> &Shared<T> {
        &self.shared
    }

    /// See [`Peers::finish_all`].
    pub(super) async fn flush_and_close(self, deadline: Instant) -> usize {
        self.acceptor.abort();
        self.shared.peers.finish_all(deadline).await
    }
}

impl<T> Drop for Endpoint<T> {
    fn drop(&mut self) {
        self.acceptor.abort();
        self.shared.peers.cut_all();
    }
}

async fn accept_loop<T, S, F>(listener: Listener, shared: Arc<Shared<T>>, serve: S)
where
    T: Default + Send + 'static,
    S: Fn(Arc<Shared<T>>, Link<T>, ClientId) -> F + Clone + Send + 'static,
    F: Future<Output = Ended> + Send + 'static,
{
    let slots = Arc::new(Semaphore::new(limits::CONNECTIONS));
    let mut pause = None;
    loop {
        match listener.accept().await {
            Ok((read, write)) => {
                pause = None;
                let Some(slot) = slot(&slots, &shared).await else {
                    return;
                };
                shared.peers.enter(|seat| {
                    let (link, outbox) = shared.wire(seat.id(), read, write);
                    let connection = run_connection(Arc::clone(&shared), link, seat, serve.clone());
                    let task = shared.runtime.spawn(async move {
                        let _slot = slot;
                        connection.await;
                    });
                    (outbox, task.abort_handle())
                });
            }
            Err(error) => {
                shared.counters.accept_errors.count();
                pause = pause_after(&error, pause);
                if let Some(pause) = pause {
                    tracing::warn!(%error, pause_ms = pause.as_millis(), "cannot accept a connection");
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }
}

/// A place for a newcomer; when all are taken, that of the longest idle. `None`: the endpoint is closing.
async fn slot<T>(slots: &Arc<Semaphore>, shared: &Shared<T>) -> Option<OwnedSemaphorePermit> {
    if let Ok(slot) = Arc::clone(slots).try_acquire_owned() {
        return Some(slot);
    }
    if let Some(id) = shared.peers.cut_longest_idle() {
        shared.counters.cut.count();
        let limit = limits::CONNECTIONS;
        tracing::warn!("{id} closed: it was idle the longest, and a newcomer needs its place ({limit} connections)");
    }
    Arc::clone(slots).acquire_owned().await.ok()
}

/// How long to wait after accept failed: not at all when only that one connection failed (accept(2) passes errors of
/// the connection on), longer and longer when this process or the system is out of something.
pub(super) fn pause_after(error: &io::Error, previous: Option<Duration>) -> Option<Duration> {
    let of_the_connection = matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::Interrupted
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::TimedOut
    );
    if of_the_connection {
        return None;
    }
    let next = previous.map_or(ACCEPT_BACKOFF_FIRST, |previous| previous.saturating_mul(2));
    Some(next.min(ACCEPT_BACKOFF_LAST))
}

async fn run_connection<T, S, F>(shared: Arc<Shared<T>>, mut link: Link<T>, seat: Seat<T>, serve: S)
where
    S: Fn(Arc<Shared<T>>, Link<T>, ClientId) -> F,
    F: Future<Output = Ended>,
{
    let id = seat.id();
    match link.handshake().await {
        Ok(revision) => {
            tracing::debug!("{id} connected, {revision:?}");
            let ended = serve(Arc::clone(&shared), link, id).await;
            shared.report(id, &ended);
        }
        Err(ended) => {
            shared.counters.refused.count();
            tracing::debug!("{id} refused: {ended}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn want_of_descriptors_pauses_longer_each_time() {
        let error = io::Error::from(rustix::io::Errno::MFILE);
        let mut pause = None;
        let mut pauses = Vec::new();
        for _ in 0..7 {
            pause = pause_after(&error, pause);
            pauses.push(pause.unwrap().as_millis());
        }
        assert_eq!(pauses, [50, 100, 200, 400, 800, 1000, 1000]);
    }

    #[test]
    fn a_connection_that_died_in_the_queue_is_no_reason_to_pause() {
        assert_eq!(pause_after(&rustix::io::Errno::CONNABORTED.into(), Some(ACCEPT_BACKOFF_LAST)), None);
    }
}
