//! `restart`: watchers, or without a name circusd itself within the same process (spec b.6).

use super::matching::select;
use super::{Answer, Command, Context, Properties, Refusal};
use crate::arbiter::AnswerAt;
use crate::watcher::Operation;

pub(super) const COMMAND: Command =
    Command { name: "restart", required: &[], summary: "Restart the arbiter or a watcher.", run };

fn run(context: &mut Context<'_>, properties: &Properties<'_>) -> Result<Answer, Refusal> {
    if properties.name()?.is_none() {
        let answer = if properties.waiting() { AnswerAt::End } else { AnswerAt::Beginning };
        let begun = context.arbiter.restart(context.asker.clone(), answer, context.effects);
        return begun.map(|()| Answer::Later).map_err(Refusal::Conflict);
    }
    let selection = select(context, properties)?;
    context.queue(&selection.ids, &Operation::Restart, selection.shape, properties.waiting())
}
