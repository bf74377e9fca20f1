//! What circusd and its attendants print for whoever typed them. Not their log: that is `daemon::logging`.
//!
//! The macros of the standard library end a program in a panic when nobody takes what they print; these do not.

use clap::Parser;
use std::io::{self, ErrorKind, Write as _};
use std::process::ExitCode;

/// What is not printed.
#[derive(Debug, thiserror::Error)]
pub enum PrintError {
    /// The disk is full, or stdout is not open.
    #[error("cannot write to stdout: {0}")]
    Stdout(#[source] io::Error),
}

/// `text` on stdout. A reader that has had enough, such as `head`, is no error.
///
/// # Errors
/// When stdout is full.
pub fn show(text: &str) -> Result<(), PrintError> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(PrintError::Stdout(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// `text` and a newline on stderr. Where nobody reads it, the exit status still tells.
pub fn complain(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// The arguments of this process; or, when they ask for help or are wrong, the exit status after that was said.
///
/// # Errors
/// There is nothing to do but to end with that status.
pub fn arguments<A: Parser>() -> Result<A, ExitCode> {
    A::try_parse().map_err(|error| {
        let printed = error.print().and_then(|()| io::stdout().flush());
        match (error.use_stderr(), printed) {
            (false, Err(failure)) if failure.kind() != ErrorKind::BrokenPipe => {
                complain(&PrintError::Stdout(failure).to_string());
                ExitCode::FAILURE
            }
            (_, Ok(()) | Err(_)) => u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from),
        }
    })
}

/// The exit status of a program, which says on stderr why it is not 0.
pub fn status_of(program: &str, outcome: Result<(), Box<dyn std::error::Error>>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("{program}: {error}"));
            ExitCode::FAILURE
        }
    }
}
