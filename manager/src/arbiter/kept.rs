//! What clients have changed, as the core keeps it for the next circusd: one value a watcher, and one for the processes
//! that `rm` with `nostop` has left running.
//!
//! `reloadconfig` drops the values it goes back on; a `quit` that leaves no process drops them all.

use super::{Effect, Write};
use crate::config::substituted_env;
use crate::options::WatcherOptions;
use crate::watcher::{Changes, Origin, Seed, Watcher, World, set_option};
use ringmaster_protocol::message::ProcessId;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// How the names of these values begin; the watcher's name in lower case follows.
pub const KEPT_PREFIX: &str = "circusd.watcher.";

/// The value with the processes that were left running.
pub const LEFT: &str = "circusd.left";

/// What is to be kept of a watcher as it is now.
pub fn keep(watcher: &Watcher) -> Effect {
    let changes = watcher.changes.to_json();
    let value = match &watcher.origin {
        Origin::File(_) if watcher.changes.is_empty() => return drop_kept(&watcher.options.name),
        Origin::File(_) => json!({ "set": changes }),
        Origin::Added { start } => {
            json!({ "added": watcher.options.name, "start": start, "set": changes })
        }
    };
    store(value_name(&watcher.options.name), &value)
}

/// A watcher of the file was removed.
pub(super) fn keep_removal(name: &str) -> Effect {
    store(value_name(name), &json!({ "removed": true }))
}

/// Nothing is to be kept of a watcher.
pub(super) fn drop_kept(name: &str) -> Effect {
    Effect::Keep(Write::new(value_name(name), None))
}

/// These processes are nobody's.
pub(super) fn keep_left<'a>(left: impl Iterator<Item = &'a ProcessId>) -> Effect {
    let ids: Vec<u64> = left.map(|process| process.0).collect();
    if ids.is_empty() {
        return Effect::Keep(Write::new(LEFT.to_owned(), None));
    }
    store(LEFT.to_owned(), &json!(ids))
}

fn value_name(watcher: &str) -> String {
    format!("{KEPT_PREFIX}{}", watcher.to_lowercase())
}

fn store(name: String, value: &Value) -> Effect {
    Effect::Keep(Write::new(name, Some(value.to_string().into_bytes())))
}

/// The processes in the value [`LEFT`].
pub fn left(value: &[u8]) -> BTreeSet<ProcessId> {
    let ids: Vec<u64> = serde_json::from_slice(value).unwrap_or_default();
    ids.into_iter().map(ProcessId).collect()
}

/// The watchers of the file, with what the values say on top: names and bytes of all that begin with [`KEPT_PREFIX`].
/// Every value leaves one line in the log.
pub fn restore(file: Vec<WatcherOptions>, values: &[(String, Vec<u8>)], world: &World) -> Vec<Seed> {
    let named = |mut options: WatcherOptions| {
        // `options` shows the environment as children get it.
        options.env = substituted_env(&options, &world.environment);
        (options.name.to_lowercase(), Seed::from_file(options))
    };
    let mut seeds: BTreeMap<String, Seed> = file.into_iter().map(named).collect();
    for (name, bytes) in values {
        let name = name.strip_prefix(KEPT_PREFIX).unwrap_or(name);
        match serde_json::from_slice(bytes) {
            Ok(value) => restore_one(&mut seeds, name, &value, world),
            Err(error) => tracing::warn!("what was changed in {name} cannot be read: {error}"),
        }
    }
    let mut seeds: Vec<Seed> = seeds.into_values().collect();
    seeds.sort_by(|a, b| a.options.name.cmp(&b.options.name));
    seeds
}

fn restore_one(seeds: &mut BTreeMap<String, Seed>, name: &str, value: &Value, world: &World) {
    if value.get("removed").is_some() {
        if let Some(seed) = seeds.remove(name) {
            tracing::info!("{}: removed at run time, stays away (reloadconfig brings it back)", seed.options.name);
        }
        return;
    }
    let changes = value.get("set").map(Changes::from_json).unwrap_or_default();
    let added = value.get("added").and_then(Value::as_str);
    let mut seed = match (seeds.remove(name), added) {
        (Some(seed), Some(_)) => {
            tracing::info!("{name}: added at run time; now the file defines it, and the file counts");
            seeds.insert(name.to_owned(), seed);
            return;
        }
        (Some(seed), None) => seed,
        (None, Some(added)) => added_seed(added, value),
        (None, None) => {
            tracing::info!("{name}: changed at run time, but it is not configured any more");
            return;
        }
    };
    let what = match seed.origin {
        Origin::File(_) => "changed",
        Origin::Added { .. } => "added",
    };
    tracing::info!(
        "{}: {what} at run time, stays so: {} (reloadconfig goes back to the file)",
        seed.options.name,
        changes.keys()
    );
    for (key, value) in changes.iter() {
        match set_option(Rc::make_mut(&mut seed.options), key, value, world) {
            Ok(_) => seed.changes.note(key, value),
            Err(error) => tracing::warn!("{name}: {key} stays as the file has it: {error}"),
        }
    }
    seeds.insert(name.to_owned(), seed);
}

fn added_seed(name: &str, value: &Value) -> Seed {
    let start = value.get("start").and_then(Value::as_bool).unwrap_or_default();
    Seed { options: Rc::new(WatcherOptions::new(name)), origin: Origin::Added { start }, changes: Changes::default() }
}
