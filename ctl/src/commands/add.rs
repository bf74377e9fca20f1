//! `add`: a new watcher while circusd runs.

use super::{Action, Arity, Ask, Command, CommandOption, Complete, insert_word, just_ok};
use crate::request::{ArgumentError, Arguments, Properties};

pub(super) const COMMAND: Command = Command {
    name: "add",
    arguments: "NAME CMD...",
    summary: "Add a watcher",
    details: "The words of CMD are joined with spaces; a command with options of its own is best given as one quoted \
              word. The watcher has default options, which set changes, and stays stopped unless --start is given.",
    arity: Arity::new(2, usize::MAX),
    options: &[START],
    completes: &[Complete::Free],
    action: Action::Ask(Ask { properties, answer: just_ok }),
};

const START: CommandOption = CommandOption { name: "start", value: None, help: "start it at once" };

fn properties(arguments: &Arguments) -> Result<Properties, ArgumentError> {
    let mut properties = Properties::new();
    insert_word(&mut properties, "name", arguments, 0);
    let command: Vec<&str> = arguments.words().iter().skip(1).map(String::as_str).collect();
    properties.insert("cmd".into(), command.join(" ").into());
    properties.insert("start".into(), arguments.flag(START.name).into());
    Ok(properties)
}
