//! One request and its reply over a ZMQ DEALER socket (spec c.1, c.10).
//!
//! A client makes one connection, sends one frame and waits for the frame with its own id; the deadline covers
//! all of it. It does not reconnect and does not send twice: `incr` sent twice is not `incr`.

use std::future::pending;
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::time::Duration;

use serde_json::Value;
use thiserror::Error;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use zeromq::{DealerSocket, Socket, SocketEvent, SocketOptions, SocketRecv, SocketSend, ZmqError, ZmqMessage};

use crate::endpoint::{Endpoint, Place};
use crate::reply::Reply;
use crate::request::Request;

/// How long a connection may take before we ask the operating system why. A refused local connection is
/// known in microseconds, but the `zeromq` crate keeps that to itself and tries again every 50 ms and more.
const ASK_WHY_AFTER: Duration = Duration::from_millis(20);

/// How long that question may take on a network that does not answer.
const ASK_WHY_LIMIT: Duration = Duration::from_secs(1);

/// What a call may take, connection included. `None` waits for ever.
pub type Patience = Option<Duration>;

/// Why there is no reply. The text is what stderr shows; the exit status is 1.
#[derive(Debug, Error)]
pub enum ClientError {
    /// Nobody listens there, or we may not connect.
    #[error("error: cannot reach circusd at {endpoint}: {reason}; is it running?")]
    Unreachable {
        /// Where we tried.
        endpoint: Endpoint,
        /// What the operating system says.
        reason: io::Error,
    },
    /// Somebody listens there who does not speak ZMTP as a ROUTER does, or fails in the middle of it.
    #[error("error: what listens at {endpoint} does not answer as circusd does: {reason}")]
    Foreign {
        /// Where we are connected.
        endpoint: Endpoint,
        /// What went wrong on the wire.
        reason: ZmqError,
    },
    /// The connection ended before the reply came.
    #[error(
        "error: circusd at {endpoint} closed the connection before it answered; \
         whether '{command}' was carried out is not known"
    )]
    Closed {
        /// Where we were connected.
        endpoint: Endpoint,
        /// The command that was sent.
        command: &'static str,
    },
    /// No reply within the time given. The first line is Circus's.
    #[error(
        "Timed out.\n\
         circusd at {endpoint} did not answer '{command}' within {seconds} s.\n\
         If --endpoint is right, it may still be busy with the command: with --waiting the answer comes when \
         the work is done, so give a longer --timeout."
    )]
    TimedOut {
        /// Where we tried.
        endpoint: Endpoint,
        /// The command that was, or would have been, sent.
        command: &'static str,
        /// The time given.
        seconds: u64,
    },
    /// A signal (SIGINT, SIGTERM, SIGHUP) came first.
    #[error("error: interrupted before circusd at {endpoint} answered '{command}'")]
    Interrupted {
        /// Where we tried.
        endpoint: Endpoint,
        /// The command that was, or would have been, sent.
        command: &'static str,
    },
}

/// A reply: the bytes as they came, and the object they hold.
#[derive(Debug)]
pub struct Received {
    /// The frame, valid UTF-8 and a JSON object.
    pub raw: String,
    /// The same, decoded.
    pub reply: Reply,
}

/// Connects to `endpoint`, sends `request`, returns its reply.
///
/// # Errors
/// See [`ClientError`].
pub async fn call(endpoint: &Endpoint, patience: Patience, request: &Request) -> Result<Received, ClientError> {
    let timed_out = || ClientError::TimedOut {
        endpoint: endpoint.clone(),
        command: request.command,
        seconds: patience.unwrap_or_default().as_secs(),
    };
    tokio::select! {
        biased;
        result = exchange(endpoint, request) => result,
        () = over(patience) => Err(timed_out()),
    }
}

/// Ends when `patience` does.
pub(crate) async fn over(patience: Patience) {
    // A deadline beyond what the clock can hold is none.
    match patience.and_then(|patience| Instant::now().checked_add(patience)) {
        Some(deadline) => sleep_until(deadline).await,
        None => pending().await,
    }
}

async fn exchange(endpoint: &Endpoint, request: &Request) -> Result<Received, ClientError> {
    let foreign = |reason| ClientError::Foreign { endpoint: endpoint.clone(), reason };
    let mut socket: DealerSocket = connect(endpoint).await?;
    let disconnected = disconnected(&mut socket);
    tokio::pin!(disconnected);
    let id = fresh_id();
    socket.send(ZmqMessage::from(request.encode(&id))).await.map_err(foreign)?;
    loop {
        tokio::select! {
            // Replies first: what came before the end of the connection counts.
            biased;
            message = socket.recv() => {
                if let Some(received) = own_reply(&message.map_err(foreign)?, &id) {
                    return Ok(received);
                }
            }
            () = &mut disconnected => {
                return Err(ClientError::Closed { endpoint: endpoint.clone(), command: request.command });
            }
        }
    }
}

/// Ends when the connection of `socket` does, from now on.
pub(crate) fn disconnected<S: Socket>(socket: &mut S) -> impl Future<Output = ()> + use<S> {
    let mut events = socket.monitor();
    async move {
        while let Ok(event) = events.recv().await {
            if matches!(event, SocketEvent::Disconnected(_)) {
                return;
            }
        }
        pending().await
    }
}

/// Connects, and names the reason at once when nobody is there.
pub(crate) async fn connect<S: Socket>(endpoint: &Endpoint) -> Result<S, ClientError> {
    let mut options = SocketOptions::default();
    // The deadline of the call is the only one.
    options.no_connect_timeout();
    let mut socket = S::with_options(options);
    let address = endpoint.address();
    let result = {
        let connecting = socket.connect(&address);
        tokio::pin!(connecting);
        tokio::select! {
            biased;
            result = &mut connecting => result,
            Some(reason) = why_not(endpoint) => {
                return Err(ClientError::Unreachable { endpoint: endpoint.clone(), reason });
            }
        }
    };
    match result {
        Ok(()) => Ok(socket),
        Err(ZmqError::Network(reason)) => Err(ClientError::Unreachable { endpoint: endpoint.clone(), reason }),
        Err(reason) => Err(ClientError::Foreign { endpoint: endpoint.clone(), reason }),
    }
}

/// After [`ASK_WHY_AFTER`], what the operating system says to a plain connection; `None` if it is accepted
/// or does not end within [`ASK_WHY_LIMIT`].
async fn why_not(endpoint: &Endpoint) -> Option<io::Error> {
    sleep(ASK_WHY_AFTER).await;
    let attempt = async {
        match endpoint.place() {
            Place::Tcp(host, port) => tokio::net::TcpStream::connect((host.as_str(), *port)).await.err(),
            Place::Ipc(path) => tokio::net::UnixStream::connect(path).await.err(),
        }
    };
    timeout(ASK_WHY_LIMIT, attempt).await.ok().flatten()
}

/// The reply in `message` if it carries our id; other replies, and frames that are no JSON object, are not ours.
fn own_reply(message: &ZmqMessage, id: &str) -> Option<Received> {
    let frame = message.get(0).filter(|_| message.len() == 1)?;
    let raw = String::from_utf8(frame.to_vec()).ok()?;
    match serde_json::from_str(&raw).ok()? {
        Value::Object(fields) if fields.get("id").and_then(Value::as_str) == Some(id) => {
            Some(Received { raw, reply: Reply::new(fields) })
        }
        Value::Object(_) | Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => None,
    }
}

/// 128 bits in hexadecimal, the shape of Circus's ids. They tell the requests of one connection apart and are
/// no secret, so the seeds that std takes from the operating system for its hash tables will do.
fn fresh_id() -> String {
    let half = || std::hash::RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", half(), half())
}
