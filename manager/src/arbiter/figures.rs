//! What monitoring is told: a copy of the numbers, made when somebody asks. Counting is done where things happen.

use super::{Arbiter, Effect};
use crate::clock::Now;
use crate::commands::sampled;
use crate::metrics::{Snapshot, WatcherFacts};
use crate::watcher::Watcher;

impl Arbiter {
    pub(super) fn snapshot(&self, now: Now) -> Snapshot {
        let watchers = self.by_name().map(|(_, watcher)| facts(watcher)).collect();
        Snapshot { since: now.wall - now.mono.as_secs_f64(), watchers, commands: self.commands.clone() }
    }

    /// Log files were moved away. A watcher that was removed meanwhile is told of no more.
    pub(super) fn rotated(&mut self, watcher: &str, files: u64) {
        let id = self.names.get(&watcher.to_lowercase());
        if let Some(watcher) = id.and_then(|id| self.watchers.get_mut(id)) {
            watcher.tally.rotations = watcher.tally.rotations.saturating_add(files);
        }
    }

    /// Notes how long those have waited who are answered now.
    pub(super) fn time(&mut self, now: Now, effects: &[Effect]) {
        for effect in effects {
            if let Effect::Reply { timing: Some(timing), .. } = effect {
                let took = now.mono.saturating_sub(timing.arrived);
                self.commands.entry(timing.command).or_default().observe(took);
            }
        }
    }
}

fn facts(watcher: &Watcher) -> WatcherFacts {
    WatcherFacts {
        id: watcher.id,
        name: watcher.options.name.clone(),
        status: watcher.status,
        wanted: watcher.options.numprocesses,
        processes: sampled(watcher),
        tally: watcher.tally.clone(),
    }
}
