//! `get`: some options of a watcher.

use super::{Action, Arity, Ask, Command, Complete, insert_word, options};
use crate::request::{ArgumentError, Arguments, Properties};

pub(super) const COMMAND: Command = Command {
    name: "get",
    arguments: "NAME KEY...",
    summary: "Show some options of a watcher",
    details: "One line 'KEY: VALUE' for each key. The keys are those that options shows.",
    arity: Arity::new(2, usize::MAX),
    options: &[],
    completes: &[Complete::Watcher, Complete::ShownOption],
    action: Action::Ask(Ask { properties, answer: options::answer }),
};

fn properties(arguments: &Arguments) -> Result<Properties, ArgumentError> {
    let mut properties = Properties::new();
    insert_word(&mut properties, "name", arguments, 0);
    let keys: Vec<&str> = arguments.words().iter().skip(1).map(String::as_str).collect();
    properties.insert("keys".into(), keys.into());
    Ok(properties)
}
