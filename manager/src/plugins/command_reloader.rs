//! The plugin command_reloader: a watcher is restarted when the file that its command names becomes another one, or changes
//! (spec j). It looks every `loop_rate` seconds, because a change behind a symbolic link gives no single folder to watch.

use super::{Host, PluginError};
use crate::client::{Caller, Object};
use crate::config::words;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use tokio::time::{MissedTickBehavior, interval};

/// A file at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    path: PathBuf,
    modified: SystemTime,
}

/// Runs it.
pub async fn run(host: Host) -> PluginError {
    let period = match host.settings.period("loop_rate", 1.0) {
        Ok(period) => period,
        Err(error) => return error.into(),
    };
    let mut known = BTreeMap::new();
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        look(&host.caller, &mut known).await;
    }
}

async fn look(caller: &Caller, known: &mut BTreeMap<String, Seen>) {
    let list = match caller.call("list", json!({})).await {
        Ok(list) => list,
        Err(error) => return tracing::warn!("{error}"),
    };
    let names = list.get("watchers").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    for watcher in names.filter(|name| !name.starts_with("plugin:")) {
        let reply = caller.call("options", json!({ "name": watcher })).await.ok();
        let Some(seen) = reply.as_ref().and_then(|reply| file(reply.get("options")?.as_object()?)) else {
            continue;
        };
        let before = known.insert(watcher.to_owned(), seen.clone());
        if before.is_some_and(|before| before != seen) {
            tracing::info!("{watcher}: {} has changed", seen.path.display());
            caller.order("restart", watcher).await;
        }
    }
}

/// The file of a watcher's command, when the first word of it is a path to one.
fn file(options: &Object) -> Option<Seen> {
    let text = |key: &str| options.get(key).and_then(Value::as_str);
    let command = words::split(text("cmd")?).ok()?.into_iter().next()?;
    let path = Path::new(text("working_dir").unwrap_or("/")).join(command);
    let path = std::fs::canonicalize(path).ok()?;
    let modified = std::fs::metadata(&path).ok().filter(std::fs::Metadata::is_file)?.modified().ok()?;
    Some(Seen { path, modified })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_a_command_is_found_from_its_directory() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("serve"), "").unwrap();
        let options = |cmd: &str| json!({ "cmd": cmd, "working_dir": folder.path() }).as_object().cloned().unwrap();
        assert_eq!(file(&options("./serve --fast")).unwrap().path, folder.path().canonicalize().unwrap().join("serve"));
        assert_eq!(file(&options("./absent")), None);
        assert_eq!(file(&options("")), None);
    }
}
