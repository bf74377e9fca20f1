//! Every limit of the listening endpoints, each with its reason.
//!
//! Together they bound what clients can make this process hold. Per endpoint, in bytes:
//!
//! ```text
//! CONNECTIONS * (PARTIAL_ALLOWANCE + BACKLOG_ALLOWANCE + SUBSCRIPTION_BYTES + READ_CHUNK + about 4 KiB)
//!   + PARTIAL_POOL + BACKLOG_POOL + QUEUED_REQUEST_BYTES
//! ```
//!
//! times at most two, because a growing buffer doubles. The metrics endpoint holds at most
//! `HTTP_CONNECTIONS * (HTTP_HEAD_BYTES + READ_CHUNK)` and the pages of the last `HTTP_WRITE_DEADLINE`, one a second and format. No limit here is a matter of taste of one connection: when a
//! client meets one, that client pays (it waits, loses the event, or is closed) and nobody else notices.

use std::time::Duration;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Connections per endpoint. Beyond it a newcomer takes the place of the longest idle one. Circus clients are one-shot, so a thousand at once is far above real use and still leaves room below the usual 20,000 descriptors.
pub const CONNECTIONS: usize = 1024;

/// Time from accept to the end of the ZMTP handshake. libzmq needs two round trips; three seconds cover a bad link and
/// free the slots of mute connections soon.
pub const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(3);

/// Body of one command frame (READY, PING, SUBSCRIBE, …). READY carries a socket type and an identity of at most
/// 255 bytes; the longest legitimate body is a subscription.
pub const COMMAND_BYTES: usize = 8 * KIB;

/// One message to the control endpoint, all frames together. An `add` with a large environment is a few hundred
/// kilobytes; 16 MiB is fifty times that.
pub const REQUEST_BYTES: usize = 16 * MIB;

/// Frames of one message to the control endpoint. Circus uses one; a few more are read so that the message can be
/// dropped by name instead of closing the connection.
pub const REQUEST_PARTS: usize = 16;

/// One message to the publisher. A ZMTP 3.0 subscription is a message of one byte and the topic.
pub const SUBSCRIPTION_MESSAGE_BYTES: usize = COMMAND_BYTES;

/// Frames of one message to the publisher: a subscription is one frame.
pub const SUBSCRIPTION_PARTS: usize = 4;

/// Requests of one connection that are not finished with by the manager. A client that sends faster waits in its own
/// socket, and another client's request has at most this many in front of it from each peer.
pub const REQUESTS_IN_FLIGHT: usize = 32;

/// Bytes of all requests that wait for the manager, of all connections. At least [`REQUEST_BYTES`], or the largest
/// request could never pass. Connections beyond it wait their turn.
pub const QUEUED_REQUEST_BYTES: usize = 2 * REQUEST_BYTES;

/// Bytes of an unfinished message each connection may hold without asking the pool, so that small requests work even
/// when others have used the pool up.
pub const PARTIAL_ALLOWANCE: usize = 64 * KIB;

/// Bytes of unfinished messages above the allowance, of all connections of an endpoint: four of the largest. Beyond it
/// the connection that holds the most is closed, so that a few who never finish cannot stop the others.
pub const PARTIAL_POOL: usize = 64 * MIB;

/// Bytes one control client may leave unread in our memory (the kernel's socket buffer comes on top). Two of the
/// largest replies; beyond it the client is not reading and is closed.
pub const REPLY_BACKLOG_BYTES: usize = 2 * REQUEST_BYTES;

/// Replies one control client may leave unread in our memory. A client that pipelines four thousand requests and
/// reads none of the answers is not coming back for them.
pub const REPLY_BACKLOG_MESSAGES: usize = 4096;

/// Bytes of events held for one subscriber. Events are a few hundred bytes; this is some ten thousand of them.
pub const EVENT_BACKLOG_BYTES: usize = 8 * MIB;

/// Events held for one subscriber before further ones are dropped for it: libzmq's default `ZMQ_SNDHWM`.
pub const EVENT_BACKLOG_MESSAGES: usize = 1000;

/// Outgoing bytes each connection may hold without asking the pool, so that a small reply is possible at any time.
pub const BACKLOG_ALLOWANCE: usize = 64 * KIB;

/// Outgoing bytes above the allowance, of all connections of an endpoint. Beyond it the connection that holds the most
/// is closed.
pub const BACKLOG_POOL: usize = 64 * MIB;

/// Distinct topic prefixes of one subscriber. Circus clients use one to three; libzmq itself drops subscriptions
/// beyond its high-water mark of 1000.
pub const SUBSCRIPTIONS: usize = 1024;

/// Bytes of all topic prefixes of one subscriber.
pub const SUBSCRIPTION_BYTES: usize = 64 * KIB;

/// Read size while no large frame is expected: several requests at once, and small enough for a thousand idle
/// connections.
pub const READ_CHUNK: usize = 4 * KIB;

/// Read size inside a large frame. The buffer grows with what has arrived, never with what a header announces.
pub const LARGE_READ_CHUNK: usize = 256 * KIB;

/// Bytes of a discovery datagram that are read; what it says does not matter (spec l).
pub const DISCOVERY_QUESTION_BYTES: usize = 1024;

/// Discovery datagrams answered in one second. People look for a handful of circusd; an answer is longer than its
/// question, so more would make circusd a way to multiply a flood under a false address.
pub const DISCOVERY_ANSWERS: u32 = 100;

/// First pause after accept failed for want of descriptors or memory, so that the loop does not spin.
pub const ACCEPT_BACKOFF_FIRST: Duration = Duration::from_millis(50);

/// Longest pause after accept failed again and again: a freed descriptor is used within a second.
pub const ACCEPT_BACKOFF_LAST: Duration = Duration::from_secs(1);

/// Connections to the metrics endpoint. Two monitoring systems and some people at once are a dozen. Beyond it a newcomer takes
/// the place of the longest idle one; a scraper connects again by itself.
pub const HTTP_CONNECTIONS: usize = 64;

/// The head of a request. A scraper's is half a kilobyte; servers commonly allow eight.
pub const HTTP_HEAD_BYTES: usize = 8 * KIB;

/// Fields of a head. A browser sends some twenty.
pub const HTTP_FIELDS: usize = 64;

/// From accept to the first byte, and from the first byte to the end of the head: a head is one packet.
pub const HTTP_REQUEST_DEADLINE: Duration = Duration::from_secs(5);

/// Between two requests of one connection. Scrapers come every 15 to 60 s, some every two minutes.
pub const HTTP_IDLE: Duration = Duration::from_secs(130);

/// For the page to be made: what Prometheus waits for altogether (`scrape_timeout`).
pub const HTTP_ANSWER_DEADLINE: Duration = Duration::from_secs(10);

/// For the client to take the answer. Who reads slower than this has given up already.
pub const HTTP_WRITE_DEADLINE: Duration = Duration::from_secs(10);

/// How long a connection that is to end waits for its client to have read what it was sent.
pub const HTTP_LINGER: Duration = Duration::from_secs(1);

/// What one peer may send in one message; one value per kind of endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageLimits {
    /// Bytes of all frames of a message together, hence also of one frame.
    pub message_bytes: usize,
    /// Frames of a message.
    pub parts: usize,
    /// Bytes of a command's body.
    pub command_bytes: usize,
}

/// Limits of the control endpoint.
pub const CONTROL_MESSAGES: MessageLimits =
    MessageLimits { message_bytes: REQUEST_BYTES, parts: REQUEST_PARTS, command_bytes: COMMAND_BYTES };

/// Limits of what subscribers may send to the publisher.
pub const PUBLISHER_MESSAGES: MessageLimits = MessageLimits {
    message_bytes: SUBSCRIPTION_MESSAGE_BYTES,
    parts: SUBSCRIPTION_PARTS,
    command_bytes: COMMAND_BYTES,
};

/// What one peer may leave unread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BacklogLimits {
    /// Bytes waiting in our memory.
    pub bytes: usize,
    /// Messages waiting in our memory.
    pub messages: usize,
}

/// Backlog of a control client.
pub const CONTROL_BACKLOG: BacklogLimits =
    BacklogLimits { bytes: REPLY_BACKLOG_BYTES, messages: REPLY_BACKLOG_MESSAGES };

/// Backlog of a subscriber.
pub const PUBLISHER_BACKLOG: BacklogLimits =
    BacklogLimits { bytes: EVENT_BACKLOG_BYTES, messages: EVENT_BACKLOG_MESSAGES };
