//! The command line of circus-plugin (spec j).

use crate::cli::LogLevel;
use clap::Parser;

/// Run a plugin of circusd.
#[derive(Debug, Clone, Parser)]
#[command(name = "circus-plugin", disable_version_flag = true)]
pub struct Arguments {
    /// The plugin, as `use` names it.
    pub plugin: Option<String>,
    /// circusd's control endpoint.
    #[arg(long, default_value = "tcp://127.0.0.1:5555")]
    pub endpoint: String,
    /// circusd's event endpoint.
    #[arg(long, default_value = "tcp://127.0.0.1:5556")]
    pub pubsub: String,
    /// The plugin's settings: KEY:VALUE, separated by `:::`.
    #[arg(long, value_name = "KEY:VALUE:::KEY:VALUE")]
    pub config: Option<String>,
    /// How long circusd may take to notice the end of a process, in seconds.
    #[arg(long, default_value_t = 5.0, value_name = "SECONDS")]
    pub check_delay: f64,
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
