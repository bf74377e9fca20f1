//! `options`: all options of a watcher that Circus shows (spec c.8). What clients have changed since the file was read is
//! named beside them, under a key of its own that Circus's clients do not look at.

use super::{Answer, Command, Context, Properties, Refusal};
use crate::options::{differences, shown};
use crate::process::{Making, Process};
use crate::watcher::{Origin, Watcher};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

pub(super) const COMMAND: Command =
    Command { name: "options", required: &["name"], summary: "Get the value of all options for a watcher.", run };

fn run(context: &mut Context<'_>, properties: &Properties<'_>) -> Result<Answer, Refusal> {
    let watcher = context.watcher(properties)?;
    let mut answer = Map::from_iter([("options".to_owned(), Value::Object(shown(&watcher.options)))]);
    answer.extend(changed(watcher));
    answer.extend(outdated(watcher, &context.arbiter.world.environment));
    Ok(Answer::Now(answer))
}

/// `changed`: what the file says about each option that is otherwise now; null for one that `options` does not show.
/// `added`: no file knows the watcher. Neither is there when everything is as in the file.
fn changed(watcher: &Watcher) -> Option<(String, Value)> {
    let Origin::File(file) = &watcher.origin else {
        return Some(("added".to_owned(), true.into()));
    };
    let names = differences(file, &watcher.options).into_iter().map(|(name, _)| name);
    let in_file = shown(file);
    let changed: Map<String, Value> =
        names.map(|name| (name.clone(), in_file.get(&name).cloned().unwrap_or_default())).collect();
    (!changed.is_empty()).then(|| ("changed".to_owned(), Value::Object(changed)))
}

/// `outdated`: by option, the pids of processes that have run since before it was as it is now. Not there when there are none.
fn outdated(watcher: &Watcher, circusd_env: &BTreeMap<String, String>) -> Option<(String, Value)> {
    let now = Making::of(&watcher.options, circusd_env);
    let mut pids: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for started in watcher.processes.iter().filter_map(Process::running) {
        let then = watcher.outdated.get(&started.id);
        for name in then.into_iter().flat_map(|then| now.differences(then)) {
            pids.entry(name).or_default().push(started.pid);
        }
    }
    (!pids.is_empty()).then(|| ("outdated".to_owned(), json!(pids)))
}
