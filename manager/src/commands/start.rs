//! `start`: without a name, and of several that match, only watchers with `autostart` (spec c.7).

use super::matching::select;
use super::{Answer, Command, Context, Properties, Refusal};
use crate::watcher::Operation;

pub(super) const COMMAND: Command =
    Command { name: "start", required: &[], summary: "Start the arbiter or a watcher.", run };

fn run(context: &mut Context<'_>, properties: &Properties<'_>) -> Result<Answer, Refusal> {
    let mut selection = select(context, properties)?;
    if selection.several {
        let watchers = &context.arbiter.watchers;
        selection.ids.retain(|id| watchers.get(id).is_some_and(|watcher| watcher.options.autostart));
    }
    context.queue(&selection.ids, &Operation::Start, selection.shape, properties.waiting())
}
