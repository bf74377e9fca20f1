//! `stop`: stops watchers.

use super::{Action, Arity, Ask, Command, Complete, MATCH, WAITING, just_ok, matching};

pub(super) const COMMAND: Command = Command {
    name: "stop",
    arguments: "[NAME]",
    summary: "Stop a watcher, or all",
    details: "NAME is a pattern. Each process gets the watcher's stop signal and, after graceful_timeout, SIGKILL.\n\
              Without a name, all watchers stop; circusd itself goes on.\n\
              Words after NAME are ignored, as in Circus: use a pattern to stop several watchers.",
    // Circus's transcript of `stop x y` looks up x and never mentions y.
    arity: Arity::new(0, usize::MAX),
    options: &[WAITING, MATCH],
    completes: &[Complete::Watcher],
    action: Action::Ask(Ask { properties: matching, answer: just_ok }),
};
