//! The clap parser and every help text, built from [`COMMANDS`]. What the parsed words mean is `cli`'s business.

use clap::{Arg, ArgAction};

use crate::commands::{COMMANDS, Command, CommandOption};
use crate::completion::Shell;

/// Circus's default `--timeout`, in seconds.
const DEFAULT_TIMEOUT: &str = "5";

/// The version of Circus whose command line this is.
pub(crate) const CIRCUS_VERSION: &str = "0.19.0";

/// Scripts look for `circusctl 0.19.0`.
const VERSION: &str = concat!("0.19.0 (Ringmaster ", env!("CARGO_PKG_VERSION"), ")");

/// Word ids inside clap.
pub(crate) const WORDS: &str = "words";

/// The usage line, the same as Circus's.
pub(crate) const USAGE: &str = "circusctl [options] command [args]";

/// The whole command line.
pub(crate) fn parser() -> clap::Command {
    let flag = |name: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue);
    let value = |name: &'static str, shown: &'static str| Arg::new(name).long(name).value_name(shown);
    clap::Command::new("circusctl")
        .about("Controls circusd. Without a command: an interactive shell.")
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
            value("ssh", "[USER@]HOST[:PORT]")
                .help("reach the endpoint from that host, through a tunnel of the program ssh"),
            value("ssh_keyfile", "FILE").requires("ssh").help("the private key for --ssh"),
            value(Shell::OPTION, "SHELL")
                .value_parser(Shell::NAMES)
                .help("print the completion script for bash, zsh or fish"),
            flag("help").short('h').help("show this help, or with a command its long help"),
            flag("version").action(ArgAction::Version).help("show the version"),
        ])
        .subcommands(COMMANDS.iter().map(subcommand))
}

/// What follows one command word.
pub(crate) fn subcommand(command: &'static Command) -> clap::Command {
    clap::Command::new(command.name)
        .about(command.summary)
        .override_usage(usage_line(command))
        .disable_help_flag(true)
        .arg(Arg::new(WORDS).num_args(0..).allow_negative_numbers(true).hide(true))
        .args(command.options.iter().map(option))
        .arg(Arg::new("help").short('h').long("help").action(ArgAction::HelpShort).help("show this help"))
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

/// Options that have a short form, as in tail(1).
fn short(name: &str) -> Option<char> {
    [("follow", 'f'), ("lines", 'n')].into_iter().find(|(long, _)| *long == name).map(|(_, short)| short)
}

fn option(option: &CommandOption) -> Arg {
    let arg = Arg::new(option.name).long(option.name).help(option.help).short(short(option.name));
    match option.value {
        None => arg.action(ArgAction::SetTrue),
        Some(shown) => arg.value_name(shown),
    }
}

/// `circusctl --help CMD`: the short help and the details.
pub(crate) fn long_help(command: &'static Command) -> String {
    subcommand(command).after_help(command.details).render_help().to_string()
}
