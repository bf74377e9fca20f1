//! `reloadconfig`: the file again, and only what differs (spec f.9).

use super::{Answer, Command, Context, Properties, Refusal};
use crate::arbiter::Asker;

pub(super) const COMMAND: Command =
    Command { name: "reloadconfig", required: &[], summary: "Reload the configuration file.", run };

/// As in Circus a client that does not wait hears nothing of errors in the file; the log has them all.
fn run(context: &mut Context<'_>, properties: &Properties<'_>) -> Result<Answer, Refusal> {
    let waiting = properties.waiting();
    let asker = if waiting { context.asker.clone() } else { Asker::nobody() };
    context.arbiter.reload_config(asker, context.effects).map_err(Refusal::Conflict)?;
    Ok(if waiting { Answer::Later } else { Answer::plain() })
}
