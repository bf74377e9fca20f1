//! The command line of circusd (spec b.1).

use clap::{Parser, ValueEnum};
use std::path::PathBuf;

/// What `--version` prints first: the Circus whose behaviour this is. Scripts look for it.
pub const CIRCUS_VERSION: &str = "0.19.0";

/// As `--version` prints it.
const VERSION: &str = concat!("0.19.0 (Ringmaster ", env!("CARGO_PKG_VERSION"), ")");

/// Levels that `--log-level` and `loglevel` know, in lower or upper case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum LogLevel {
    /// Only what ends circusd.
    #[value(alias = "CRITICAL")]
    Critical,
    /// What failed.
    #[value(alias = "ERROR")]
    Error,
    /// What looks wrong.
    #[value(alias = "WARNING")]
    Warning,
    /// What happens.
    #[value(alias = "INFO")]
    Info,
    /// Everything.
    #[value(alias = "DEBUG")]
    Debug,
}

/// Run some watchers.
#[derive(Debug, Clone, Parser)]
#[command(name = "circusd", disable_version_flag = true)]
#[allow(clippy::struct_excessive_bools, reason = "each is a switch of its own on the command line")]
pub struct Arguments {
    /// Configuration file.
    pub config: Option<PathBuf>,
    /// Log level [default: info].
    #[arg(long, value_enum, value_name = "LEVEL")]
    pub log_level: Option<LogLevel>,
    /// Where log messages go: a file, `syslog://HOST[:PORT][?FACILITY]`, `syslog:///PATH[?FACILITY]`, or `-` for standard
    /// error [default: -].
    #[arg(long, value_name = "FILE")]
    pub log_output: Option<String>,
    /// Python logging configuration, JSON or INI; `default` for none. Instead of level and output.
    #[arg(long, value_name = "FILE")]
    pub logger_config: Option<String>,
    /// Run in the background.
    #[arg(long)]
    pub daemon: bool,
    /// File for the process id.
    #[arg(long, value_name = "FILE")]
    pub pidfile: Option<PathBuf>,
    /// Show what would run, and everything that is wrong, without running it.
    #[arg(long)]
    pub check: bool,
    /// Show every effective value and where it comes from: file and line, default, command line, or a change at run time.
    #[arg(long)]
    pub print_config: bool,
    /// Show the version.
    #[arg(long)]
    pub version: bool,
    /// Do what a start does, without consequences: a running circusd asks the program that is to replace it.
    #[arg(long, hide = true)]
    pub trial: bool,
    /// Set by `--daemon` for the process that stays.
    #[arg(long, hide = true)]
    pub daemonized: bool,
    /// Go on when the program that has taken the place of circusd in this process does not come to serve.
    #[arg(long, hide = true, value_name = "PID")]
    pub stand_by: Option<i32>,
}

impl Arguments {
    /// The text of `--version`.
    pub fn version_text() -> &'static str {
        VERSION
    }
}
