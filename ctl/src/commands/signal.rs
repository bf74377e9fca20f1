//! `signal`: sends a signal and does nothing else.

use super::{Action, Arity, Ask, Command, CommandOption, Complete, insert_word, just_ok};
use crate::request::{ArgumentError, Arguments, Properties, integer};

pub(super) const COMMAND: Command = Command {
    name: "signal",
    arguments: "NAME [PID] SIGNUM",
    summary: "Send a signal to the processes of a watcher",
    details: "SIGNUM is a number or a name, with or without SIG. With PID, only that process is signalled.\n\
              A process that the signal ends is respawned; to stop it for good, see stop and decr.",
    arity: Arity::new(2, 3),
    options: &[CHILDREN, RECURSIVE],
    completes: &[Complete::Watcher, Complete::Signal],
    action: Action::Ask(Ask { properties, answer: just_ok }),
};

const CHILDREN: CommandOption =
    CommandOption { name: "children", value: None, help: "signal the children of the processes instead" };
const RECURSIVE: CommandOption =
    CommandOption { name: "recursive", value: None, help: "signal the processes and all their descendants" };

fn properties(arguments: &Arguments) -> Result<Properties, ArgumentError> {
    let mut properties = Properties::new();
    insert_word(&mut properties, "name", arguments, 0);
    properties.insert("children".into(), arguments.flag(CHILDREN.name).into());
    properties.insert("recursive".into(), arguments.flag(RECURSIVE.name).into());
    match arguments.words() {
        [_, pid, _] => {
            insert_word(&mut properties, "signum", arguments, 2);
            properties.insert("pid".into(), integer("PID", pid)?);
        }
        [] | [_] | [_, _] | [_, _, _, ..] => insert_word(&mut properties, "signum", arguments, 1),
    }
    Ok(properties)
}
