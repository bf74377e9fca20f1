//! The event endpoint: a PUB that sends `[topic, payload]` to whoever subscribed to a prefix of the topic (spec d).
//!
//! An event is encoded once and shared by all subscribers. One that falls behind keeps what it has been promised and
//! loses new events, whole, until it has read; it never slows others. It is closed only when all subscribers together
//! hold more than [`limits::BACKLOG_POOL`] and it holds the most.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;

use super::acceptor::Endpoint;
use super::limits;
use super::link::{Ended, Event, Link};
use super::listening::Listening;
use super::outbox::{Offered, Outgoing};
use super::peers::{Owes, Peer};
use super::shared::{Profile, Shared};
use super::statistics::Statistics;
use super::zmtp::{Continuation, FrameKind, Role, SubscriptionSet, encode_header};
use super::{ClientId, EventPublisher};

/// What is sent by one system call of many events: what a socket takes at once, and a small part of a backlog.
const PORTION_BYTES: usize = 64 << 10;

/// A running event endpoint. Dropping it closes every connection at once.
#[derive(Debug)]
pub struct PublisherHandle {
    endpoint: Endpoint<SubscriptionSet>,
}

/// Serves subscribers from an already listening socket, which is not closed for others who hold it and whose path is
/// never removed.
///
/// # Errors
/// Called outside a tokio runtime, or the runtime cannot register the socket.
pub fn serve_publisher(listener: Listening) -> io::Result<PublisherHandle> {
    let profile =
        Profile { role: Role::Publisher, messages: limits::PUBLISHER_MESSAGES, backlog: limits::PUBLISHER_BACKLOG };
    Ok(PublisherHandle { endpoint: Endpoint::start(listener, profile, serve_subscriber)? })
}

async fn serve_subscriber(
    shared: Arc<Shared<SubscriptionSet>>,
    mut link: Link<SubscriptionSet>,
    id: ClientId,
) -> Ended {
    loop {
        let event = match link.next().await {
            Ok(event) => event,
            Err(ended) => return ended,
        };
        let mut table = shared.peers.lock();
        table.heard(id, Owes::Nothing);
        let Some(subscriptions) = table.state_mut(id) else {
            return Ended::Closing;
        };
        match event {
            Event::Subscribe(prefix) => {
                if let Err(refused) = subscriptions.subscribe(&prefix) {
                    return refused.into();
                }
            }
            Event::Cancel(prefix) => subscriptions.cancel(&prefix),
            Event::Message(_) => {}
        }
    }
}

impl PublisherHandle {
    /// Sends one event to every subscriber of a prefix of `topic`, without waiting.
    pub fn publish(&self, topic: &str, payload: &[u8]) {
        let shared = self.endpoint.shared();
        let mut encoded: Option<Bytes> = None;
        let mut overdrawn = false;
        for peer in shared.peers.lock().told(|subscriptions| subscriptions.matches(topic.as_bytes())) {
            let event = encoded.get_or_insert_with(|| encode_event(topic, payload)).clone();
            overdrawn |= offer(shared, peer, Portion { events: 1, bytes: event }) == Offered::Overdrawn;
        }
        if overdrawn {
            shared.relieve();
        }
    }

    /// Sends many events in their order, topic and payload each: to every subscriber those of its prefixes, a portion of up to
    /// [`PORTION_BYTES`] in one system call. A subscriber that does not keep up loses whole portions.
    pub fn publish_all(&self, events: &[(String, Vec<u8>)]) {
        let shared = self.endpoint.shared();
        let encoded: Vec<Bytes> = events.iter().map(|(topic, payload)| encode_event(topic, payload)).collect();
        let wants = |subscriptions: &SubscriptionSet, topic: &String| subscriptions.matches(topic.as_bytes());
        let mut overdrawn = false;
        let any = |subscriptions: &SubscriptionSet| events.iter().any(|(topic, _)| wants(subscriptions, topic));
        for peer in shared.peers.lock().told(any) {
            let wanted = events.iter().zip(&encoded).filter(|((topic, _), _)| wants(&peer.state, topic));
            for portion in portions(wanted.map(|(_, event)| event)) {
                overdrawn |= offer(shared, peer, portion) == Offered::Overdrawn;
            }
        }
        if overdrawn {
            shared.relieve();
        }
    }

    /// Number of connections with at least one subscription.
    #[must_use]
    pub fn subscribers(&self) -> usize {
        self.endpoint.shared().peers.lock().iter().filter(|peer| !peer.state.is_empty()).count()
    }

    /// A snapshot of the counters.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        self.endpoint.shared().statistics()
    }

    /// Stops accepting, sends every queued event, and waits until each subscriber has received them and closed its
    /// end, or until the deadline. Returns the number of connections that were not finished by then.
    pub async fn flush_and_close(self, deadline: Instant) -> usize {
        self.endpoint.flush_and_close(deadline).await
    }
}

impl EventPublisher for PublisherHandle {
    fn publish(&self, topic: &str, payload: &[u8]) {
        Self::publish(self, topic, payload);
    }
}

/// Events that are sent together.
struct Portion {
    events: u64,
    bytes: Bytes,
}

/// Puts events together, in their order.
fn portions<'a>(events: impl Iterator<Item = &'a Bytes>) -> Vec<Portion> {
    let mut portions: Vec<(u64, Vec<u8>)> = Vec::new();
    for event in events {
        match portions.last_mut().filter(|(_, bytes)| bytes.len() + event.len() <= PORTION_BYTES) {
            Some((count, bytes)) => {
                *count += 1;
                bytes.extend_from_slice(event);
            }
            None => portions.push((1, event.to_vec())),
        }
    }
    portions.into_iter().map(|(events, bytes)| Portion { events, bytes: bytes.into() }).collect()
}

/// Gives a portion to one subscriber, and counts what becomes of it.
fn offer(shared: &Shared<SubscriptionSet>, peer: &Peer<SubscriptionSet>, portion: Portion) -> Offered {
    let offered = peer.outbox.offer(Outgoing { head: Bytes::new(), body: portion.bytes });
    match offered {
        Offered::Written | Offered::Queued | Offered::Overdrawn => shared.counters.sent.add(portion.events),
        Offered::Full => shared.counters.dropped.add(portion.events),
        Offered::Closed => {}
    }
    offered
}

/// Two frames in one piece.
fn encode_event(topic: &str, payload: &[u8]) -> Bytes {
    let mut event = Vec::with_capacity(topic.len() + payload.len() + 18);
    encode_header(FrameKind::Message(Continuation::More), topic.len(), &mut event);
    event.extend_from_slice(topic.as_bytes());
    encode_header(FrameKind::Message(Continuation::Last), payload.len(), &mut event);
    event.extend_from_slice(payload);
    event.into()
}
