//! Which processes belong to which watcher, from replies and events. Pure.
//!
//! A watcher has one name in topics, whether it is known from `list` or from an event (spec n.2): lower case, spaces as
//! `_` as in events, and dots as `-`, because readers split topics at dots and show `-` as a dot.

use crate::client::{Object, WatcherEvent};
use serde_json::Value;
use std::collections::BTreeMap;

/// The pseudo watcher of circusd and its helpers (spec e).
const CIRCUS: &str = "circus";

/// The watchers that are its helpers, by the name that their processes get there.
const HELPERS: [&str; 2] = ["circusd-stats", "circushttpd"];

/// One process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its number.
    pub pid: i32,
    /// What it is, for a process of the pseudo watcher.
    pub name: Option<String>,
}

/// Who there is.
#[derive(Debug, Default)]
pub struct Roster {
    watchers: BTreeMap<String, Vec<Member>>,
}

impl Roster {
    /// circusd by its answer to `dstats`, and this process.
    pub fn with_daemon(dstats: &Object, own_pid: u32) -> Self {
        let mut roster = Self::default();
        let daemon = dstats.get("info").and_then(|info| info.get("pid")).and_then(pid);
        roster.add(CIRCUS, daemon, Some("circusd"));
        roster.add(CIRCUS, i32::try_from(own_pid).ok(), Some("circusd-stats"));
        roster
    }

    /// The processes of a watcher, all of them.
    pub fn set(&mut self, name: &str, pids: Vec<i32>) {
        self.watchers.remove(&canonical(name));
        for pid in pids {
            self.spawned(name, pid);
        }
    }

    /// What an event changes.
    pub fn follow(&mut self, event: &WatcherEvent) {
        match (event.kind.as_str(), event.pid()) {
            ("spawn", Some(pid)) => self.spawned(&event.watcher, pid),
            ("reap", Some(pid)) => self.ended(pid),
            ("stop" | "remove", _) => drop(self.watchers.remove(&canonical(&event.watcher))),
            _ => {}
        }
    }

    /// Each watcher with its processes.
    pub fn watchers(&self) -> impl Iterator<Item = (&str, &[Member])> {
        self.watchers.iter().map(|(name, members)| (name.as_str(), members.as_slice()))
    }

    fn spawned(&mut self, watcher: &str, pid: i32) {
        let name = canonical(watcher);
        self.add(&name, Some(pid), None);
        if let Some(helper) = HELPERS.iter().find(|helper| **helper == name) {
            self.add(CIRCUS, Some(pid), Some(helper));
        }
    }

    fn ended(&mut self, pid: i32) {
        for members in self.watchers.values_mut() {
            members.retain(|member| member.pid != pid);
        }
        self.watchers.retain(|_, members| !members.is_empty());
    }

    fn add(&mut self, watcher: &str, pid: Option<i32>, name: Option<&str>) {
        let Some(pid) = pid else { return };
        let members = self.watchers.entry(watcher.to_owned()).or_default();
        if members.iter().all(|member| member.pid != pid) {
            members.push(Member { pid, name: name.map(str::to_owned) });
        }
    }
}

/// The name in topics.
pub fn canonical(name: &str) -> String {
    name.to_lowercase().replace(' ', "_").replace('.', "-")
}

/// The watchers of an answer to `list`.
pub fn names(list: &Object) -> impl Iterator<Item = &str> {
    list.get("watchers").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

/// The processes of an answer to `list` with a name.
pub fn pids(list: &Object) -> Vec<i32> {
    list.get("pids").and_then(Value::as_array).into_iter().flatten().filter_map(pid).collect()
}

fn pid(value: &Value) -> Option<i32> {
    i32::try_from(value.as_i64()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(watcher: &str, kind: &str, pid: i32) -> WatcherEvent {
        let payload = format!("{{\"process_pid\": {pid}}}");
        WatcherEvent::read(format!("watcher.{watcher}.{kind}").as_bytes(), payload.as_bytes()).unwrap()
    }

    fn shown(roster: &Roster) -> Vec<(String, Vec<i32>)> {
        let pids = |members: &[Member]| members.iter().map(|member| member.pid).collect();
        roster.watchers().map(|(name, members)| (name.to_owned(), pids(members))).collect()
    }

    #[test]
    fn list_and_events_mean_the_same_watcher() {
        let mut roster = Roster::default();
        roster.set("My web.1", vec![1]);
        roster.follow(&event("my_web.1", "spawn", 2));
        roster.follow(&event("my_web.1", "kill", 2));
        assert_eq!(shown(&roster), [("my_web-1".to_owned(), vec![1, 2])]);
        roster.follow(&event("my_web.1", "reap", 1));
        roster.follow(&event("my_web.1", "reap", 2));
        assert_eq!(shown(&roster), []);
    }

    #[test]
    fn a_helper_is_circuss_as_well() {
        let mut roster = Roster::default();
        roster.follow(&event("circusd-stats", "spawn", 9));
        assert_eq!(shown(&roster), [("circus".to_owned(), vec![9]), ("circusd-stats".to_owned(), vec![9])]);
    }
}
