//! `rm`: takes a watcher away.

use super::{Action, Arity, Ask, Command, CommandOption, Complete, WAITING, insert_flag, insert_word, just_ok};
use crate::request::{ArgumentError, Arguments, Properties};

pub(super) const COMMAND: Command = Command {
    name: "rm",
    arguments: "NAME",
    summary: "Remove a watcher",
    details: "Its processes are stopped; with --nostop they run on and circusd forgets them.",
    arity: Arity::new(1, 1),
    options: &[NOSTOP, WAITING],
    completes: &[Complete::Watcher],
    action: Action::Ask(Ask { properties, answer: just_ok }),
};

const NOSTOP: CommandOption = CommandOption { name: "nostop", value: None, help: "let the processes run on" };

/// Circus parses both flags and sends neither (spec n.2); here they arrive.
fn properties(arguments: &Arguments) -> Result<Properties, ArgumentError> {
    let mut properties = Properties::new();
    insert_word(&mut properties, "name", arguments, 0);
    insert_flag(&mut properties, NOSTOP, arguments);
    insert_flag(&mut properties, WAITING, arguments);
    Ok(properties)
}
