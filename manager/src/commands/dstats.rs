//! `dstats`: circusd's own process.

use super::{Answer, Command, Context, Properties, Refusal};
use crate::arbiter::{Effect, Sample};

pub(super) const COMMAND: Command =
    Command { name: "dstats", required: &[], summary: "Get circusd's own statistics.", run };

fn run(context: &mut Context<'_>, _: &Properties<'_>) -> Result<Answer, Refusal> {
    context.effects.push(Effect::Sample(context.asker.clone(), Box::new(Sample::Own), None));
    Ok(Answer::Later)
}
