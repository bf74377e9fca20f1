//! `numprocesses`: how many processes live.

use super::{Answer, Command, Context, Properties, Refusal};
use serde_json::Map;

pub(super) const COMMAND: Command =
    Command { name: "numprocesses", required: &[], summary: "Get the number of processes.", run };

fn run(context: &mut Context<'_>, properties: &Properties<'_>) -> Result<Answer, Refusal> {
    let Some(name) = properties.name()? else {
        let total: usize = context.arbiter.watchers.values().map(|watcher| watcher.processes.live_pids().len()).sum();
        return Ok(Answer::one("numprocesses", total));
    };
    let count = context.watcher(properties)?.processes.live_pids().len();
    Ok(Answer::Now(Map::from_iter([
        ("numprocesses".to_owned(), count.into()),
        ("watcher_name".to_owned(), name.into()),
    ])))
}
