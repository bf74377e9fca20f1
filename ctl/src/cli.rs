//! The command line: `circusctl [options] command [args]`, with Circus's option names (spec m).
//!
//! The parser and every help text are built from [`COMMANDS`]; nothing here knows a command by name. Options
//! before the command word are global; those after it belong to the command.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::time::Duration;

use clap::error::{ContextKind, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches};
use thiserror::Error;

use crate::client::Patience;
use crate::commands::{COMMANDS, Command, CommandOption};
use crate::request::Arguments;

/// The environment variable that replaces the default endpoint.
pub const ENDPOINT_VARIABLE: &str = "CIRCUSCTL_ENDPOINT";

/// Circus's default `--timeout`, in seconds.
const DEFAULT_TIMEOUT: &str = "5";

/// Scripts look for `circusctl 0.19.0`: the command line is that of this version of Circus.
const VERSION: &str = concat!("0.19.0 (Ringmaster ", env!("CARGO_PKG_VERSION"), ")");

/// Word ids inside clap.
const WORDS: &str = "words";

/// What a command line asks for.
#[derive(Debug)]
pub enum Invocation {
    /// Print this on stdout and succeed.
    Show(String),
    /// Ask the daemon.
    Call(Call),
}

/// A command for the daemon, as typed.
#[derive(Debug)]
pub struct Call {
    /// The row of the command word.
    pub command: &'static Command,
    /// What follows the command word.
    pub arguments: Arguments,
    /// `--endpoint`.
    pub endpoint: Option<String>,
    /// `--timeout`; below zero, as in Circus, means to wait for ever.
    pub patience: Patience,
    /// How to print the reply.
    pub format: Format,
    /// The tunnel option that was given, if any.
    pub tunnel: Option<&'static str>,
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
    /// No command word. Circus opens its shell here.
    #[error(
        "usage: {USAGE}\ncircusctl: error: a command is missing; the interactive shell is not there yet\n{}",
        command_list()
    )]
    NoCommand,
    /// A command word that is in no row.
    #[error(
        "usage: {USAGE}\ncircusctl: error: unknown command '{word}'\n{}",
        command_list()
    )]
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

/// The usage line, the same as Circus's.
const USAGE: &str = "circusctl [options] command [args]";

fn command_list() -> String {
    let names: Vec<&str> = COMMANDS.iter().map(|command| command.name).collect();
    format!("commands: {}", names.join(", "))
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
    let chosen = matches
        .subcommand()
        .and_then(|(name, rest)| Some((Command::find(name)?, rest)));
    match chosen {
        Some((command, _)) if matches.get_flag("help") => Ok(Invocation::Show(long_help(command))),
        Some((command, rest)) => Ok(Invocation::Call(call(command, &matches, rest))),
        None if matches.get_flag("help") => Ok(Invocation::Show(parser.render_help().to_string())),
        None => Err(UsageError::NoCommand),
    }
}

/// clap reports `--version` and `CMD --help` as errors too.
fn shown_or_wrong(error: &clap::Error) -> Result<Invocation, UsageError> {
    let text = error.to_string();
    if !error.use_stderr() {
        return Ok(Invocation::Show(text));
    }
    if let (ErrorKind::InvalidSubcommand, Some(word)) =
        (error.kind(), error.get(ContextKind::InvalidSubcommand))
    {
        return Err(UsageError::UnknownCommand {
            word: word.to_string(),
        });
    }
    let problem = text.split("\n\nUsage:").next().unwrap_or(&text);
    let problem = problem
        .strip_prefix("error: ")
        .unwrap_or(problem)
        .trim_end()
        .to_owned();
    Err(UsageError::Arguments { problem })
}

fn call(command: &'static Command, globals: &ArgMatches, rest: &ArgMatches) -> Call {
    let text = |matches: &ArgMatches, name: &str| matches.get_one::<String>(name).cloned();
    let words = rest
        .get_many::<String>(WORDS)
        .into_iter()
        .flatten()
        .cloned()
        .collect();
    let mut flags = Vec::new();
    let mut values = BTreeMap::new();
    for option in command.options {
        match option.value {
            None if rest.get_flag(option.name) => flags.push(option.name),
            None => {}
            Some(_) => values.extend(text(rest, option.name).map(|value| (option.name, value))),
        }
    }
    Call {
        command,
        arguments: Arguments::new(words, flags, values),
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
        tunnel: ["ssh", "ssh_keyfile"]
            .into_iter()
            .find(|name| globals.contains_id(name)),
    }
}

fn parser() -> clap::Command {
    let flag = |name: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue);
    let value = |name: &'static str, shown: &'static str| Arg::new(name).long(name).value_name(shown);
    clap::Command::new("circusctl")
        .about("Controls circusd.")
        .override_usage(USAGE)
        .version(VERSION)
        .disable_version_flag(true)
        .disable_help_flag(true)
        .disable_help_subcommand(true)
        .subcommand_help_heading("Commands")
        .subcommand_value_name("command")
        .args([
            value("endpoint", "ENDPOINT").help(
                "where circusd listens, tcp://HOST:PORT or ipc://PATH [default: $CIRCUSCTL_ENDPOINT, then \
                 tcp://127.0.0.1:5555]",
            ),
            value("timeout", "SECONDS")
                .value_parser(clap::value_parser!(i64))
                .allow_negative_numbers(true)
                .default_value(DEFAULT_TIMEOUT)
                .help("how long to wait for the answer"),
            flag("json").help("print the whole reply as JSON, errors too, and exit with 0"),
            flag("prettify").help("with --json: sort and indent it"),
            value("ssh", "USER@HOST[:PORT]").help("not there yet"),
            value("ssh_keyfile", "FILE").help("not there yet"),
            flag("help")
                .short('h')
                .help("show this help, or with a command its long help"),
            flag("version")
                .action(ArgAction::Version)
                .help("show the version"),
        ])
        .subcommands(COMMANDS.iter().map(subcommand))
}

fn subcommand(command: &'static Command) -> clap::Command {
    clap::Command::new(command.name)
        .about(command.summary)
        .override_usage(usage_line(command))
        .disable_help_flag(true)
        .arg(
            Arg::new(WORDS)
                .num_args(0..)
                .allow_negative_numbers(true)
                .hide(true),
        )
        .args(command.options.iter().map(option))
        .arg(
            Arg::new("help")
                .short('h')
                .long("help")
                .action(ArgAction::HelpShort)
                .help("show this help"),
        )
}

/// `circusctl [options] kill NAME [PID] [--waiting] [--signum SIGNUM] ...`
fn usage_line(command: &Command) -> String {
    let mut line = format!("circusctl [options] {}", command.name);
    if !command.arguments.is_empty() {
        line = format!("{line} {}", command.arguments);
    }
    for option in command.options {
        line = match option.value {
            None => format!("{line} [--{}]", option.name),
            Some(value) => format!("{line} [--{} {value}]", option.name),
        };
    }
    line
}

fn option(option: &CommandOption) -> Arg {
    let arg = Arg::new(option.name).long(option.name).help(option.help);
    match option.value {
        None => arg.action(ArgAction::SetTrue),
        Some(shown) => arg.value_name(shown),
    }
}

/// `circusctl --help CMD`: the short help and the details.
fn long_help(command: &'static Command) -> String {
    subcommand(command)
        .after_help(command.details)
        .render_help()
        .to_string()
}
