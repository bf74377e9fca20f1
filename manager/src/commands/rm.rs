//! `rm`: takes a watcher out; its processes are stopped, or with `nostop` left running and unwatched (spec c.7).

use super::{Answer, Command, Context, Properties, Refusal};
use crate::arbiter::ReplyShape;

pub(super) const COMMAND: Command = Command { name: "rm", required: &["name"], summary: "Remove a watcher.", run };

fn run(context: &mut Context<'_>, properties: &Properties<'_>) -> Result<Answer, Refusal> {
    let id = context.watcher(properties)?.id;
    context.check_exclusive()?;
    let leave = properties.truth("nostop").unwrap_or(false);
    let waiter = (properties.waiting() && !leave).then(|| {
        let asker = context.asker.clone();
        context.arbiter.open_batch(asker, ReplyShape::Plain, 1)
    });
    context.arbiter.remove(id, leave, waiter, context.now, context.effects, context.touched);
    Ok(if waiter.is_some() { Answer::Later } else { Answer::plain() })
}
