//! What figures are made of.

use super::{Detail, Histogram};
use crate::arbiter::Sampled;
use crate::sampling::Figures;
use crate::watcher::{Status, Tally, WatcherId};
use ringmaster_protocol::message::StatusReply;
use std::collections::BTreeMap;
use std::time::Duration;

/// What the arbiter knows, at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Snapshot {
    /// When counting began, in seconds since the Unix epoch.
    pub since: f64,
    /// All watchers, by name.
    pub watchers: Vec<WatcherFacts>,
    /// How long commands took, by name.
    pub commands: BTreeMap<&'static str, Histogram>,
}

/// What the arbiter knows of one watcher.
#[derive(Debug, Clone, PartialEq)]
pub struct WatcherFacts {
    /// Its number.
    pub id: WatcherId,
    /// Its name as configured.
    pub name: String,
    /// Its status.
    pub status: Status,
    /// How many processes it shall have.
    pub wanted: u32,
    /// Those that live.
    pub processes: Vec<Sampled>,
    /// What has happened to it.
    pub tally: Tally,
}

/// The core.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Core {
    /// What it says of itself.
    Reachable(Box<StatusReply>),
    /// It did not answer in time, or is away.
    #[default]
    Unreachable,
}

impl Core {
    /// Its words, if there are any.
    pub fn status(&self) -> Option<&StatusReply> {
        match self {
            Self::Reachable(status) => Some(status),
            Self::Unreachable => None,
        }
    }
}

/// Everything that is written in one page.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// What the arbiter knows; the last of it when it does not tell now.
    pub snapshot: Snapshot,
    /// How old that is.
    pub age: Duration,
    /// The core.
    pub core: Core,
    /// Output that is not in its log yet.
    pub buffered: BTreeMap<WatcherId, u64>,
    /// circusd itself.
    pub own: Option<Figures>,
    /// The processes of watchers by pid, those that could be looked at.
    pub processes: BTreeMap<i32, Figures>,
    /// What the processes of each watcher have used together, ended ones included.
    pub cpu: BTreeMap<WatcherId, Duration>,
    /// Whose figures are written.
    pub detail: Detail,
}

impl Facts {
    /// The figures of a watcher's processes.
    pub(super) fn figures<'a>(&'a self, watcher: &'a WatcherFacts) -> impl Iterator<Item = &'a Figures> {
        watcher.processes.iter().filter_map(|process| self.processes.get(&process.pid))
    }
}

/// The largest sum of CPU time that was told of each watcher. A process may end between the arbiter's snapshot and the look
/// at /proc; then its time is in neither, and a counter must not go back.
#[derive(Debug, Clone, Default)]
pub struct CpuMarks(BTreeMap<WatcherId, Duration>);

impl CpuMarks {
    /// The sums to be told now; watchers that are gone are forgotten.
    pub fn raise(&mut self, snapshot: &Snapshot, processes: &BTreeMap<i32, Figures>) -> BTreeMap<WatcherId, Duration> {
        let sum = |watcher: &WatcherFacts| {
            let alive = watcher.processes.iter().filter_map(|process| processes.get(&process.pid));
            let sum = alive.fold(watcher.tally.cpu, |sum, figures| sum.saturating_add(figures.cpu));
            (watcher.id, self.0.get(&watcher.id).copied().unwrap_or_default().max(sum))
        };
        let raised: BTreeMap<_, _> = snapshot.watchers.iter().map(sum).collect();
        self.0.clone_from(&raised);
        raised
    }
}
