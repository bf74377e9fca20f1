//! Runs one command line: parse, ask, print, exit status.
//!
//! Exit statuses (spec m): 0 done; 1 bad argument, no connection, no answer in time; 2 usage; 3 the daemon
//! refused. With `--json` every reply, refusals too, is printed on stdout and the status is 0.

use std::ffi::OsString;
use std::process::ExitCode;

use crate::cli::{self, Invocation};
use crate::completion;
use crate::failure::{Exit, Failure};
use crate::print::{complain, show};
use crate::{session, shell};

/// Reads a variable of the environment.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// Runs the process's command line in the environment that `lookup` reads.
pub fn main(arguments: impl IntoIterator<Item = OsString>, lookup: Lookup<'_>) -> ExitCode {
    let exit = run(arguments, lookup).unwrap_or_else(|failure| {
        if !failure.is_wanted() {
            complain(&failure.to_string());
        }
        failure.exit()
    });
    ExitCode::from(exit.status())
}

fn run(arguments: impl IntoIterator<Item = OsString>, lookup: Lookup<'_>) -> Result<Exit, Failure> {
    if let Some(asked) = completion::Asked::by(lookup) {
        return with_runtime(|runtime| completion::print(runtime, &asked, lookup));
    }
    match cli::parse(arguments)? {
        Invocation::Show(text) => print(text.trim_end()),
        Invocation::Completion(shell) => print(completion::script(shell).trim_end()),
        Invocation::Call(call) => {
            with_runtime(|runtime| session::once(runtime, &call.settings, call.command, &call.arguments, lookup))
        }
        Invocation::Shell(settings) => with_runtime(|runtime| shell::run(runtime, settings, lookup)),
    }
}

fn print(text: &str) -> Result<Exit, Failure> {
    show(text).map(|()| Exit::Done).map_err(Failure::Stdout)
}

/// One thread is all that one request needs; starting more would cost more than the request.
fn with_runtime(work: impl FnOnce(&tokio::runtime::Runtime) -> Result<Exit, Failure>) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::Runtime)?;
    let result = work(&runtime);
    // A name lookup that hangs in its thread, or a line that nobody types, must not hold us up.
    runtime.shutdown_background();
    result
}
