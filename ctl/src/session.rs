//! Carries out one command: asks whom the command's row names, and prints the answer. The same for a whole run and for a
//! line of the shell.

use std::path::PathBuf;

use ringmaster_protocol::circus::to_json;
use ringmaster_protocol::status;
use serde_json::Value;

use crate::attach;
use crate::cli::{ENDPOINT_VARIABLE, Format, Settings};
use crate::client::Received;
use crate::commands::{Action, Ask, Command};
use crate::daemon::Daemon;
use crate::failure::{Exit, Failure};
use crate::interrupt;
use crate::kernel::{self, KernelError};
use crate::listen::{ListenError, listen};
use crate::print::{complain, show};
use crate::python;
use crate::reply::Answer;
use crate::request::{Arguments, Request};
use crate::run::Lookup;

/// Asks `daemon`, the one for commands, and prints the answer as `action` words it.
///
/// # Errors
/// What keeps the question from an answer.
pub fn ask(daemon: &mut Daemon<'_>, format: Format, action: Ask, request: &Request) -> Result<Exit, Failure> {
    let received = daemon.ask(request)?;
    print_reply(format, action, received)
}

fn print_reply(format: Format, action: Ask, received: Received) -> Result<Exit, Failure> {
    match format {
        Format::Text => match (action.answer)(&received.reply) {
            Answer::Done(text) => show(&text).map_err(Failure::Stdout)?,
            Answer::Refused(text) => {
                complain(&text);
                return Ok(Exit::Refused);
            }
        },
        Format::Json => show(&received.raw).map_err(Failure::Stdout)?,
        Format::PrettyJson => {
            show(&python::pretty_json(&received.reply.into_value())).map_err(Failure::Stdout)?;
        }
    }
    Ok(Exit::Done)
}

/// Prints events of `daemon`, the one for events, until a signal or a failure; both are [`Exit::Failed`], as in Circus.
///
/// # Errors
/// See [`ListenError`].
pub fn print_events(daemon: &mut Daemon<'_>, topics: &[String]) -> Result<Exit, Failure> {
    let (endpoint, patience) = (daemon.reach()?, daemon.patience());
    let ended: Option<ListenError> = daemon.runtime().block_on(async {
        tokio::select! {
            biased;
            () = interrupt::signalled() => None,
            error = listen(&endpoint, patience, topics, show, complain) => Some(error),
        }
    });
    ended.map_or(Ok(Exit::Failed), |error| Err(error.into()))
}

/// Prints the status of the core.
///
/// # Errors
/// See [`kernel::KernelError`].
pub fn print_kernel(settings: &Settings, arguments: &Arguments, lookup: Lookup<'_>) -> Result<Exit, Failure> {
    let socket = socket_of("kernel", settings, arguments, lookup)?;
    let reply = kernel::ask(&socket, settings.patience)?;
    show(&kernel_text(settings.format, &reply)).map_err(Failure::Stdout)?;
    Ok(Exit::Done)
}

/// Talks to the core in Papa's text protocol, until the one or the other ends it.
///
/// # Errors
/// See [`kernel::KernelError`]; or our own streams.
pub fn attach(settings: &Settings, arguments: &Arguments, lookup: Lookup<'_>) -> Result<Exit, Failure> {
    attach::run(&socket_of("attach", settings, arguments, lookup)?, lookup)
}

/// The core that a command means.
fn socket_of(
    command: &'static str,
    settings: &Settings,
    arguments: &Arguments,
    lookup: Lookup<'_>,
) -> Result<PathBuf, KernelError> {
    if settings.ssh.is_some() {
        return Err(KernelError::Elsewhere { command });
    }
    let variable = || lookup(ENDPOINT_VARIABLE)?.into_string().ok();
    let endpoint = settings.endpoint.clone().or_else(variable);
    kernel::socket_of(arguments, endpoint.as_deref(), lookup)
}

fn kernel_text(format: Format, reply: &ringmaster_protocol::message::StatusReply) -> String {
    let value: Value = status::json(reply);
    match format {
        Format::Text => status::text(reply).trim_end().to_owned(),
        Format::Json => String::from_utf8_lossy(&to_json(&value)).into_owned(),
        Format::PrettyJson => python::pretty_json(&value),
    }
}

/// Carries out the command of a whole run.
///
/// # Errors
/// What keeps it from an end.
pub fn once(
    runtime: &tokio::runtime::Runtime,
    settings: &Settings,
    command: &'static Command,
    arguments: &Arguments,
    lookup: Lookup<'_>,
) -> Result<Exit, Failure> {
    command.check(arguments)?;
    match command.action {
        Action::Ask(action) => {
            let request = action.request(command, arguments)?;
            let mut daemon = Daemon::new(runtime, settings, lookup(ENDPOINT_VARIABLE))?;
            ask(&mut daemon, settings.format, action, &request)
        }
        Action::Listen => print_events(&mut Daemon::events(runtime, settings)?, arguments.words()),
        Action::Kernel => print_kernel(settings, arguments, lookup),
        Action::Attach => attach(settings, arguments, lookup),
    }
}
