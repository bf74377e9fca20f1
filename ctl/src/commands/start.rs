//! `start`: starts watchers.

use super::{Action, Arity, Ask, Command, Complete, MATCH, WAITING, just_ok, matching};

pub(super) const COMMAND: Command = Command {
    name: "start",
    arguments: "[NAME]",
    summary: "Start a watcher, or all that have autostart",
    details: "NAME is a pattern. Started watchers stay as they are, but missing processes are spawned.\n\
              Without a name, watchers with autostart = false stay stopped.",
    arity: Arity::new(0, 1),
    options: &[WAITING, MATCH],
    completes: &[Complete::Watcher],
    action: Action::Ask(Ask { properties: matching, answer: just_ok }),
};
