//! What `papa` prints for whoever typed it. What a core says that serves is `say`.
//!
//! The macros of the standard library end a program in a panic when nobody takes what they print; these do not.

use std::io::{self, ErrorKind, Write as _};

/// `text` on stdout. A reader that has had enough, such as `head`, is no failure.
///
/// # Errors
/// When stdout is full, or not open.
pub fn show(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// `papa: text` on stderr. Where nobody reads it, the exit status still tells.
pub fn complain(text: &str) {
    let _ = writeln!(io::stderr().lock(), "papa: {text}");
}
