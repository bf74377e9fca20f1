//! `tail`: the last lines that a watcher's processes wrote. How they are read is `crate::tail`; this is the row.

use ringmaster_protocol::ring::Stream;

use super::kernel::{INSTANCE, SOCKET};
use super::{Action, Arity, Command, CommandOption, Complete};
use crate::request::{ArgumentError, Arguments};
use crate::tail::Wanted;

pub(super) const COMMAND: Command = Command {
    name: "tail",
    arguments: "NAME [stdout|stderr]",
    summary: "Show what a watcher's processes have written",
    details: "Reads the core's rings on this host, so it needs no log file and no circusd; the processes need a stdout_stream \
              or stderr_stream, otherwise they write where circusd does. A ring keeps the last 2 MiB of a stream. With \
              several processes each line begins with the pid. What it reads stays for the logs.",
    arity: Arity::new(1, 2),
    options: &[FOLLOW, LINES, TIME, INSTANCE, SOCKET],
    completes: &[Complete::Watcher, Complete::Stream],
    action: Action::Tail,
};

const FOLLOW: CommandOption =
    CommandOption { name: "follow", value: None, help: "go on with what is written from now on, until Ctrl-C" };
const LINES: CommandOption = CommandOption { name: "lines", value: Some("N"), help: "how many lines [default: 10]" };
const TIME: CommandOption =
    CommandOption { name: "time", value: None, help: "begin each line with the time at which it reached the core" };

/// As many as tail(1) shows.
const DEFAULT_LINES: usize = 10;

/// The streams as words.
pub const STREAMS: &[&str] = &["stdout", "stderr"];

/// What the arguments ask for.
///
/// # Errors
/// A stream or a number that is none.
pub fn wanted(arguments: &Arguments) -> Result<Wanted, ArgumentError> {
    let stream = match arguments.word(1) {
        None => None,
        Some(word) => Some(
            Stream::ALL
                .into_iter()
                .find(|stream| stream.name() == word)
                .ok_or_else(|| ArgumentError::NotAStream { given: word.to_owned() })?,
        ),
    };
    let lines = match arguments.value(LINES.name) {
        None => DEFAULT_LINES,
        Some(given) => {
            given.trim().parse().or(Err(ArgumentError::NotAnInteger { what: "lines", given: given.to_owned() }))?
        }
    };
    Ok(Wanted {
        watcher: arguments.word(0).unwrap_or_default().to_owned(),
        stream,
        lines,
        follow: arguments.flag(FOLLOW.name),
        time: arguments.flag(TIME.name),
    })
}
