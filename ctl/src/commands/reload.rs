//! `reload`: replaces processes without an interruption of service.

use super::{Action, Arity, Ask, Command, CommandOption, Complete, WAITING, insert_word, just_ok};
use crate::request::{ArgumentError, Arguments, Properties};

pub(super) const COMMAND: Command = Command {
    name: "reload",
    arguments: "[NAME]",
    summary: "Replace the processes of a watcher, or of all, by new ones",
    details: "NAME is an exact name. A watcher with send_hup gets SIGHUP instead. Otherwise the new processes start \
              first and the old ones are stopped then; with --sequential they are replaced one by one.\n\
              With --terminate the watcher is stopped and started.",
    arity: Arity::new(0, 1).or("invalid number of arguments"),
    options: &[WAITING, SEQUENTIAL, TERMINATE],
    completes: &[Complete::Watcher],
    action: Action::Ask(Ask { properties, answer: just_ok }),
};

const SEQUENTIAL: CommandOption =
    CommandOption { name: "sequential", value: None, help: "replace the processes one after another" };
const TERMINATE: CommandOption = CommandOption { name: "terminate", value: None, help: "stop the old processes first" };

fn properties(arguments: &Arguments) -> Result<Properties, ArgumentError> {
    let mut properties = Properties::new();
    insert_word(&mut properties, "name", arguments, 0);
    properties.insert("graceful".into(), (!arguments.flag(TERMINATE.name)).into());
    properties.insert("waiting".into(), arguments.flag(WAITING.name).into());
    properties.insert("sequential".into(), arguments.flag(SEQUENTIAL.name).into());
    Ok(properties)
}
