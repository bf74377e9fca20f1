//! The endpoints: ROUTER for commands and PUB for events, served by our own ZMTP 3.1, and a page of figures over HTTP.
//!
//! * [`address`] turns `tcp://…` and `ipc://…` into something to bind; the core binds and listens.
//! * [`Listening`] takes the descriptor that comes back.
//! * [`serve_control`], [`serve_publisher`] and [`serve_metrics`] serve it; [`Discovery`] tells where circusd is to whoever
//!   asks over UDP.
//!
//! The rest of the manager sees [`ControlServer`] and [`EventPublisher`] only. Nothing here knows JSON, commands or
//! watchers; nothing here binds, listens, or removes a path. A client can cost itself its connection, never more:
//! see [`limits`] for what it may use.

mod acceptor;
pub mod address;
mod control;
mod discovery;
pub mod http;
pub mod limits;
mod link;
mod listening;
mod metrics;
mod outbox;
mod peers;
mod pool;
mod publisher;
mod seats;
mod shared;
mod statistics;
mod stream;
#[cfg(test)]
mod tests;
pub mod zmtp;

pub use control::{ControlHandle, ControlRequest, serve_control};
pub use discovery::{Discovery, DiscoveryError};
pub use listening::{Listening, NotListening};
pub use metrics::{Ask, MetricsHandle, Names, Site, serve_metrics};
pub use publisher::{PublisherHandle, serve_publisher};
pub use statistics::Statistics;

/// One connection of a client, never used again after it ends. The identity a client gives itself plays no part: two
/// clients with the same one are two clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId(u64);

/// Set in the numbers of clients that are hooks: no endpoint ever counts so far.
const HOOK: u64 = 1 << 63;

/// The same for the program that circusd is a part of.
const PROGRAM: u64 = 1 << 62;

impl ClientId {
    /// A hook that asks for a command, by the number of its question.
    pub fn of_hook(serial: u64) -> Self {
        Self(serial | HOOK)
    }

    /// The number of a hook's question, when it is one.
    pub fn hook(self) -> Option<u64> {
        (self.0 & HOOK != 0).then_some(self.0 & !HOOK)
    }
}

impl ClientId {
    /// The program that circusd is a part of, by the number of its call.
    pub fn of_program(serial: u64) -> Self {
        Self(serial | PROGRAM)
    }

    /// The number of the program's call, when it is one.
    pub fn program(self) -> Option<u64> {
        (self.hook().is_none() && self.0 & PROGRAM != 0).then_some(self.0 & !PROGRAM)
    }
}

#[cfg(test)]
impl ClientId {
    /// A client that no endpoint knows.
    pub fn for_test(number: u64) -> Self {
        Self(number)
    }
}

impl std::fmt::Display for ClientId {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "client {}", self.0)
    }
}

/// What became of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// Handed to the operating system.
    Written,
    /// Kept in our memory until the client reads.
    Queued,
    /// The client is gone.
    Gone,
    /// The client does not read, or the reply is above [`limits::REPLY_BACKLOG_BYTES`]: the connection was closed.
    Cut,
}

/// Answers control clients.
pub trait ControlServer {
    /// Sends one reply to one client, at once and without waiting; one client's slowness is never another's.
    fn reply(&self, to: ClientId, payload: Vec<u8>) -> Delivery;
}

/// Publishes events.
pub trait EventPublisher {
    /// Sends an event to every subscriber of a prefix of `topic`, at once and without waiting. A subscriber that does
    /// not keep up loses whole events.
    fn publish(&self, topic: &str, payload: &[u8]);
}
