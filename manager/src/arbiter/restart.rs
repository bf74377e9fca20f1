//! `restart` of everything: the file is read first, and only when it has no errors does anything stop.
//!
//! What was read is what the next life begins with, so that a file that breaks while services stop changes nothing.

use super::{Arbiter, Asker, Effect, Ending, Exclusive, batch, refuse};
use crate::clock::Now;
use crate::config::Config;
use crate::watcher::WatcherId;
use serde_json::Map;
use std::collections::BTreeSet;

/// A `restart` whose file is being read.
#[derive(Debug)]
pub(super) struct Restarting {
    asker: Asker,
    answer: AnswerAt,
}

/// When whoever asked for a restart is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerAt {
    /// When the file has been read.
    Beginning,
    /// When everything has stopped.
    End,
}

impl Arbiter {
    /// Begins: the shell reads the file.
    ///
    /// # Errors
    /// What excludes it.
    pub fn restart(&mut self, asker: Asker, answer: AnswerAt, effects: &mut Vec<Effect>) -> Result<(), Exclusive> {
        if let Some(exclusive) = self.end_under_way() {
            return Err(exclusive);
        }
        if self.restarting.is_some() {
            return Err(Exclusive::Restarting);
        }
        self.restarting = Some(Restarting { asker, answer });
        effects.push(Effect::ReadConfig);
        Ok(())
    }

    /// The shell has read the file for a restart.
    pub(super) fn restart_with(
        &mut self,
        restarting: Restarting,
        result: Result<Box<Config>, String>,
        now: Now,
        effects: &mut Vec<Effect>,
        touched: &mut BTreeSet<WatcherId>,
    ) {
        let Restarting { asker, answer } = restarting;
        match (result, answer) {
            (Ok(config), AnswerAt::Beginning) => {
                self.file = Some(config);
                batch::answer(&asker, now, Map::new(), effects);
                self.end(Ending::Restart, None, now, effects, touched);
            }
            (Ok(config), AnswerAt::End) => {
                self.file = Some(config);
                self.end(Ending::Restart, Some(asker), now, effects, touched);
            }
            (Err(errors), _) => {
                tracing::error!("no restart, because the file has errors:\n{errors}");
                let errors = errors.lines().collect::<Vec<_>>().join("; ");
                refuse(&asker, now, &format!("nothing is restarted, because the file has errors: {errors}"), effects);
            }
        }
    }

    /// circusd ends otherwise: whoever waits is told.
    pub(super) fn drop_restart(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if let Some(Restarting { asker, .. }) = self.restarting.take() {
            refuse(&asker, now, &Exclusive::Stopping.to_string(), effects);
        }
    }

    /// The file as it was when it was last read without errors in this life, for whoever comes next.
    pub fn take_file(&mut self) -> Option<Box<Config>> {
        self.file.take()
    }
}
