//! `quit`: stops everything but persistent watchers and ends circusd.

use super::{Answer, Command, Context, Properties, Refusal};
use crate::arbiter::Ending;

pub(super) const COMMAND: Command =
    Command { name: "quit", required: &[], summary: "Quit the arbiter immediately.", run };

fn run(context: &mut Context<'_>, properties: &Properties<'_>) -> Result<Answer, Refusal> {
    end(context, Ending::Quit, properties.waiting())
}

/// Begins the end; a client that waits is answered when everything has stopped, just before it comes.
pub(super) fn end(context: &mut Context<'_>, ending: Ending, waiting: bool) -> Result<Answer, Refusal> {
    // A configuration that is being read keeps nobody from quitting.
    if let Some(exclusive) = context.arbiter.end_under_way() {
        return Err(Refusal::Conflict(exclusive));
    }
    let asker = waiting.then(|| context.asker.clone());
    context.arbiter.end(ending, asker, context.now, context.effects, context.touched);
    Ok(if waiting { Answer::Later } else { Answer::plain() })
}
