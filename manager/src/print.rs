//! What circusd prints for whoever typed it. Not its log: that is `daemon::logging`.

use std::io::{self, ErrorKind, Write as _};

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
