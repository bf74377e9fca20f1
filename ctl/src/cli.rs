//! The command line: `circusctl [options] command [args]`, with Circus's option names (spec m).
//!
//! Nothing here knows a command by name; `parser` builds the parser from the table of commands. Options before the
//! command word are global; those after it belong to the command.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::time::Duration;

use clap::ArgMatches;
use clap::error::{ContextKind, ErrorKind};
use thiserror::Error;

use crate::client::Patience;
use crate::commands::{COMMANDS, Command};
use crate::completion::Shell;
use crate::parser::{USAGE, WORDS, long_help, parser, subcommand};
use crate::request::Arguments;
use crate::tunnel::Ssh;

/// The environment variable that replaces the default endpoint.
pub const ENDPOINT_VARIABLE: &str = "CIRCUSCTL_ENDPOINT";

/// What a command line asks for.
#[derive(Debug)]
pub enum Invocation {
    /// Print this on stdout and succeed.
    Show(String),
    /// Print the completion script of this shell.
    Completion(Shell),
    /// Carry out one command.
    Call(Call),
    /// No command word: carry out lines from stdin.
    Shell(Settings),
}

/// A command, as typed.
#[derive(Debug)]
pub struct Call {
    /// The row of the command word.
    pub command: &'static Command,
    /// What follows the command word.
    pub arguments: Arguments,
    /// The global options.
    pub settings: Settings,
}

/// What one line of the shell asks for.
#[derive(Debug)]
pub enum Typed {
    /// Print this on stdout.
    Show(String),
    /// Carry out the command with these arguments.
    Arguments(Arguments),
}

/// The global options.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `--endpoint`.
    pub endpoint: Option<String>,
    /// `--timeout`; below zero, as in Circus, means to wait for ever.
    pub patience: Patience,
    /// How to print replies.
    pub format: Format,
    /// `--ssh` and `--ssh_keyfile`.
    pub ssh: Option<Ssh>,
}

/// How a reply is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The command's own text.
    Text,
    /// `--json`: the reply as it came.
    Json,
    /// `--json --prettify`: sorted and indented. `--prettify` alone does nothing, as in Circus.
    PrettyJson,
}

/// A command line that cannot be understood; exit status 2. The text goes to stderr as it is.
#[derive(Debug, Error)]
pub enum UsageError {
    /// A command word that is in no row.
    #[error("usage: {USAGE}\ncircusctl: error: unknown command '{word}'\n{}", command_list())]
    UnknownCommand {
        /// What was typed.
        word: String,
    },
    /// Options or values that do not fit.
    #[error("usage: {USAGE}\ncircusctl: error: {problem}")]
    Arguments {
        /// What is wrong with which one.
        problem: String,
    },
}

fn command_list() -> String {
    let names: Vec<&str> = COMMANDS.iter().map(|command| command.name).collect();
    format!("commands: {}", names.join(", "))
}

/// The whole command line, for those who describe it.
pub fn command_line() -> clap::Command {
    parser()
}

/// Parses a whole argument list, program name included.
///
/// # Errors
/// See [`UsageError`].
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Invocation, UsageError> {
    let mut parser = parser();
    let matches = match parser.try_get_matches_from_mut(arguments) {
        Ok(matches) => matches,
        Err(error) => return shown_or_wrong(&error),
    };
    let chosen = matches.subcommand().and_then(|(name, rest)| Some((Command::find(name)?, rest)));
    match chosen {
        Some((command, _)) if matches.get_flag("help") => Ok(Invocation::Show(long_help(command))),
        Some((command, rest)) => {
            Ok(Invocation::Call(Call { command, arguments: arguments_of(command, rest), settings: settings(&matches) }))
        }
        None if matches.get_flag("help") => Ok(Invocation::Show(parser.render_help().to_string())),
        None => Ok(shell_of(&matches).map_or_else(|| Invocation::Shell(settings(&matches)), Invocation::Completion)),
    }
}

/// Parses what follows the word of `command` in a line of the shell.
///
/// # Errors
/// See [`UsageError`].
pub fn parse_words(command: &'static Command, words: Vec<String>) -> Result<Typed, UsageError> {
    let mut parser = subcommand(command).no_binary_name(true);
    match parser.try_get_matches_from_mut(words) {
        Ok(matches) => Ok(Typed::Arguments(arguments_of(command, &matches))),
        Err(error) if error.use_stderr() => Err(wrong(&error)),
        Err(error) => Ok(Typed::Show(error.to_string())),
    }
}

/// clap reports `--version` and `CMD --help` as errors too.
fn shown_or_wrong(error: &clap::Error) -> Result<Invocation, UsageError> {
    if error.use_stderr() { Err(wrong(error)) } else { Ok(Invocation::Show(error.to_string())) }
}

fn wrong(error: &clap::Error) -> UsageError {
    if let (ErrorKind::InvalidSubcommand, Some(word)) = (error.kind(), error.get(ContextKind::InvalidSubcommand)) {
        return UsageError::UnknownCommand { word: word.to_string() };
    }
    let text = error.to_string();
    let problem = text.split("\n\nUsage:").next().unwrap_or(&text);
    let problem = problem.strip_prefix("error: ").unwrap_or(problem).trim_end().to_owned();
    UsageError::Arguments { problem }
}

fn arguments_of(command: &Command, matches: &ArgMatches) -> Arguments {
    let words = matches.get_many::<String>(WORDS).into_iter().flatten().cloned().collect();
    let mut flags = Vec::new();
    let mut values = BTreeMap::new();
    for option in command.options {
        match option.value {
            None if matches.get_flag(option.name) => flags.push(option.name),
            None => {}
            Some(_) => values.extend(text(matches, option.name).map(|value| (option.name, value))),
        }
    }
    Arguments::new(words, flags, values)
}

fn text(matches: &ArgMatches, name: &str) -> Option<String> {
    matches.get_one::<String>(name).cloned()
}

fn shell_of(globals: &ArgMatches) -> Option<Shell> {
    Shell::named(globals.get_one::<String>(Shell::OPTION)?)
}

fn settings(globals: &ArgMatches) -> Settings {
    Settings {
        endpoint: text(globals, "endpoint"),
        patience: globals
            .get_one::<i64>("timeout")
            .and_then(|seconds| u64::try_from(*seconds).ok())
            .map(Duration::from_secs),
        format: match (globals.get_flag("json"), globals.get_flag("prettify")) {
            (true, true) => Format::PrettyJson,
            (true, false) => Format::Json,
            (false, _) => Format::Text,
        },
        ssh: text(globals, "ssh").map(|server| Ssh { server, keyfile: text(globals, "ssh_keyfile") }),
    }
}
