//! `incr` and `decr`: more or fewer processes.

use super::{Answer, Command, Context, Properties, Refusal};
use crate::arbiter::ReplyShape;
use crate::watcher::Operation;
use serde_json::Map;

pub(super) const INCR: Command = Command {
    name: "incr",
    required: &["name"],
    summary: "Increment the number of processes in a watcher.",
    run: |context, properties| resize(context, properties, 1),
};

pub(super) const DECR: Command = Command {
    name: "decr",
    required: &["name"],
    summary: "Decrement the number of processes in a watcher.",
    run: |context, properties| resize(context, properties, -1),
};

/// A singleton keeps its one process and says so. A number that is none is refused, where Circus stays silent (spec n.2).
fn resize(context: &mut Context<'_>, properties: &Properties<'_>, sign: i64) -> Result<Answer, Refusal> {
    let watcher = context.watcher(properties)?;
    let number = match properties.get("nb") {
        None => 1,
        Some(number) => number.as_i64().ok_or(Refusal::Invalid { property: "nb", expected: "an integer" })?,
    };
    if watcher.options.singleton {
        return Ok(Answer::Now(Map::from_iter([
            ("numprocesses".to_owned(), watcher.options.numprocesses.into()),
            ("singleton".to_owned(), true.into()),
        ])));
    }
    let id = watcher.id;
    let answer = context.queue(&[id], &Operation::Resize, ReplyShape::Number, properties.waiting())?;
    if let Some(watcher) = context.arbiter.watchers.get_mut(&id) {
        watcher.want_more(number.saturating_mul(sign), context.effects);
    }
    Ok(answer)
}
