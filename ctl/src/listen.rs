//! `listen`: subscribes to events and prints each as one line of JSON.
//!
//! Circus prints the `repr` of two Python byte strings; a line here is an object with the topic first, so that `jq` and
//! people can read it. When circusd goes away the subscription waits for the next one. It keeps nothing: what was
//! published while nobody was connected is not seen.

use std::io;
use std::time::Duration;

use ringmaster_protocol::circus::to_json;
use serde_json::{Map, Value};
use thiserror::Error;
use tokio::time::{sleep, timeout};
use zeromq::{DealerSocket, SocketRecv, SubSocket, ZmqMessage};

use crate::client::{self, ClientError, Patience, connect, disconnected, over};
use crate::daemon::pubsub_request;
use crate::endpoint::Endpoint;

/// The first pause before a lost connection is tried again: a circusd that is replaced in place is back by then.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// The longest pause. Missing events for this long is the price of not asking all the time.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// How long the question what an endpoint really is may take.
const ASK_WHAT_LIMIT: Duration = Duration::from_secs(1);

/// Why there are no events. The exit status is 1.
#[derive(Debug, Error)]
pub enum ListenError {
    /// The first connection could not be made.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The endpoint takes commands. Circus waits there for ever.
    #[error(
        "error: {endpoint} is circusd's control endpoint, where no events are published; give listen its \
         pubsub_endpoint: {}",
        hint(pubsub.as_deref())
    )]
    Control {
        /// What was given.
        endpoint: Endpoint,
        /// What it says about the right one.
        pubsub: Option<String>,
    },
    /// A line could not be written.
    #[error("error: cannot write to stdout: {0}")]
    Stdout(io::Error),
}

fn hint(pubsub: Option<&str>) -> String {
    let endpoint = pubsub.unwrap_or(crate::endpoint::DEFAULT_EVENTS);
    let origin = if pubsub.is_some() { "as it says itself" } else { "by default" };
    format!("--endpoint {endpoint} ({origin})")
}

/// Gives the events whose topics begin with one of `topics` to `show`, one line each, until something fails. What happens to
/// the connection is told to `remark`. `patience` is for the first connection.
///
/// # Errors
/// See [`ListenError`]; it ends in no other way.
pub async fn listen(
    endpoint: &Endpoint,
    patience: Patience,
    topics: &[String],
    mut show: impl FnMut(&str) -> io::Result<()>,
    mut remark: impl FnMut(&str),
) -> ListenError {
    let mut socket = match first(endpoint, patience, topics).await {
        Ok(socket) => socket,
        Err(error) => return error,
    };
    loop {
        if let Err(error) = print_all(&mut socket, &mut show).await {
            return ListenError::Stdout(error);
        }
        drop(socket);
        remark(&format!("circusd at {endpoint} went away; waiting for it"));
        socket = again(endpoint, topics).await;
        remark(&format!("circusd at {endpoint} is back"));
    }
}

/// The first connection fails at once, as other commands do, and says what is wrong.
async fn first(endpoint: &Endpoint, patience: Patience, topics: &[String]) -> Result<SubSocket, ListenError> {
    let connected = tokio::select! {
        biased;
        socket = subscribe(endpoint, topics) => socket,
        () = over(patience) => Err(ClientError::TimedOut {
            endpoint: endpoint.clone(),
            command: "listen",
            seconds: patience.unwrap_or_default().as_secs(),
        }),
    };
    match connected {
        Ok(socket) => Ok(socket),
        Err(error @ ClientError::Unreachable { .. }) => Err(error.into()),
        Err(error) => Err(what_it_is(endpoint).await.unwrap_or(error.into())),
    }
}

async fn again(endpoint: &Endpoint, topics: &[String]) -> SubSocket {
    let mut pause = FIRST_PAUSE;
    loop {
        sleep(pause).await;
        pause = LONGEST_PAUSE.min(pause * 2);
        if let Ok(Ok(socket)) = timeout(LONGEST_PAUSE, subscribe(endpoint, topics)).await {
            return socket;
        }
    }
}

async fn subscribe(endpoint: &Endpoint, topics: &[String]) -> Result<SubSocket, ClientError> {
    let mut socket: SubSocket = connect(endpoint).await?;
    let everything = [String::new()];
    let topics = if topics.is_empty() { &everything } else { topics };
    for topic in topics {
        socket.subscribe(topic).await.map_err(|reason| ClientError::Foreign { endpoint: endpoint.clone(), reason })?;
    }
    Ok(socket)
}

/// An endpoint that takes a DEALER is the one for commands, and can be asked for the other.
async fn what_it_is(endpoint: &Endpoint) -> Option<ListenError> {
    let dealer = connect::<DealerSocket>(endpoint);
    timeout(ASK_WHAT_LIMIT, dealer).await.ok()?.ok()?;
    let answer = client::call(endpoint, Some(ASK_WHAT_LIMIT), &pubsub_request()).await;
    let pubsub = answer.ok().and_then(|received| {
        let told = received.reply.object("options")?.get("pubsub_endpoint")?;
        told.as_str().map(str::to_owned)
    });
    Some(ListenError::Control { endpoint: endpoint.clone(), pubsub })
}

/// Prints until the connection ends.
async fn print_all(socket: &mut SubSocket, show: &mut impl FnMut(&str) -> io::Result<()>) -> io::Result<()> {
    let gone = disconnected(socket);
    tokio::pin!(gone);
    loop {
        tokio::select! {
            // Events first: what came before the end of the connection counts.
            biased;
            message = socket.recv() => match message {
                Ok(message) => {
                    if let Some(line) = line(&message) {
                        show(&line)?;
                    }
                }
                Err(_) => return Ok(()),
            },
            () = &mut gone => return Ok(()),
        }
    }
}

/// `{"topic": TOPIC, …the event's fields}`. What is no object of JSON appears as text under `payload`; what is no event of
/// two frames is no line.
fn line(message: &ZmqMessage) -> Option<String> {
    let (topic, payload) = (message.get(0)?, message.get(1)?);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut event = Map::new();
    event.insert("topic".to_owned(), text(topic).into());
    match serde_json::from_slice(payload) {
        Ok(Value::Object(fields)) => {
            for (name, value) in fields {
                event.entry(name).or_insert(value);
            }
        }
        Ok(_) | Err(_) => {
            event.insert("payload".to_owned(), text(payload).into());
        }
    }
    Some(text(&to_json(&Value::Object(event))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(topic: &str, payload: &str) -> Option<String> {
        let mut message = ZmqMessage::from(payload.to_owned());
        message.push_front(topic.to_owned().into());
        line(&message)
    }

    #[test]
    fn an_event_is_one_object_with_the_topic_first() {
        for (topic, payload, expected) in [
            (
                "watcher.a.reap",
                r#"{"process_pid": 3, "time": 1.5, "exit_code": -9}"#,
                r#"{"topic": "watcher.a.reap", "process_pid": 3, "time": 1.5, "exit_code": -9}"#,
            ),
            ("t", "[1]", r#"{"topic": "t", "payload": "[1]"}"#),
            ("t\n", "not json", r#"{"topic": "t\n", "payload": "not json"}"#),
            ("t", r#"{"topic": "x"}"#, r#"{"topic": "t"}"#),
        ] {
            assert_eq!(event(topic, payload).as_deref(), Some(expected));
        }
        assert_eq!(line(&ZmqMessage::from("one frame")), None);
    }
}
