//! The control endpoint: a ROUTER that takes requests and sends replies (spec c.1).
//!
//! Each client's task reads, and writes requests into the manager's bounded channel; when that is full, or the client
//! has too many requests in flight, it does not read. Replies go from the manager straight to the client's socket.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;

use super::acceptor::Endpoint;
use super::limits;
use super::link::{Ended, Event, Link};
use super::listening::Listening;
use super::outbox::{Offered, Outgoing};
use super::peers::Owes;
use super::shared::{Profile, Shared};
use super::statistics::Statistics;
use super::zmtp::{Continuation, FrameKind, Message, Role, encode_header};
use super::{ClientId, ControlServer, Delivery};

/// A request: one message of one frame. Drop it, or take the payload out, as soon as it is understood: while it lives
/// it counts against its client's [`limits::REQUESTS_IN_FLIGHT`] and against [`limits::QUEUED_REQUEST_BYTES`].
#[derive(Debug)]
pub struct ControlRequest {
    /// Whom to answer.
    pub from: ClientId,
    /// The bytes of the frame, not looked at.
    pub payload: Bytes,
    /// When it was read.
    pub arrived: std::time::Instant,
    /// Its place in the queue; given back when dropped.
    _place: Option<Place>,
}

/// What a waiting request occupies.
#[derive(Debug)]
struct Place {
    _turn: OwnedSemaphorePermit,
    _bytes: OwnedSemaphorePermit,
}

/// A running control endpoint. Dropping it closes every connection at once.
#[derive(Debug)]
pub struct ControlHandle {
    endpoint: Endpoint<()>,
}

/// Serves requests from an already listening socket, which is not closed for others who hold it and whose path is
/// never removed. Requests of one client keep their order.
///
/// # Errors
/// Called outside a tokio runtime, or the runtime cannot register the socket.
pub fn serve_control(listener: Listening, requests: mpsc::Sender<ControlRequest>) -> io::Result<ControlHandle> {
    let profile = Profile { role: Role::Router, messages: limits::CONTROL_MESSAGES, backlog: limits::CONTROL_BACKLOG };
    let room = Arc::new(Semaphore::new(limits::QUEUED_REQUEST_BYTES));
    let endpoint = Endpoint::start(listener, profile, move |shared, link, id| {
        let queue = Queue { requests: requests.clone(), room: Arc::clone(&room) };
        serve_client(shared, link, id, queue)
    })?;
    Ok(ControlHandle { endpoint })
}

/// The way to the manager.
struct Queue {
    requests: mpsc::Sender<ControlRequest>,
    room: Arc<Semaphore>,
}

async fn serve_client(shared: Arc<Shared<()>>, mut link: Link<()>, from: ClientId, queue: Queue) -> Ended {
    let turns = Arc::new(Semaphore::new(limits::REQUESTS_IN_FLIGHT));
    loop {
        let message = match link.next().await {
            Ok(Event::Message(message)) => message,
            Ok(Event::Subscribe(_) | Event::Cancel(_)) => continue,
            Err(ended) => return ended,
        };
        shared.counters.received.count();
        shared.peers.lock().heard(from, Owes::Answer);
        let Message { first: payload, rest } = message;
        if !rest.is_empty() {
            shared.counters.misshapen.count();
            tracing::warn!("{from}: message of {} frames dropped, expected one frame", rest.len() + 1);
            continue;
        }
        let arrived = std::time::Instant::now();
        let Some(place) = queue.place(&turns, payload.len()).await else {
            return Ended::Closing;
        };
        let request = ControlRequest { from, payload, arrived, _place: Some(place) };
        if queue.requests.send(request).await.is_err() {
            return Ended::Closing;
        }
    }
}

impl Queue {
    /// Waits for a turn of this client and for room among the requests of all; `None` when there is no queue any more.
    async fn place(&self, turns: &Arc<Semaphore>, bytes: usize) -> Option<Place> {
        let turn = Arc::clone(turns).acquire_owned().await.ok()?;
        let bytes = u32::try_from(bytes).ok()?;
        let bytes = Arc::clone(&self.room).acquire_many_owned(bytes).await.ok()?;
        Some(Place { _turn: turn, _bytes: bytes })
    }
}

impl ControlRequest {
    /// A request that did not come through an endpoint and occupies no place in its queue.
    #[must_use]
    pub fn new(from: ClientId, payload: Bytes) -> Self {
        Self { from, payload, arrived: std::time::Instant::now(), _place: None }
    }
}

impl ControlHandle {
    /// Sends one reply, without waiting. A client that leaves more than [`limits::CONTROL_BACKLOG`] unread is closed.
    pub fn reply(&self, to: ClientId, payload: Vec<u8>) -> Delivery {
        let shared = self.endpoint.shared();
        let mut head = Vec::with_capacity(9);
        encode_header(FrameKind::Message(Continuation::Last), payload.len(), &mut head);
        let message = Outgoing { head: head.into(), body: payload.into() };
        let offered = match shared.peers.lock().answered(to) {
            Some(peer) => peer.outbox.offer(message),
            None => Offered::Closed,
        };
        if let Offered::Written | Offered::Queued | Offered::Overdrawn = offered {
            shared.counters.sent.count();
        }
        match offered {
            Offered::Written => Delivery::Written,
            Offered::Queued => Delivery::Queued,
            Offered::Closed => Delivery::Gone,
            Offered::Overdrawn => {
                shared.relieve();
                // It may be this client that had to go.
                if shared.peers.lock().get(to).is_some() { Delivery::Queued } else { Delivery::Cut }
            }
            Offered::Full => {
                shared.counters.cut.count();
                tracing::warn!("{to} closed: it does not read its replies");
                shared.peers.cut(to);
                Delivery::Cut
            }
        }
    }

    /// A snapshot of the counters.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        self.endpoint.shared().statistics()
    }

    /// Stops accepting and reading, sends every queued reply, and waits until each client has received them and closed
    /// its end, or until the deadline. Returns the number of connections that were not finished by then.
    pub async fn flush_and_close(self, deadline: Instant) -> usize {
        self.endpoint.flush_and_close(deadline).await
    }
}

impl ControlServer for ControlHandle {
    fn reply(&self, to: ClientId, payload: Vec<u8>) -> Delivery {
        Self::reply(self, to, payload)
    }
}
