//! What `circusd-stats` and `circus-plugin` have in common: programs of their own that attend a circusd over its endpoints.

use crate::cli::LogLevel;
use crate::daemon::{LineFormat, LogTarget, LoggingError, Outlet, start_logging};
use clap::Args;

/// The part of their command lines that is the same (spec e, j).
#[derive(Debug, Clone, Args)]
pub struct Attendant {
    /// circusd's control endpoint.
    #[arg(long, default_value = "tcp://127.0.0.1:5555")]
    pub endpoint: String,
    /// circusd's event endpoint.
    #[arg(long, default_value = "tcp://127.0.0.1:5556")]
    pub pubsub: String,
    /// Log level.
    #[arg(long, value_enum, default_value = "info", value_name = "LEVEL")]
    pub log_level: LogLevel,
    /// Where log messages go: a file, a syslog URL, or `-` for standard error.
    #[arg(long, value_name = "FILE")]
    pub log_output: Option<String>,
    /// Refused: use a tunnel of `ssh -L`.
    #[arg(long, value_name = "USER@HOST")]
    pub ssh: Option<String>,
    /// Show the version.
    #[arg(long)]
    pub version: bool,
}

/// Why an attendant does not start.
#[derive(Debug, thiserror::Error)]
pub enum AttendError {
    /// `--log-output`.
    #[error("{0}")]
    Log(#[from] LoggingError),
    /// `--ssh`.
    #[error("--ssh: build the tunnel with ssh -L and name its near end with --endpoint and --pubsub")]
    Ssh,
}

impl Attendant {
    /// Starts the log, and refuses what cannot be done.
    ///
    /// # Errors
    /// See [`AttendError`].
    pub fn begin(&self) -> Result<(), AttendError> {
        let target = LogTarget::parse(self.log_output.as_deref())?;
        start_logging(&[Outlet { target, level: self.log_level, format: LineFormat::circus() }])?;
        if self.ssh.is_some() { Err(AttendError::Ssh) } else { Ok(()) }
    }
}
