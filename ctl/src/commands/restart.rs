//! `restart`: stops and starts watchers, or circusd itself.

use super::{Action, Arity, Ask, Command, Complete, MATCH, WAITING, just_ok, matching};

pub(super) const COMMAND: Command = Command {
    name: "restart",
    arguments: "[NAME]",
    summary: "Restart a watcher, or circusd with all of them",
    details: "NAME is a pattern. Without a name circusd stops everything and starts again from its configuration \
              file.\nFor a restart without an interruption of service, see reload.",
    arity: Arity::new(0, 1),
    options: &[WAITING, MATCH],
    completes: &[Complete::Watcher],
    action: Action::Ask(Ask { properties: matching, answer: just_ok }),
};
