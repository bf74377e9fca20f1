//! `numwatchers`: how many watchers there are.

use super::{Action, Arity, Ask, Command};
use crate::python;
use crate::reply::{Answer, Reply};
use crate::request::Properties;

pub(super) const COMMAND: Command = Command {
    name: "numwatchers",
    arguments: "",
    summary: "Count the watchers",
    details: "Plugins are watchers too, and are counted.",
    arity: Arity::new(0, 0),
    options: &[],
    completes: &[],
    action: Action::Ask(Ask { properties: |_| Ok(Properties::new()), answer }),
};

fn answer(reply: &Reply) -> Answer {
    reply.when_ok(|| reply.get("numwatchers").map(python::text).unwrap_or_default())
}
