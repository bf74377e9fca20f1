//! `upgrade`: the circusd that is on disk now takes over. Circus has no such command.

use super::{Answer, Command, Context, Properties, Refusal};

pub(super) const COMMAND: Command =
    Command { name: "upgrade", required: &[], summary: "Replace circusd by the program on disk.", run };

/// The answer comes when the new program is about to take over, or has been found unfit.
fn run(context: &mut Context<'_>, _: &Properties<'_>) -> Result<Answer, Refusal> {
    let asker = context.asker.clone();
    context.arbiter.upgrade(asker, context.effects).map_err(Refusal::Conflict)?;
    Ok(Answer::Later)
}
