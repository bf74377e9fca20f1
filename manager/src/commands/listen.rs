//! `listen`: events come over the pub/sub endpoint, so here there is only the hint.

use super::{Answer, Command, Context, Properties, Refusal};

pub(super) const COMMAND: Command =
    Command { name: "listen", required: &[], summary: "Subscribe to events (pub/sub endpoint only).", run };

fn run(_: &mut Context<'_>, _: &Properties<'_>) -> Result<Answer, Refusal> {
    Err(Refusal::UsePubSub)
}
