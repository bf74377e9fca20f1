//! `decr`: fewer processes.

use super::{Action, Arity, Ask, Command, Complete, WAITING, incr};

pub(super) const COMMAND: Command = Command {
    name: "decr",
    arguments: "NAME [NB]",
    summary: "Remove processes from a watcher",
    details: "NB is how many, 1 by default; the number never goes below 0. Shows the new number with --waiting, \
              otherwise ok.",
    arity: Arity::new(1, 2),
    options: &[WAITING],
    completes: &[Complete::Watcher],
    action: Action::Ask(Ask { properties: incr::properties, answer: incr::answer }),
};
