//! `status`: of all watchers, or of one, which then replaces the reply's own `status` (spec c.3).

use super::{Answer, Command, Context, Properties, Refusal};
use serde_json::{Map, Value};

pub(super) const COMMAND: Command =
    Command { name: "status", required: &[], summary: "Get the status of a watcher or of all.", run };

fn run(context: &mut Context<'_>, properties: &Properties<'_>) -> Result<Answer, Refusal> {
    if properties.name()?.is_some() {
        return Ok(Answer::one("status", context.watcher(properties)?.status.name()));
    }
    let statuses: Map<String, Value> = context
        .arbiter
        .watchers
        .values()
        .map(|watcher| (watcher.options.name.clone(), watcher.status.name().into()))
        .collect();
    Ok(Answer::one("statuses", statuses))
}
