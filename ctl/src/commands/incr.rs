//! `incr`: more processes. What it shares with `decr` is here.

use super::{Action, Arity, Ask, Command, Complete, WAITING, insert_word};
use crate::python;
use crate::reply::{Answer, Reply};
use crate::request::{ArgumentError, Arguments, Properties, integer};

pub(super) const COMMAND: Command = Command {
    name: "incr",
    arguments: "NAME [NB]",
    summary: "Add processes to a watcher",
    details: "NB is how many, 1 by default. Shows the new number with --waiting, otherwise ok.",
    arity: Arity::new(1, 2),
    options: &[WAITING],
    completes: &[Complete::Watcher],
    action: Action::Ask(Ask { properties, answer }),
};

/// Properties of incr and decr.
pub(super) fn properties(arguments: &Arguments) -> Result<Properties, ArgumentError> {
    let mut properties = Properties::new();
    insert_word(&mut properties, "name", arguments, 0);
    if let Some(number) = arguments.word(1) {
        properties.insert("nb".into(), integer("NB", number)?);
    }
    properties.insert("waiting".into(), arguments.flag(WAITING.name).into());
    Ok(properties)
}

/// Text of incr and decr.
pub(super) fn answer(reply: &Reply) -> Answer {
    reply.when_ok(|| {
        if reply.get("singleton").is_some() {
            return "This watcher is a Singleton - not changing the number of processes".to_owned();
        }
        reply.get("numprocesses").map_or_else(|| "ok".to_owned(), python::text)
    })
}
