//! `stop`: one watcher, those that match, or all.

use super::matching::select;
use super::{Answer, Command, Context, Properties, Refusal};
use crate::watcher::Operation;

pub(super) const COMMAND: Command = Command { name: "stop", required: &[], summary: "Stop watchers.", run };

fn run(context: &mut Context<'_>, properties: &Properties<'_>) -> Result<Answer, Refusal> {
    let mut selection = select(context, properties)?;
    selection.ids.reverse();
    context.queue(&selection.ids, &Operation::Stop, selection.shape, properties.waiting())
}
