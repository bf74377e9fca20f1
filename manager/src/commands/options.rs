//! `options`: all options of a watcher that Circus shows (spec c.8).

use super::{Answer, Command, Context, Properties, Refusal};

pub(super) const COMMAND: Command =
    Command { name: "options", required: &["name"], summary: "Get the value of all options for a watcher.", run };

fn run(context: &mut Context<'_>, properties: &Properties<'_>) -> Result<Answer, Refusal> {
    Ok(Answer::one("options", crate::options::shown(&context.watcher(properties)?.options)))
}
