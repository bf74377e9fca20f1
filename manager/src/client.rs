//! circusd seen by a process of its own: calls over a DEALER, events over a SUB. `circusd-stats` and `circus-plugin` use it.
//!
//! Each call makes a connection of its own, so that a circusd that was replaced in between is not noticed; the
//! subscription is made anew when it ends, and [`Heard::Connected`] says that events may have been missed. It keeps no
//! state of circusd's and repeats no command.

use ringmaster_protocol::circus::to_json;
use serde_json::{Map, Value, json};
use std::future::pending;
use std::pin::Pin;
use std::time::Duration;
use tokio::time::{sleep, timeout};
use zeromq::{DealerSocket, Socket, SocketEvent, SocketRecv, SocketSend, SubSocket, ZmqError, ZmqMessage};

/// How long one call may take, as in Circus's own client (spec c.10).
const CALL_LIMIT: Duration = Duration::from_secs(5);

/// Between two attempts to subscribe: what is missed meanwhile is made up for by whoever reads [`Heard::Connected`].
const SUBSCRIBE_AGAIN: Duration = Duration::from_millis(200);

/// The topics of events (spec d).
const EVENTS: &str = "watcher.";

/// An object of JSON.
pub type Object = Map<String, Value>;

/// Why a call brought nothing.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No reply in time; also when nobody listens.
    #[error("circusd at {endpoint} did not answer '{command}' within {} s", CALL_LIMIT.as_secs())]
    TimedOut {
        /// Where it was asked.
        endpoint: String,
        /// What it was asked.
        command: String,
    },
    /// The conversation failed.
    #[error("cannot talk to circusd at {endpoint}: {source}")]
    Wire {
        /// Where it was asked.
        endpoint: String,
        /// What went wrong.
        source: ZmqError,
    },
    /// circusd refuses.
    #[error("circusd refuses '{command}': {reason}")]
    Refused {
        /// What it was asked.
        command: String,
        /// Its own words.
        reason: String,
    },
}

/// The control endpoint of one circusd.
#[derive(Debug, Clone)]
pub struct Caller {
    endpoint: String,
}

impl Caller {
    /// Nothing is connected yet.
    pub fn new(endpoint: &str) -> Self {
        Self { endpoint: endpoint.to_owned() }
    }

    /// One command and its reply.
    ///
    /// # Errors
    /// See [`CallError`]; a reply whose status is `error` is one.
    pub async fn call(&self, command: &str, properties: Value) -> Result<Object, CallError> {
        let timed_out = || CallError::TimedOut { endpoint: self.endpoint.clone(), command: command.to_owned() };
        let reply = timeout(CALL_LIMIT, self.exchange(command, properties)).await.map_err(|_elapsed| timed_out())?;
        let reply = reply.map_err(|source| CallError::Wire { endpoint: self.endpoint.clone(), source })?;
        if reply.get("status").and_then(Value::as_str) == Some("error") {
            let reason = reply.get("reason").and_then(Value::as_str).unwrap_or("no reason given").to_owned();
            return Err(CallError::Refused { command: command.to_owned(), reason });
        }
        Ok(reply)
    }

    /// The same for what a plugin does on its own account: it is logged, and when it fails, why.
    pub async fn order(&self, command: &str, watcher: &str) {
        tracing::info!("{command} {watcher}");
        if let Err(error) = self.call(command, json!({ "name": watcher })).await {
            tracing::warn!("{command} {watcher}: {error}");
        }
    }

    async fn exchange(&self, command: &str, properties: Value) -> Result<Object, ZmqError> {
        let mut socket = DealerSocket::new();
        socket.connect(&self.endpoint).await?;
        let request = json!({ "id": "1", "command": command, "properties": properties });
        socket.send(ZmqMessage::from(to_json(&request))).await?;
        loop {
            let message = socket.recv().await?;
            // The connection is this call's own, so the only reply on it is its reply.
            let reply = message.get(0).and_then(|frame| serde_json::from_slice(frame).ok());
            if let Some(Value::Object(reply)) = reply {
                return Ok(reply);
            }
        }
    }
}

/// What a subscription tells.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    /// It stands, for the first time or again: what is known of circusd has to be asked for.
    Connected,
    /// An event.
    Event(WatcherEvent),
}

/// One event of a watcher (spec d).
#[derive(Debug, Clone, PartialEq)]
pub struct WatcherEvent {
    /// The watcher's name in lower case, spaces as `_`.
    pub watcher: String,
    /// `spawn`, `reap` …
    pub kind: String,
    /// Its fields.
    pub fields: Object,
}

impl WatcherEvent {
    /// Reads the two frames of an event. The event's name follows the last dot, so a watcher's name may have dots.
    pub fn read(topic: &[u8], payload: &[u8]) -> Option<Self> {
        let topic = std::str::from_utf8(topic).ok()?.strip_prefix(EVENTS)?;
        let (watcher, kind) = topic.rsplit_once('.')?;
        let fields = serde_json::from_slice(payload).ok()?;
        Some(Self { watcher: watcher.to_owned(), kind: kind.to_owned(), fields })
    }

    /// The process that it is about.
    pub fn pid(&self) -> Option<i32> {
        self.fields.get("process_pid").and_then(Value::as_i64).and_then(|pid| i32::try_from(pid).ok())
    }

    /// When it happened, in seconds since the epoch.
    pub fn time(&self) -> Option<f64> {
        self.fields.get("time").and_then(Value::as_f64)
    }
}

/// The events of one circusd, for as long as somebody reads.
pub struct Events {
    endpoint: String,
    connection: Option<Connection>,
}

struct Connection {
    socket: SubSocket,
    /// Ends when the connection does.
    over: Pin<Box<dyn Future<Output = ()>>>,
}

impl Events {
    /// Nothing is connected yet.
    pub fn new(pubsub: &str) -> Self {
        Self { endpoint: pubsub.to_owned(), connection: None }
    }

    /// The next thing to know. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Heard {
        loop {
            let Some(Connection { socket, over }) = &mut self.connection else {
                match timeout(CALL_LIMIT, subscribe(&self.endpoint)).await {
                    Ok(Ok(connection)) => {
                        self.connection = Some(connection);
                        return Heard::Connected;
                    }
                    Ok(Err(_)) | Err(_) => sleep(SUBSCRIBE_AGAIN).await,
                }
                continue;
            };
            let message = tokio::select! {
                // Events first: what came before the end of the connection counts.
                biased;
                message = socket.recv() => message.ok(),
                () = over => None,
            };
            let Some(message) = message else {
                self.connection = None;
                continue;
            };
            let frames = message.get(0).zip(message.get(1));
            if let Some(event) = frames.and_then(|(topic, payload)| WatcherEvent::read(topic, payload)) {
                return Heard::Event(event);
            }
        }
    }
}

async fn subscribe(endpoint: &str) -> Result<Connection, ZmqError> {
    let mut socket = SubSocket::new();
    socket.connect(endpoint).await?;
    let mut news = socket.monitor();
    socket.subscribe(EVENTS).await?;
    let over = async move {
        while let Ok(event) = news.recv().await {
            if matches!(event, SocketEvent::Disconnected(_)) {
                return;
            }
        }
        pending().await
    };
    Ok(Connection { socket, over: Box::pin(over) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watcher_with_dots_has_its_events() {
        let event = WatcherEvent::read(b"watcher.a.b.reap", br#"{"process_pid": 7, "time": 1.5}"#).unwrap();
        assert_eq!((event.watcher.as_str(), event.kind.as_str()), ("a.b", "reap"));
        assert_eq!((event.pid(), event.time()), (Some(7), Some(1.5)));
        assert_eq!(WatcherEvent::read(b"stat.a", b"{}"), None);
        assert_eq!(WatcherEvent::read(b"watcher.a.reap", b"[]"), None);
    }
}
