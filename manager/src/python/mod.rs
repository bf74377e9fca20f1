//! A `python3` of our own, for what is Python in a configuration: hooks and stream classes. It runs one source that is
//! compiled into circusd, needs nothing but Python's standard library, and talks over a Unix socket.
//!
//! What is said there is not decided here; that is `hooks/wire.rs` and `streams/python/wire.rs`. [`IMPORTING`] is the part of
//! both sources that finds what a dotted name means.

mod import_failure;
mod trial;

pub use import_failure::ImportFailure;
pub use trial::{Trial, TrialError, try_all};

use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command};

/// Python's side of finding a class or a function by its name.
pub const IMPORTING: &str = include_str!("importing.py");

/// Takes the source from standard input, so that no file is needed and `ps` stays readable.
const BOOTSTRAP: &str = "\
import os, sys
n, s = int(sys.argv[1]), b''
while len(s) < n: s += os.read(0, n - len(s)) or sys.exit('circusd is gone')
exec(compile(s, sys.argv[2], 'exec'))";

/// Starts one. `name` is for `ps` and for tracebacks; `command` is a `python3`, as it is to run. Our end of the socket is blocking.
///
/// # Errors
/// There is no `python3`, or no descriptor left.
pub fn start(mut command: Command, name: &str, source: &[&str]) -> std::io::Result<(Child, UnixStream)> {
    let (mut ours, theirs) = UnixStream::pair()?;
    let source = source.concat();
    // It fits into the socket's buffer, so this waits for nobody.
    ours.write_all(source.as_bytes())?;
    let child = command
        .args(["-c", BOOTSTRAP, &source.len().to_string(), name])
        .stdin(OwnedFd::from(theirs))
        .process_group(0)
        .spawn()?;
    Ok((child, ours))
}

/// The `python3` on circusd's `PATH`, with circusd's environment.
pub fn python3() -> Command {
    Command::new("python3")
}
