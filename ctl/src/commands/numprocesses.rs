//! `numprocesses`: how many processes run.

use super::{Action, Arity, Ask, Command, Complete, optional_name};
use crate::python;
use crate::reply::{Answer, Reply};

pub(super) const COMMAND: Command = Command {
    name: "numprocesses",
    arguments: "[NAME]",
    summary: "Count the processes of a watcher, or all",
    details: "Counts the processes there are, not the number configured.",
    arity: Arity::new(0, 1).or("message invalid"),
    options: &[],
    completes: &[Complete::Watcher],
    action: Action::Ask(Ask { properties: optional_name, answer }),
};

fn answer(reply: &Reply) -> Answer {
    reply.when_ok(|| reply.get("numprocesses").map(python::text).unwrap_or_default())
}
