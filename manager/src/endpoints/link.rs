//! Drives one [`Connection`] over one socket: reads, answers for the protocol, hands out what the server needs.
//!
//! Whoever does not call [`Link::next`] does not read, and the peer waits. The only timer is the handshake deadline.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::limits::{HANDSHAKE_DEADLINE, LARGE_READ_CHUNK, READ_CHUNK};
use super::outbox::{Offered, Outbox, Outgoing};
use super::pool::{Balance, Charge};
use super::shared::Shared;
use super::stream::ReadHalf;
use super::zmtp::{Action, CloseReason, Connection, Message, Revision};

/// The receiving side of a connection.
#[derive(Debug)]
pub(super) struct Link<T> {
    read: ReadHalf,
    connection: Connection,
    outbox: Arc<Outbox>,
    partial: Charge,
    shared: Arc<Shared<T>>,
}

/// What a peer sent.
#[derive(Debug)]
pub(super) enum Event {
    /// A whole message.
    Message(Message),
    /// A subscription.
    Subscribe(Bytes),
    /// The end of a subscription.
    Cancel(Bytes),
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    /// The usual end.
    #[error("the peer closed the connection")]
    Peer,
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Broken(#[source] io::Error),
    /// The peer broke the protocol or a limit of it.
    #[error(transparent)]
    Violation(#[from] CloseReason),
    /// The handshake took too long.
    #[error("the handshake was not over within {} s", HANDSHAKE_DEADLINE.as_secs())]
    Deadline,
    /// The peer asks but does not read.
    #[error("the peer does not read what it is sent")]
    Unread,
    /// The peer subscribes to too much.
    #[error(transparent)]
    Subscriptions(#[from] super::zmtp::SubscriptionError),
    /// The server that the connection belongs to is going away.
    #[error("the endpoint is closing")]
    Closing,
}

/// One step: past the handshake, or something for the server.
enum Step {
    Ready(Revision),
    Event(Event),
}

impl<T> Link<T> {
    /// A connection that was just accepted.
    pub(super) fn new(
        read: ReadHalf,
        connection: Connection,
        outbox: Arc<Outbox>,
        partial: Charge,
        shared: Arc<Shared<T>>,
    ) -> Self {
        Self { read, connection, outbox, partial, shared }
    }

    /// Greets, and waits for the end of the handshake.
    ///
    /// # Errors
    /// The peer is not one of ours, or too slow.
    pub(super) async fn handshake(&mut self) -> Result<Revision, Ended> {
        let ready = async {
            loop {
                if let Step::Ready(revision) = self.step().await? {
                    return Ok(revision);
                }
            }
        };
        match tokio::time::timeout(HANDSHAKE_DEADLINE, ready).await {
            Ok(result) => result,
            Err(_elapsed) => Err(Ended::Deadline),
        }
    }

    /// The next thing the peer sends. Safe to cancel: nothing received is lost.
    ///
    /// # Errors
    /// The connection is over.
    pub(super) async fn next(&mut self) -> Result<Event, Ended> {
        loop {
            if let Step::Event(event) = self.step().await? {
                return Ok(event);
            }
        }
    }

    async fn step(&mut self) -> Result<Step, Ended> {
        loop {
            match self.connection.next_action() {
                None => self.receive().await?,
                Some(Action::Send(bytes)) => self.send(bytes)?,
                Some(Action::Ready(revision)) => return Ok(Step::Ready(revision)),
                Some(Action::Message(message)) => return Ok(Step::Event(Event::Message(message))),
                Some(Action::Subscribe(prefix)) => return Ok(Step::Event(Event::Subscribe(prefix))),
                Some(Action::Cancel(prefix)) => return Ok(Step::Event(Event::Cancel(prefix))),
                Some(Action::Close(reason)) => return Err(reason.into()),
            }
        }
    }

    async fn receive(&mut self) -> Result<(), Ended> {
        if self.partial.resize(self.connection.buffered()) == Balance::Overdrawn {
            // When it is this connection that has to go, the next await is its last.
            self.shared.relieve();
        }
        let chunk = self.connection.missing().clamp(READ_CHUNK, LARGE_READ_CHUNK);
        let input = self.connection.input();
        input.reserve(chunk);
        match self.read.read(input).await {
            Ok(0) => Err(Ended::Peer),
            Ok(_) => Ok(()),
            Err(error) => Err(Ended::Broken(error)),
        }
    }

    /// Sends what the protocol itself has to say.
    fn send(&self, bytes: Bytes) -> Result<(), Ended> {
        match self.outbox.offer(Outgoing { head: Bytes::new(), body: bytes }) {
            Offered::Written | Offered::Queued => Ok(()),
            Offered::Overdrawn => {
                self.shared.relieve();
                Ok(())
            }
            Offered::Full => Err(Ended::Unread),
            Offered::Closed => Err(Ended::Peer),
        }
    }
}
