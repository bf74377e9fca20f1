//! `events`: the latest events, from a number or a time on; with `waiting` the answer comes when there is one. Circus has
//! no such command: whoever was not subscribed has missed them there.

use super::{Answer, Command, Context, Properties, Refusal};
use crate::arbiter::{Asked, Since};
use serde_json::Value;
use std::time::Duration;

/// How long a client waits at most; it asks again then, and one that is gone is forgotten.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

pub(super) const COMMAND: Command =
    Command { name: "events", required: &[], summary: "Get the latest events, or wait for the next.", run };

fn run(context: &mut Context<'_>, properties: &Properties<'_>) -> Result<Answer, Refusal> {
    let since = match (number(properties, "since")?, properties.seconds("since_time")?) {
        (Some(seq), _) => Since::Seq(seq),
        (None, Some(time)) => Since::Time(time),
        (None, None) => Since::Seq(0),
    };
    let wait = if properties.waiting() { LONGEST_WAIT } else { Duration::ZERO };
    let asked = Asked {
        asker: context.asker.clone(),
        since,
        topics: topics(properties)?,
        until: context.now.mono.saturating_add(wait),
    };
    if context.arbiter.listen(asked, context.now, context.effects) {
        Ok(Answer::Later)
    } else {
        Err(Refusal::TooManyListeners)
    }
}

fn number(properties: &Properties<'_>, key: &'static str) -> Result<Option<u64>, Refusal> {
    let wrong = Refusal::Invalid { property: key, expected: "a number of an event" };
    properties.integer(key)?.map(|number| u64::try_from(number).or(Err(wrong))).transpose()
}

fn topics(properties: &Properties<'_>) -> Result<Vec<String>, Refusal> {
    let wrong = || Refusal::Invalid { property: "topics", expected: "a list of texts" };
    match properties.get("topics") {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(topics)) => {
            topics.iter().map(|topic| topic.as_str().map(str::to_owned).ok_or_else(wrong)).collect()
        }
        Some(_) => Err(wrong()),
    }
}
