//! `quit`: stops everything but persistent watchers and ends circusd.

use super::{Answer, Command, Context, Properties, Refusal};
use crate::arbiter::Ending;

pub(super) const COMMAND: Command =
    Command { name: "quit", required: &[], summary: "Quit the arbiter immediately.", run };

fn run(context: &mut Context<'_>, properties: &Properties<'_>) -> Result<Answer, Refusal> {
    // Everything is on its way to another program: it is fetched back to be ended, and nobody can be answered by then.
    if context.arbiter.call_off_upgrade() {
        return Ok(Answer::plain());
    }
    end(context, properties.waiting())
}

/// Begins the end; a client that waits is answered when everything has stopped, just before it comes.
fn end(context: &mut Context<'_>, waiting: bool) -> Result<Answer, Refusal> {
    // A configuration that is being read keeps nobody from quitting.
    if let Some(exclusive) = context.arbiter.end_under_way() {
        return Err(Refusal::Conflict(exclusive));
    }
    let asker = waiting.then(|| context.asker.clone());
    context.arbiter.end(Ending::Quit, asker, context.now, context.effects, context.touched);
    Ok(if waiting { Answer::Later } else { Answer::plain() })
}
