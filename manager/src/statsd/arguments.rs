//! The command line of circusd-stats (spec e).

use crate::cli::LogLevel;
use clap::Parser;

/// Publish what watchers, their processes and sockets use.
#[derive(Debug, Clone, Parser)]
#[command(name = "circusd-stats", disable_version_flag = true)]
pub struct Arguments {
    /// circusd's control endpoint.
    #[arg(long, default_value = "tcp://127.0.0.1:5555")]
    pub endpoint: String,
    /// circusd's event endpoint.
    #[arg(long, default_value = "tcp://127.0.0.1:5556")]
    pub pubsub: String,
    /// Where to publish.
    #[arg(long, default_value = "tcp://127.0.0.1:5557")]
    pub statspoint: String,
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
