//! `upgrade`: asks circusd to be replaced by the program on disk, and waits until the new one answers.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use thiserror::Error;

use crate::client::{ClientError, Received};
use crate::daemon::{Daemon, DaemonError};
use crate::python;
use crate::reply::Answer;
use crate::request::{Properties, Request};

/// The trial may take 20 s and operations under way are waited for up to 10 s.
const TRIAL: Duration = Duration::from_secs(40);

/// How long the new circusd may take until it answers, before this command gives up waiting.
const ANSWER: Duration = Duration::from_secs(30);

/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(5);

/// Why an upgrade that circusd agreed to did not come about.
#[derive(Debug, Error)]
pub enum UpgradeError {
    /// Nobody answers any more, or not in time.
    #[error(transparent)]
    Daemon(#[from] DaemonError),
    /// The circusd before it goes on in another process.
    #[error(
        "error: circusd {version} passed its trial but did not come to serve; the one before it is back, pid {old} -> {new}, \
         after {:.3} s; see its log", away.as_secs_f64()
    )]
    FellBack {
        /// Of the new program.
        version: String,
        /// The process that was to stay.
        old: i64,
        /// The process that answers.
        new: i64,
        /// How long nobody answered.
        away: Duration,
    },
}

/// The answer of the old circusd, and how long nobody answered after it.
///
/// # Errors
/// Nobody answered at all, or it is not the new circusd that does.
pub fn upgrade(daemon: &mut Daemon<'_>) -> Result<(Received, Option<Duration>), UpgradeError> {
    let patience = daemon.patience().map(|patience| patience.max(TRIAL));
    let received = daemon.ask_within(patience, &request("upgrade"))?;
    let Some(old) = received.reply.get("pid").and_then(Value::as_i64).filter(|_| received.reply.is_ok()) else {
        return Ok((received, None));
    };
    let away = await_answer(daemon, ANSWER)?;
    let now = daemon.ask(&request("dstats"))?.reply;
    match now.object("info").and_then(|info| info.get("pid")?.as_i64()) {
        Some(new) if new != old => {
            let version = received.reply.get("to").map_or_else(String::new, python::text);
            Err(UpgradeError::FellBack { version, old, new, away })
        }
        Some(_) | None => Ok((received, Some(away))),
    }
}

/// Waits until a circusd answers, from now on; gives how long that took.
///
/// # Errors
/// It has not answered by `limit`, or something else than its absence keeps it from answering.
pub(crate) fn await_answer(daemon: &mut Daemon<'_>, limit: Duration) -> Result<Duration, DaemonError> {
    let begun = Instant::now();
    loop {
        let left = limit.saturating_sub(begun.elapsed());
        match daemon.ask_within(Some(left), &request("numwatchers")) {
            Ok(_) => return Ok(begun.elapsed()),
            // One that is cut off in the middle of its greeting looks foreign.
            Err(DaemonError::Client(
                ClientError::Closed { .. } | ClientError::Unreachable { .. } | ClientError::Foreign { .. },
            )) if begun.elapsed() < limit => {}
            Err(error) => return Err(error),
        }
        daemon.runtime().block_on(async { tokio::time::sleep(PAUSE).await });
    }
}

pub(crate) fn request(command: &'static str) -> Request {
    Request { command, properties: Properties::new() }
}

/// What to print.
pub fn text(received: &Received, away: Option<Duration>) -> Answer {
    let reply = &received.reply;
    reply.when_ok(|| {
        let field = |name: &str| reply.get(name).map_or_else(String::new, python::text);
        let away = away.unwrap_or_default().as_secs_f64();
        format!(
            "circusd {} -> {}, pid {} as before, control back after {away:.3} s",
            field("from"),
            field("to"),
            field("pid")
        )
    })
}

/// The reply with the time that nobody answered.
pub fn json(received: &Received, away: Option<Duration>) -> Value {
    let mut value = received.reply.clone().into_value();
    if let (Value::Object(fields), Some(away)) = (&mut value, away) {
        fields.insert("without_control_s".to_owned(), json!(away.as_secs_f64()));
    }
    value
}
