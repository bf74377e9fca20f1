//! Writing to stdout and stderr without dying of it.

use std::io::{self, Write};

/// `text` and a newline on stdout, at once.
///
/// # Errors
/// When stdout is closed or full.
pub fn show(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.write_all(b"\n")?;
    stdout.flush()
}

/// Bytes and a newline on stdout, at once.
///
/// # Errors
/// When stdout is closed or full.
pub fn show_bytes(bytes: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes)?;
    stdout.write_all(b"\n")?;
    stdout.flush()
}

/// `text` on stdout without a newline, at once.
///
/// # Errors
/// When stdout is closed or full.
pub fn prompt(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// `text` and a newline on stderr. When stderr is closed there is nobody left to tell; the exit status still says it.
pub fn complain(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}
