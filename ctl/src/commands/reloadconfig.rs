//! `reloadconfig`: circusd reads its file again and applies what changed.

use super::{Action, Arity, Ask, Command, WAITING, just_ok};
use crate::request::{ArgumentError, Arguments, Properties};

pub(super) const COMMAND: Command = Command {
    name: "reloadconfig",
    arguments: "",
    summary: "Read the configuration file again and apply what changed",
    details: "Watchers that are new in the file start, changed ones restart, missing ones stop. What was changed by \
              set, incr, decr, add and rm since the start goes back to the file. Without --waiting the answer says \
              only that it has begun; what goes wrong later is in circusd's log.",
    // Circus ignores words here; a person who types one means something else.
    arity: Arity::new(0, 0),
    options: &[WAITING],
    completes: &[],
    action: Action::Ask(Ask { properties, answer: just_ok }),
};

fn properties(arguments: &Arguments) -> Result<Properties, ArgumentError> {
    Ok([("waiting".to_owned(), arguments.flag(WAITING.name).into())].into_iter().collect())
}
