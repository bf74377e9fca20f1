//! `numwatchers`: how many watchers there are.

use super::{Answer, Command, Context, Properties, Refusal};

pub(super) const COMMAND: Command =
    Command { name: "numwatchers", required: &[], summary: "Get the number of watchers.", run };

fn run(context: &mut Context<'_>, _: &Properties<'_>) -> Result<Answer, Refusal> {
    Ok(Answer::one("numwatchers", context.arbiter.watchers.len()))
}
