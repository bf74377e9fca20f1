//! `quit`: ends circusd.

use super::{Action, Arity, Ask, Command, WAITING, just_ok};
use crate::request::{ArgumentError, Arguments, Properties};

pub(super) const COMMAND: Command = Command {
    name: "quit",
    arguments: "",
    summary: "Stop the watchers and end circusd",
    details: "Watchers with use_papa go on running; the next circusd takes them back.",
    // Circus ignores words here, so `quit webapp` ends everything; a person who types that means something else.
    arity: Arity::new(0, 0),
    options: &[WAITING],
    completes: &[],
    action: Action::Ask(Ask { properties, answer: just_ok }),
};

fn properties(arguments: &Arguments) -> Result<Properties, ArgumentError> {
    Ok([("waiting".to_owned(), arguments.flag(WAITING.name).into())].into_iter().collect())
}
