//! `listsockets`: the sockets of `[socket:]` with their numbers in children.

use super::{Answer, Command, Context, Properties, Refusal};
use crate::arbiter::BoundSocket;
use serde_json::Value;

pub(super) const COMMAND: Command =
    Command { name: "listsockets", required: &[], summary: "Get the list of sockets.", run };

fn run(context: &mut Context<'_>, _: &Properties<'_>) -> Result<Answer, Refusal> {
    let sockets: Vec<Value> = context.arbiter.world.sockets.iter().map(BoundSocket::describe).collect();
    Ok(Answer::one("sockets", sockets))
}
