//! `upgrade` and SIGUSR2: the program that is on disk now takes over, in the same process.
//!
//! Stages: the shell has the new program try itself out; then the arbiter waits for a quiet moment, so that nobody who
//! waits for an answer is cut off; then it ends like a circusd that is killed, only politely: the next one takes
//! everything back. A program that fails its trial changes nothing.

use super::{Arbiter, Asker, Effect, Ending, Exclusive, Phase, batch, refuse};
use crate::clock::Now;
use serde_json::Map;
use std::time::Duration;

/// How long operations that are under way are waited for. What is not finished then is taken up by the next circusd as
/// after a crash.
const PATIENCE: Duration = Duration::from_secs(10);

/// An upgrade under way.
#[derive(Debug)]
pub(super) enum Upgrading {
    /// The new program tries itself out.
    Trial(Asker),
    /// It is all right; a quiet moment is waited for.
    Waiting {
        asker: Asker,
        /// The new program's version.
        version: String,
        until: Duration,
    },
}

impl Arbiter {
    /// Begins.
    ///
    /// # Errors
    /// What excludes it.
    pub fn upgrade(&mut self, asker: Asker, effects: &mut Vec<Effect>) -> Result<(), Exclusive> {
        if let Some(exclusive) = self.end_under_way() {
            return Err(exclusive);
        }
        if self.upgrading.is_some() {
            return Err(Exclusive::Upgrading);
        }
        self.upgrading = Some(Upgrading::Trial(asker));
        effects.push(Effect::TryUpgrade);
        Ok(())
    }

    /// The new program has tried itself out: its version, or why it would not do.
    pub(super) fn tried(&mut self, result: Result<String, String>, now: Now, effects: &mut Vec<Effect>) {
        let Some(Upgrading::Trial(asker)) = self.upgrading.take_if(|stage| matches!(stage, Upgrading::Trial(_))) else {
            return;
        };
        match result {
            Ok(version) => {
                let until = now.mono.saturating_add(PATIENCE);
                self.upgrading = Some(Upgrading::Waiting { asker, version, until });
            }
            Err(reason) => {
                tracing::error!("no upgrade: {reason}");
                refuse(&asker, now, &format!("this circusd goes on: {reason}"), effects);
            }
        }
    }

    /// circusd ends otherwise: whoever waits is told.
    pub(super) fn drop_upgrade(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if let Some(Upgrading::Trial(asker) | Upgrading::Waiting { asker, .. }) = self.upgrading.take() {
            refuse(&asker, now, &Exclusive::Stopping.to_string(), effects);
        }
    }

    /// Goes when it is quiet, or when that has taken too long.
    pub(super) fn proceed_upgrade(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if self.upgrading.is_none() {
            return;
        }
        let quiet = self.is_quiet();
        let Some(Upgrading::Waiting { asker, version, .. }) = self
            .upgrading
            .take_if(|stage| matches!(stage, Upgrading::Waiting { until, .. } if quiet || *until <= now.mono))
        else {
            return;
        };
        tracing::info!("circusd {} is replaced by {version}", env!("CARGO_PKG_VERSION"));
        let mut properties = Map::new();
        properties.insert("from".into(), env!("CARGO_PKG_VERSION").into());
        properties.insert("to".into(), version.into());
        properties.insert("pid".into(), std::process::id().into());
        batch::answer(&asker, now, properties, effects);
        self.phase = Phase::Ended(Ending::Upgrade);
        effects.push(Effect::Finish(Ending::Upgrade));
    }

    /// Somebody wants circusd to end while it goes for the sake of another program, which is not to begin then. Gives whether it was
    /// going so.
    pub fn call_off_upgrade(&mut self) -> bool {
        let going = self.is_called_off() || matches!(self.phase, Phase::Ended(Ending::Upgrade));
        if going {
            self.phase = Phase::Ended(Ending::CalledOff);
        }
        going
    }

    /// Whether the upgrade for which circusd goes is called off.
    pub fn is_called_off(&self) -> bool {
        matches!(self.phase, Phase::Ended(Ending::CalledOff))
    }

    /// Nobody waits for anything that would be cut off.
    fn is_quiet(&self) -> bool {
        let serving = matches!(self.phase, Phase::Serving) && !self.is_reading();
        let watchers = self.watchers.values().chain(self.departing.values());
        serving
            && self.tickets.is_empty()
            && self.hooks.is_idle()
            && self.ledger.is_settled()
            && !watchers.into_iter().any(|one| one.busy())
    }

    pub(super) fn upgrade_deadline(&self) -> Option<Duration> {
        match &self.upgrading {
            Some(Upgrading::Waiting { until, .. }) => Some(*until),
            Some(Upgrading::Trial(_)) | None => None,
        }
    }
}
