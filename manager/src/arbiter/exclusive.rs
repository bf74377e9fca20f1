//! What truly excludes a command, in Circus's words (spec c.5). Everything else runs side by side or queues.

use super::{Arbiter, Ending, Phase};

/// Something that excludes a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exclusive {
    /// circusd is quitting.
    Stopping,
    /// circusd starts anew.
    Restarting,
    /// The configuration is being read again.
    Reconfiguring,
    /// The watcher is being removed.
    Removing,
    /// circusd is about to be replaced.
    Upgrading,
}

impl std::fmt::Display for Exclusive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stopping => f.write_str("arbiter is already running arbiter_stop command"),
            Self::Restarting => f.write_str("arbiter is restarting..."),
            Self::Reconfiguring => f.write_str("arbiter is already running arbiter_reload_config command"),
            Self::Upgrading => f.write_str("arbiter is already running arbiter_upgrade command"),
            Self::Removing => f.write_str("arbiter is already running arbiter_rm_watcher command"),
        }
    }
}

impl Arbiter {
    /// What excludes commands that change anything.
    pub fn exclusive(&self) -> Option<Exclusive> {
        self.end_under_way().or_else(|| self.is_reading().then_some(Exclusive::Reconfiguring))
    }

    /// What excludes the end of circusd: only that it has begun.
    pub fn end_under_way(&self) -> Option<Exclusive> {
        match &self.phase {
            Phase::Ending(Ending::Quit) | Phase::Ended(Ending::Quit) => Some(Exclusive::Stopping),
            Phase::Ending(_) | Phase::Ended(_) => Some(Exclusive::Restarting),
            Phase::Booting(_) | Phase::Serving => None,
        }
    }
}
