//! `reload`: one watcher by its exact name, or everything including the log files (spec f.8).

use super::{Answer, Command, Context, Properties, Refusal};
use crate::arbiter::{Effect, ReplyShape};
use crate::watcher::Operation;

pub(super) const COMMAND: Command =
    Command { name: "reload", required: &[], summary: "Reload the arbiter or a watcher.", run };

fn run(context: &mut Context<'_>, properties: &Properties<'_>) -> Result<Answer, Refusal> {
    let operation = if properties.truth("graceful").unwrap_or(true) {
        Operation::Reload { sequential: properties.truth("sequential").unwrap_or(false) }
    } else {
        Operation::Restart
    };
    if properties.name()?.is_some() {
        let id = context.watcher(properties)?.id;
        return context.queue(&[id], &operation, ReplyShape::Info, properties.waiting());
    }
    context.check_exclusive()?;
    context.effects.push(Effect::ReopenLogs);
    let all = context.arbiter.by_priority();
    context.queue(&all, &operation, ReplyShape::Plain, properties.waiting())
}
