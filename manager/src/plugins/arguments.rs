//! The command line of circus-plugin (spec j).

use crate::attendant::Attendant;
use clap::Parser;

/// Run a plugin of circusd.
#[derive(Debug, Clone, Parser)]
#[command(name = "circus-plugin", disable_version_flag = true)]
pub struct Arguments {
    /// The plugin, as `use` names it.
    pub plugin: Option<String>,
    /// The plugin's settings: KEY:VALUE, separated by `:::`.
    #[arg(long, value_name = "KEY:VALUE:::KEY:VALUE")]
    pub config: Option<String>,
    /// How long circusd may take to notice the end of a process, in seconds.
    #[arg(long, default_value_t = 5.0, value_name = "SECONDS")]
    pub check_delay: f64,
    /// What all attendants have.
    #[command(flatten)]
    pub attendant: Attendant,
}
