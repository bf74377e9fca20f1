//! `list`: the watchers, or the pids of one.

use super::{Answer, Command, Context, Properties, Refusal};

pub(super) const COMMAND: Command =
    Command { name: "list", required: &[], summary: "List watchers, or the processes of a watcher.", run };

fn run(context: &mut Context<'_>, properties: &Properties<'_>) -> Result<Answer, Refusal> {
    if properties.name()?.is_some() {
        return Ok(Answer::one("pids", context.watcher(properties)?.processes.live_pids()));
    }
    let names: Vec<&str> = context.arbiter.by_name().map(|(name, _)| name).collect();
    Ok(Answer::one("watchers", names))
}
