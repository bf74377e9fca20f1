//! Processes that are taken back and were started from other options than their watcher has now: the file has changed while no
//! circusd ran, or before circusd was told to read it. They are left alone, as services are that nobody asked to restart, and named.

use crate::process::Making;
use crate::watcher::{Watcher, WatcherId};
use ringmaster_protocol::message::ProcessInfo;
use std::collections::{BTreeMap, BTreeSet};

/// What is seen of them while processes are taken back.
#[derive(Debug, Default)]
pub(super) struct Outdated(BTreeMap<WatcherId, Seen>);

#[derive(Debug)]
struct Seen {
    name: String,
    now: Making,
    differences: BTreeSet<String>,
    pids: Vec<i32>,
}

impl Outdated {
    /// One process of the watcher. Gives what it was made of when the watcher makes others now.
    pub(super) fn look(
        &mut self,
        watcher: &Watcher,
        info: &ProcessInfo,
        circusd_env: &BTreeMap<String, String>,
    ) -> Option<Making> {
        let then = Making::noted(&info.note).filter(|_| info.exit.is_none())?;
        let seen = self.0.entry(watcher.id).or_insert_with(|| Seen {
            name: watcher.options.name.clone(),
            now: Making::of(&watcher.options, circusd_env),
            differences: BTreeSet::new(),
            pids: Vec::new(),
        });
        let differences = seen.now.differences(&then);
        if differences.is_empty() {
            return None;
        }
        seen.differences.extend(differences.into_iter().map(str::to_owned));
        seen.pids.push(info.pid);
        Some(then)
    }

    /// A warning for each watcher.
    pub(super) fn tell(self) {
        for seen in self.0.into_values().filter(|seen| !seen.pids.is_empty()) {
            tracing::warn!("{seen}");
        }
    }
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, differences, pids, .. } = self;
        let differences = differences.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        let number = pids.len();
        let which = match pids.as_slice() {
            [pid] => format!("pid {pid} of {name} was"),
            _ => format!("{number} processes of {name} were"),
        };
        write!(f, "{which} started with other options than it has now ({differences}) and kept running; ")?;
        write!(f, "`circusctl restart {name}` applies them")
    }
}
