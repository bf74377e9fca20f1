//! `kill`: ends processes, gently first; the watcher goes on and replaces them.

use super::{Action, Arity, Ask, Command, CommandOption, Complete, WAITING, insert_word, just_ok};
use crate::request::{ArgumentError, Arguments, Properties, integer, seconds};

pub(super) const COMMAND: Command = Command {
    name: "kill",
    arguments: "NAME [PID]",
    summary: "End the processes of a watcher, or one of them",
    details: "Sends the watcher's stop_signal, and SIGKILL to what is still there after graceful_timeout. The \
              watcher stays active and respawns what was ended.",
    arity: Arity::new(1, 2),
    options: &[WAITING, SIGNUM, GRACEFUL_TIMEOUT],
    completes: &[Complete::Watcher],
    action: Action::Ask(Ask { properties, answer: just_ok }),
};

const SIGNUM: CommandOption = CommandOption {
    name: "signum",
    value: Some("SIGNUM"),
    help: "signal to send instead of stop_signal, a number or a name",
};
const GRACEFUL_TIMEOUT: CommandOption = CommandOption {
    name: "graceful_timeout",
    value: Some("SECONDS"),
    help: "time until SIGKILL, instead of the watcher's graceful_timeout",
};

/// Numbers are sent as numbers (a string timeout wedges Circus's daemon), and `--waiting` is sent at all
/// (Circus drops it): spec n.2.
fn properties(arguments: &Arguments) -> Result<Properties, ArgumentError> {
    let mut properties = Properties::new();
    insert_word(&mut properties, "name", arguments, 0);
    if let Some(pid) = arguments.word(1) {
        properties.insert("pid".into(), integer("PID", pid)?);
    }
    if let Some(signum) = arguments.value(SIGNUM.name) {
        properties.insert("signum".into(), signum.into());
    }
    if let Some(timeout) = arguments.value(GRACEFUL_TIMEOUT.name) {
        properties.insert("graceful_timeout".into(), seconds("--graceful_timeout", timeout)?);
    }
    properties.insert("waiting".into(), arguments.flag(WAITING.name).into());
    Ok(properties)
}
