//! Carries out one command: asks whom the command's row names, and prints the answer. The same for a whole run and for a
//! line of the shell.

use std::path::PathBuf;

use ringmaster_protocol::circus::to_json;
use ringmaster_protocol::status;
use serde_json::Value;

use crate::attach;
use crate::cli::{ENDPOINT_VARIABLE, Format, Settings};
use crate::client::Received;
use crate::commands::listen::SINCE;
use crate::commands::tail::wanted;
use crate::commands::{Action, Ask, Command};
use crate::core_link::Core;
use crate::daemon::Daemon;
use crate::failure::{Exit, Failure};
use crate::interrupt;
use crate::kernel::{self, KernelError};
use crate::listen::{ListenError, listen};
use crate::print::{complain, show, show_bytes};
use crate::python;
use crate::replay::{replay, since};
use crate::reply::Answer;
use crate::request::{Arguments, Request};
use crate::run::Lookup;
use crate::tail::TailError;
use crate::{drill, tail, upgrade};

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

/// Prints events by their numbers until a signal or a failure; both are [`Exit::Failed`], as for [`print_events`].
///
/// # Errors
/// See [`crate::replay::ReplayError`].
pub fn replay_events(daemon: &mut Daemon<'_>, arguments: &Arguments) -> Result<Exit, Failure> {
    let since = since(arguments.value(SINCE.name).unwrap_or_default())?;
    replay(daemon, since, arguments.words(), show, complain)?;
    Ok(Exit::Failed)
}

/// Has circusd replaced and waits for the new one.
///
/// # Errors
/// Nobody answers.
pub fn upgrade(daemon: &mut Daemon<'_>, settings: &Settings) -> Result<Exit, Failure> {
    let (received, away) = upgrade::upgrade(daemon)?;
    if settings.format != Format::Text {
        show_value(settings.format, &upgrade::json(&received, away))?;
        return Ok(Exit::Done);
    }
    match upgrade::text(&received, away) {
        Answer::Done(text) => show(&text).map_err(Failure::Stdout).map(|()| Exit::Done),
        Answer::Refused(text) => {
            complain(&text);
            Ok(Exit::Refused)
        }
    }
}

/// Prints what a watcher's processes have written.
///
/// # Errors
/// See [`crate::tail::TailError`].
pub fn tail(
    runtime: &tokio::runtime::Runtime,
    settings: &Settings,
    arguments: &Arguments,
    lookup: Lookup<'_>,
) -> Result<Exit, Failure> {
    let wanted = wanted(arguments)?;
    let socket = socket_of("tail", settings, arguments, lookup)?;
    runtime.block_on(async {
        let core = Core::connect(&socket).await.map_err(TailError::Core)?;
        tokio::select! {
            biased;
            () = interrupt::signalled() => Ok(Exit::Failed),
            shown = tail::tail(core, &wanted, show_bytes, complain) => shown.map(|()| Exit::Done).map_err(Failure::Tail),
        }
    })
}

/// Kills and compares; a receipt that is not clean is [`Exit::Failed`].
///
/// # Errors
/// See [`crate::drill::DrillError`].
pub fn drill(
    daemon: &mut Daemon<'_>,
    settings: &Settings,
    arguments: &Arguments,
    lookup: Lookup<'_>,
) -> Result<Exit, Failure> {
    let socket = socket_of("drill", settings, arguments, lookup)?;
    let receipt = drill::drill(daemon, &socket, complain)?;
    match settings.format {
        Format::Text => show(&receipt.to_string()).map_err(Failure::Stdout)?,
        Format::Json | Format::PrettyJson => show_value(settings.format, &receipt.json())?,
    }
    Ok(if receipt.is_clean() { Exit::Done } else { Exit::Failed })
}

fn show_value(format: Format, value: &Value) -> Result<(), Failure> {
    let text = match format {
        Format::PrettyJson => python::pretty_json(value),
        Format::Text | Format::Json => String::from_utf8_lossy(&to_json(value)).into_owned(),
    };
    show(&text).map_err(Failure::Stdout)
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
        Action::Listen if arguments.value(SINCE.name).is_some() => {
            replay_events(&mut Daemon::new(runtime, settings, lookup(ENDPOINT_VARIABLE))?, arguments)
        }
        Action::Upgrade => upgrade(&mut Daemon::new(runtime, settings, lookup(ENDPOINT_VARIABLE))?, settings),
        Action::Tail => tail(runtime, settings, arguments, lookup),
        Action::Drill => {
            drill(&mut Daemon::new(runtime, settings, lookup(ENDPOINT_VARIABLE))?, settings, arguments, lookup)
        }
        Action::Listen => print_events(&mut Daemon::events(runtime, settings)?, arguments.words()),
        Action::Kernel => print_kernel(settings, arguments, lookup),
        Action::Attach => attach(settings, arguments, lookup),
    }
}
