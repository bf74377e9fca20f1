//! `list`: names of the watchers, or pids of one of them.

use super::{Action, Arity, Ask, Command, Complete, optional_name};
use crate::python;
use crate::reply::{Answer, Reply};

pub(super) const COMMAND: Command = Command {
    name: "list",
    arguments: "[NAME]",
    summary: "List the watchers, or the processes of a watcher",
    details: "Without a name: the names of all watchers, in lower case, joined by commas.\n\
              With a name: the pids of its live processes, joined by commas.",
    arity: Arity::new(0, 1),
    options: &[],
    completes: &[Complete::Watcher],
    action: Action::Ask(Ask { properties: optional_name, answer }),
};

fn answer(reply: &Reply) -> Answer {
    let Some(items) = reply.list("pids").or_else(|| reply.list("watchers")) else {
        return reply.refusal();
    };
    let items: Vec<String> = items.iter().map(python::text).collect();
    Answer::Done(items.join(","))
}
