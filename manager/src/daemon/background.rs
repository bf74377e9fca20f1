//! `--daemon`: the same program once more, in a session of its own, without a terminal.
//!
//! circusd never forks itself: it has threads, and its state is not made for two. The process that stays is started anew
//! with `--daemonized`.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

/// Set for the process that stays.
pub const DAEMONIZED: &str = "--daemonized";

/// Why circusd cannot go to the background.
#[derive(Debug, thiserror::Error)]
pub enum BackgroundError {
    /// The own executable is unknown or cannot be started.
    #[error("cannot start circusd in the background: {0}")]
    Start(#[source] std::io::Error),
    /// setsid(2) failed.
    #[error("cannot leave the terminal's session: {0}")]
    Session(#[source] rustix::io::Errno),
}

/// Starts the process that stays, with the same arguments. Its configuration has been checked already.
pub fn start_in_background() -> Result<(), BackgroundError> {
    let program = std::env::current_exe().map_err(BackgroundError::Start)?;
    let name = std::env::args_os().next().unwrap_or_else(|| program.clone().into_os_string());
    Command::new(program)
        .arg0(name)
        .args(std::env::args_os().skip(1).filter(|argument| argument != "--daemon"))
        .arg(DAEMONIZED)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map(drop)
        .map_err(BackgroundError::Start)
}

/// In the process that stays: a session of its own.
pub fn leave_terminal() -> Result<(), BackgroundError> {
    rustix::process::setsid().map(drop).map_err(BackgroundError::Session)
}
