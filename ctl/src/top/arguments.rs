//! The command line of circus-top (spec e), with `--watcher`, `--sort`, `--once`, `--json` and `--no-color` beside Circus's own.

use crate::endpoint::Endpoint;
use clap::{Parser, ValueEnum};
use std::time::Duration;

/// By what the processes of a watcher are sorted, largest first; pids smallest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Sort {
    /// CPU.
    Cpu,
    /// Memory.
    Mem,
    /// Age.
    Age,
    /// Number.
    Pid,
}

impl Sort {
    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Mem => "memory",
            Self::Age => "age",
            Self::Pid => "pid",
        }
    }
}

/// Show what watchers, processes and sockets use.
#[derive(Debug, Clone, Parser)]
#[command(name = "circus-top", disable_version_flag = true)]
#[allow(clippy::struct_excessive_bools, reason = "each is a switch of its own on the command line")]
pub struct Arguments {
    /// circusd's stats_endpoint.
    #[arg(long, default_value = "tcp://127.0.0.1:5557")]
    pub endpoint: Endpoint,
    /// Reach it through SSH.
    #[arg(long, value_name = "USER@HOST[:PORT]")]
    pub ssh: Option<String>,
    /// The key for SSH.
    #[arg(long = "ssh_keyfile", value_name = "FILE")]
    pub ssh_keyfile: Option<String>,
    /// Seconds after which a process without news is not shown any more.
    #[arg(long, default_value_t = 3.0, value_name = "SECONDS")]
    pub process_timeout: f64,
    /// Show this watcher only; may be given several times.
    #[arg(long, value_name = "NAME")]
    pub watcher: Vec<String>,
    /// Order of processes.
    #[arg(long, value_enum, default_value = "cpu")]
    pub sort: Sort,
    /// Print one table and end.
    #[arg(long)]
    pub once: bool,
    /// With --once: print JSON.
    #[arg(long, requires = "once")]
    pub json: bool,
    /// No colours.
    #[arg(long)]
    pub no_color: bool,
    /// Show the version.
    #[arg(long)]
    pub version: bool,
}

impl Arguments {
    /// `--process-timeout`; what is no time is for ever.
    pub fn process_timeout(&self) -> Duration {
        Duration::try_from_secs_f64(self.process_timeout).unwrap_or(Duration::MAX)
    }
}
