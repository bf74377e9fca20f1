//! The command line of circusd-stats (spec e).

use crate::attendant::Attendant;
use clap::Parser;

/// Publish what watchers, their processes and sockets use.
#[derive(Debug, Clone, Parser)]
#[command(name = "circusd-stats", disable_version_flag = true)]
pub struct Arguments {
    /// Where to publish.
    #[arg(long, default_value = "tcp://127.0.0.1:5557")]
    pub statspoint: String,
    /// What all attendants have.
    #[command(flatten)]
    pub attendant: Attendant,
}
