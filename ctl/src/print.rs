//! Writing to stdout and stderr without dying of it.

use std::io::{self, Write};

pub use ringmaster_manager::print::complain;

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
