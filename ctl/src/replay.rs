//! `listen --since`: events by their numbers, over the control endpoint, each exactly once.
//!
//! circusd numbers its events and keeps the latest ones, also across a `kill -9` of itself. Whoever asks for those after
//! the last one seen misses none and sees none twice, however often the connection breaks in between.

use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ringmaster_protocol::circus::to_json;
use serde_json::{Map, Value};
use thiserror::Error;

use crate::client::{ClientError, Received};
use crate::daemon::{Daemon, DaemonError};
use crate::interrupt;
use crate::reply::Reply;
use crate::request::{ArgumentError, Properties, Request};

/// circusd answers after 30 s at the latest; more means that it is not there.
const ANSWER: Duration = Duration::from_secs(40);

/// Between two attempts to reach a circusd that is away.
const PAUSE: Duration = Duration::from_millis(100);

/// Numbers below this are numbers of events, from it on they are seconds since 1970 (which were that many in 1973).
const FIRST_TIME: u64 = 100_000_000;

/// From where on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Since {
    /// After the event of that number.
    Seq(u64),
    /// What happened at that time or later, in seconds since the Unix epoch.
    Time(f64),
}

/// Why there are no more events. The exit status is 1.
#[derive(Debug, Error)]
pub enum ReplayError {
    /// The first question got no answer.
    #[error(transparent)]
    Daemon(#[from] DaemonError),
    /// A later one neither.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// circusd says no.
    #[error("error: {0}")]
    Refused(String),
    /// A line could not be written.
    #[error("error: cannot write to stdout: {0}")]
    Stdout(io::Error),
}

/// A number of an event, a time in seconds since 1970, or an age such as `90s`, `10m`, `2h`, `1d`.
///
/// # Errors
/// [`ArgumentError::NotSince`].
pub fn since(given: &str) -> Result<Since, ArgumentError> {
    let wrong = || ArgumentError::NotSince { given: given.to_owned() };
    let text = given.trim();
    if let Ok(number) = text.parse::<u64>()
        && number < FIRST_TIME
    {
        return Ok(Since::Seq(number));
    }
    for (unit, seconds) in [("s", 1.0), ("m", 60.0), ("h", 3600.0), ("d", 86400.0)] {
        if let Some(count) = text.strip_suffix(unit).and_then(|count| count.parse::<f64>().ok()) {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
            return Ok(Since::Time((now - count.abs() * seconds).max(0.0)));
        }
    }
    text.parse().ok().filter(|time: &f64| time.is_finite() && *time >= 0.0).map(Since::Time).ok_or_else(wrong)
}

/// Prints events until a signal (`Ok`) or a failure.
///
/// # Errors
/// See [`ReplayError`].
pub fn replay(
    daemon: &mut Daemon<'_>,
    mut since: Since,
    topics: &[String],
    mut show: impl FnMut(&str) -> io::Result<()>,
    mut remark: impl FnMut(&str),
) -> Result<(), ReplayError> {
    let mut answered = false;
    loop {
        let received = match wait_for(daemon, since, topics) {
            Ok(received) => received,
            Err(DaemonError::Client(ClientError::Interrupted { .. })) => return Ok(()),
            Err(DaemonError::Client(
                ClientError::Unreachable { .. }
                | ClientError::Closed { .. }
                | ClientError::Foreign { .. }
                | ClientError::TimedOut { .. },
            )) if answered => {
                if !pause(daemon) {
                    return Ok(());
                }
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        answered = true;
        let reply = &received.reply;
        if !reply.is_ok() {
            return Err(ReplayError::Refused(reply.reason()));
        }
        if let Some(missed) = number(reply, "missed").filter(|missed| *missed > 0) {
            remark(&format!("{missed} earlier events are not kept any more"));
        }
        for event in reply.list("events").unwrap_or_default() {
            show(&line(event)).map_err(ReplayError::Stdout)?;
        }
        since = next(since, reply, &mut remark);
    }
}

fn wait_for(daemon: &mut Daemon<'_>, since: Since, topics: &[String]) -> Result<Received, DaemonError> {
    let mut properties = Properties::new();
    match since {
        Since::Seq(seq) => properties.insert("since".into(), seq.into()),
        Since::Time(time) => properties.insert("since_time".into(), time.into()),
    };
    if !topics.is_empty() {
        properties.insert("topics".into(), topics.into());
    }
    properties.insert("waiting".into(), true.into());
    daemon.ask_within(Some(ANSWER), &Request { command: "events", properties })
}

/// Waits a moment. `false`: a signal came.
fn pause(daemon: &Daemon<'_>) -> bool {
    daemon.runtime().block_on(async {
        tokio::select! {
            biased;
            () = interrupt::signalled() => false,
            () = tokio::time::sleep(PAUSE) => true,
        }
    })
}

fn number(reply: &Reply, key: &str) -> Option<u64> {
    reply.get(key).and_then(Value::as_u64)
}

/// Where the next question begins. A circusd that was quit and started counts from 1 again.
fn next(since: Since, reply: &Reply, remark: &mut impl FnMut(&str)) -> Since {
    let last = number(reply, "last").unwrap_or(0);
    match since {
        Since::Seq(seq) if last < seq => {
            remark("circusd was started anew and counts its events from 1 again");
            Since::Seq(0)
        }
        Since::Seq(_) | Since::Time(_) => Since::Seq(number(reply, "seen").unwrap_or(last)),
    }
}

/// `{"topic": TOPIC, "seq": NUMBER, …the event's fields}`.
fn line(event: &Value) -> String {
    let mut object = Map::new();
    for key in ["topic", "seq"] {
        object.insert(key.to_owned(), event.get(key).cloned().unwrap_or_default());
    }
    for (name, value) in event.get("event").and_then(Value::as_object).into_iter().flatten() {
        object.entry(name.clone()).or_insert_with(|| value.clone());
    }
    String::from_utf8_lossy(&to_json(&Value::Object(object))).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_number_a_time_and_an_age_are_told_apart() {
        assert_eq!(since("17"), Ok(Since::Seq(17)));
        assert_eq!(since("1795187570.5"), Ok(Since::Time(1_795_187_570.5)));
        assert_eq!(since("1795187570"), Ok(Since::Time(1_795_187_570.0)));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        let Ok(Since::Time(time)) = since("10m") else { panic!("an age") };
        assert!((now - time - 600.0).abs() < 60.0);
        for wrong in ["", "x", "-1", "1w", "inf"] {
            assert!(since(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_line_has_topic_and_number_first() {
        let event = json!({"seq": 3, "topic": "watcher.a.reap", "event": {"process_pid": 7, "topic": "x"}});
        assert_eq!(line(&event), r#"{"topic": "watcher.a.reap", "seq": 3, "process_pid": 7}"#);
    }

    #[test]
    fn a_numbering_that_begins_anew_is_noticed() {
        let reply = |value: Value| Reply::new(value.as_object().unwrap().clone());
        let mut remarks = Vec::new();
        let mut remark = |text: &str| remarks.push(text.to_owned());
        assert_eq!(next(Since::Seq(9), &reply(json!({"last": 9, "seen": 9})), &mut remark), Since::Seq(9));
        assert_eq!(next(Since::Time(1.0), &reply(json!({"last": 9, "seen": 7})), &mut remark), Since::Seq(7));
        assert_eq!(next(Since::Seq(9), &reply(json!({"last": 2, "seen": 2})), &mut remark), Since::Seq(0));
        assert_eq!(remarks.len(), 1);
    }
}
