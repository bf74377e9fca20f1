//! `status`: whether watchers are active, stopped, starting or stopping.

use super::{Action, Arity, Ask, Command, Complete, optional_name};
use crate::python;
use crate::reply::{Answer, Reply};

pub(super) const COMMAND: Command = Command {
    name: "status",
    arguments: "[NAME]",
    summary: "Show the status of a watcher, or of all",
    details: "The status is active, stopped, starting or stopping.\n\
              Without a name: one line 'NAME: STATUS' for each watcher, sorted by name.",
    arity: Arity::new(0, 1).or("message invalid"),
    options: &[],
    completes: &[Complete::Watcher],
    action: Action::Ask(Ask { properties: optional_name, answer }),
};

/// With a name the daemon answers `"status": "active"` and so on (spec c.3): the status of the reply *is* the
/// answer, and an error shows as the bare word `error`, as in Circus.
fn answer(reply: &Reply) -> Answer {
    if let Some(statuses) = reply.object("statuses") {
        let mut lines: Vec<String> =
            statuses.iter().map(|(name, status)| format!("{name}: {}", python::text(status))).collect();
        lines.sort();
        return Answer::Done(lines.join("\n"));
    }
    match reply.status() {
        "error" => Answer::Refused("error".to_owned()),
        "" => reply.refusal(),
        status => Answer::Done(status.to_owned()),
    }
}
