//! Runs one command line: parse, ask, print, exit status.
//!
//! Exit statuses (spec m): 0 done; 1 bad argument, no connection, no answer in time; 2 usage; 3 the daemon
//! refused. With `--json` every reply, refusals too, is printed on stdout and the status is 0.

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use thiserror::Error;

use crate::cli::{self, ENDPOINT_VARIABLE, Format, Invocation, UsageError};
use crate::client::{self, ClientError, Patience};
use crate::commands::Command;
use crate::endpoint::{self, Endpoint, EndpointError};
use crate::python;
use crate::reply::{Answer, Reply};
use crate::request::{ArgumentError, Request};

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Everything asked for was done.
    Done,
    /// It could not be asked, or nobody answered.
    Failed,
    /// The command line makes no sense.
    Usage,
    /// The daemon answered with an error.
    Refused,
}

impl Exit {
    /// The process's exit status.
    pub fn status(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Refused => 3,
        }
    }
}

/// Everything that ends a run before there is a reply.
#[derive(Debug, Error)]
enum Failure {
    #[error(transparent)]
    Usage(#[from] UsageError),
    #[error(transparent)]
    Argument(#[from] ArgumentError),
    #[error("error: {origin}: {reason}")]
    Endpoint {
        origin: &'static str,
        reason: EndpointError,
    },
    #[error("error: {ENDPOINT_VARIABLE} is not valid UTF-8")]
    EndpointVariable,
    #[error(
        "error: --{option}: tunnels are not there yet; forward the port with 'ssh -L' and use --endpoint, or run \
         circusctl on that host"
    )]
    Tunnel { option: &'static str },
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("error: cannot start: {0}")]
    Runtime(io::Error),
    #[error("error: cannot write to stdout: {0}")]
    Stdout(io::Error),
}

impl Failure {
    fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) => Exit::Usage,
            Self::Argument(_)
            | Self::Endpoint { .. }
            | Self::EndpointVariable
            | Self::Tunnel { .. }
            | Self::Client(_)
            | Self::Runtime(_)
            | Self::Stdout(_) => Exit::Failed,
        }
    }
}

/// Runs the process's command line; `endpoint_variable` is the value of [`ENDPOINT_VARIABLE`].
pub fn main(arguments: impl IntoIterator<Item = OsString>, endpoint_variable: Option<OsString>) -> ExitCode {
    let exit = run(arguments, endpoint_variable).unwrap_or_else(|failure| {
        complain(&failure.to_string());
        failure.exit()
    });
    ExitCode::from(exit.status())
}

fn run(
    arguments: impl IntoIterator<Item = OsString>,
    endpoint_variable: Option<OsString>,
) -> Result<Exit, Failure> {
    let call = match cli::parse(arguments)? {
        Invocation::Show(text) => return show(text.trim_end()).map(|()| Exit::Done),
        Invocation::Call(call) => call,
    };
    let properties = call.command.request(&call.arguments)?;
    if let Some(option) = call.tunnel {
        return Err(Failure::Tunnel { option });
    }
    let endpoint = choose_endpoint(call.endpoint.as_deref(), endpoint_variable)?;
    let request = Request {
        command: call.command.name,
        properties,
    };
    let received = block_on_call(&endpoint, call.patience, &request)?;
    match call.format {
        Format::Text => return print_answer(call.command, &received.reply),
        Format::Json => show(&received.raw)?,
        Format::PrettyJson => show(&python::pretty_json(&received.reply.into_value()))?,
    }
    Ok(Exit::Done)
}

/// `--endpoint`, then the environment, then Circus's default (spec m).
fn choose_endpoint(option: Option<&str>, variable: Option<OsString>) -> Result<Endpoint, Failure> {
    let (origin, text) = match (option, variable) {
        (Some(text), _) => ("--endpoint", text.to_owned()),
        (None, Some(text)) => (
            ENDPOINT_VARIABLE,
            text.into_string().map_err(|_bytes| Failure::EndpointVariable)?,
        ),
        (None, None) => ("default endpoint", endpoint::DEFAULT.to_owned()),
    };
    text.parse()
        .map_err(|reason| Failure::Endpoint { origin, reason })
}

/// One thread is all that one request needs; starting more would cost more than the request.
fn block_on_call(
    endpoint: &Endpoint,
    patience: Patience,
    request: &Request,
) -> Result<client::Received, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::Runtime)?;
    let received = runtime.block_on(client::call(endpoint, patience, request));
    // A name lookup that hangs in its thread must not hold us up.
    runtime.shutdown_background();
    Ok(received?)
}

fn print_answer(command: &Command, reply: &Reply) -> Result<Exit, Failure> {
    match (command.answer)(reply) {
        Answer::Done(text) => show(&text).map(|()| Exit::Done),
        Answer::Refused(text) => {
            complain(&text);
            Ok(Exit::Refused)
        }
    }
}

fn show(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.write_all(b"\n"))
        .and_then(|()| stdout.flush())
        .map_err(Failure::Stdout)
}

/// When stderr is closed there is nobody left to tell; the exit status still says it.
fn complain(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}
