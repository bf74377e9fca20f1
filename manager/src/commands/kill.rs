//! `kill`: stops processes, which the watcher then replaces. As in Circus a request that does not wait hears nothing of
//! what goes wrong (spec c.4); numbers may come as text (spec n.2).

use super::{Answer, Command, Context, Properties, Refusal};
use crate::arbiter::ReplyShape;
use crate::options::Signal;
use crate::watcher::Operation;
use serde_json::Value;
use std::time::Duration;

pub(super) const COMMAND: Command =
    Command { name: "kill", required: &["name"], summary: "Stop processes gracefully, then by SIGKILL.", run };

fn run(context: &mut Context<'_>, properties: &Properties<'_>) -> Result<Answer, Refusal> {
    // What the request says by itself is checked first and always told (spec c.4).
    let signal = super::signal::optional(properties)?;
    match queue(context, properties, signal) {
        Err(refusal @ Refusal::Conflict(_)) => Err(refusal),
        Err(_) if properties.waiting() => Err(Refusal::Background),
        Err(refusal) => {
            tracing::warn!("kill does nothing: {refusal}");
            Ok(Answer::plain())
        }
        answer => answer,
    }
}

fn queue(context: &mut Context<'_>, properties: &Properties<'_>, signal: Option<Signal>) -> Result<Answer, Refusal> {
    let pid = match properties.get("pid") {
        None | Some(Value::Null) => None,
        Some(_) => properties.integer("pid")?.map(|pid| i32::try_from(pid).unwrap_or(-1)),
    };
    let timeout = properties
        .seconds("graceful_timeout")?
        .map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX));
    let id = context.watcher(properties)?.id;
    context.queue(&[id], &Operation::Kill { pid, signal, timeout }, ReplyShape::Plain, properties.waiting())
}
