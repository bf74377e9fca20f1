//! `[plugin:NAME]` and `statsd` as watchers: circusd runs its helpers as it runs everything else (spec e, j).
//!
//! A class of [`PLUGINS`](super::PLUGINS) is run by `circus-plugin`, any other by Python with the real `circus` package, with
//! the same arguments as Circus gives it.

use super::{Plugin, Settings};
use crate::config::{PluginSection, words};
use crate::options::{CircusOptions, WatcherOption, WatcherOptions};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The watcher of statistics (spec e).
pub const STATS: &str = "circusd-stats";

/// How Circus starts a plugin, behind the name of a Python.
const PYTHON: &str = "python3 -c 'from circus import plugins;plugins.main()'";

/// A key of a plugin's section that is no option of its watcher, or a value that an option cannot have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    /// The key.
    pub key: String,
    /// Its text.
    pub value: String,
}

/// Whether Python runs this class.
pub fn needs_python(class: &str) -> bool {
    Plugin::find(class).is_none()
}

/// The watcher of a plugin. `env` is its environment, complete.
pub fn plugin(section: &PluginSection, circus: &CircusOptions, env: BTreeMap<String, String>) -> WatcherOptions {
    let class = section.settings.get("use").map_or("", String::as_str);
    let mut watcher = helper(&section.name, circus, env);
    watcher.priority = 1;
    watcher.extra.insert("__name__".to_owned(), section.name.clone());
    for (key, value) in section.settings.iter().filter(|(key, _)| !matches!(key.as_str(), "use" | "name" | "cmd")) {
        match WatcherOption::find(key) {
            // A plugin's setting that is called like an option but is none: the plugin reads it itself.
            Some(row) => drop(row.read(&mut watcher, key, value)),
            None => drop(watcher.extra.insert(key.clone(), value.clone())),
        }
    }
    watcher.numprocesses = 1;
    let mut settings = section.settings.clone();
    settings.remove("use");
    settings.insert("__name__".to_owned(), section.name.clone());
    settings.insert("name".to_owned(), section.name.clone());
    let config = one_word(&Settings::new(settings).to_text());
    let program = if needs_python(class) { PYTHON.to_owned() } else { beside_us("circus-plugin") };
    let level = if circus.debug { " --log-level DEBUG" } else { "" };
    watcher.cmd = format!(
        "{program} --endpoint {} --pubsub {} --config {config}{level} {class}",
        circus.endpoint, circus.pubsub_endpoint
    );
    watcher
}

/// The watcher of statistics, when they are wanted.
pub fn stats(circus: &CircusOptions, env: BTreeMap<String, String>) -> WatcherOptions {
    let mut watcher = helper(STATS, circus, env);
    watcher.use_sockets = true;
    // Unlike those of plugins its words are in circusd's log, as in Circus.
    (watcher.close_child_stdout, watcher.close_child_stderr) = (false, false);
    let level = if circus.debug { " --log-level DEBUG" } else { "" };
    watcher.cmd = format!(
        "{} --endpoint {} --pubsub {} --statspoint {}{level}",
        beside_us(STATS),
        circus.endpoint,
        circus.pubsub_endpoint,
        circus.stats_endpoint
    );
    watcher
}

fn helper(name: &str, circus: &CircusOptions, env: BTreeMap<String, String>) -> WatcherOptions {
    let mut watcher = WatcherOptions::new(name);
    watcher.singleton = true;
    watcher.copy_env = true;
    watcher.copy_path = true;
    watcher.env = env;
    watcher.close_child_stdout = !circus.debug;
    watcher.close_child_stderr = !circus.debug;
    watcher
}

/// Circus puts the text into a line that is split into words as it is, so people put quotes around what needs them. What would be
/// several words, or none, gets quotes from us.
fn one_word(text: &str) -> String {
    match words::split(text) {
        Ok(split) if split.len() == 1 => text.to_owned(),
        Ok(_) | Err(_) => shell_words::quote(text).into_owned(),
    }
}

/// A program of this package: beside circusd, or wherever PATH has it.
fn beside_us(name: &str) -> String {
    let own = std::env::current_exe().ok();
    let path = own.and_then(|own| Some(own.parent()?.join(name))).filter(|path| path.is_file());
    let path = path.unwrap_or_else(|| PathBuf::from(name)).display().to_string();
    shell_words::quote(&path).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(pairs: &[(&str, &str)]) -> PluginSection {
        let settings = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        PluginSection { name: "plugin:x".to_owned(), settings }
    }

    #[test]
    fn a_python_class_is_started_as_circus_starts_it() {
        let section = section(&[("use", "my.Logger"), ("file", "/tmp/x"), ("priority", "5")]);
        let watcher = plugin(&section, &CircusOptions::default(), BTreeMap::new());
        assert_eq!(
            watcher.cmd,
            "python3 -c 'from circus import plugins;plugins.main()' --endpoint tcp://127.0.0.1:5555 \
             --pubsub tcp://127.0.0.1:5556 --config __name__:plugin:x:::file:/tmp/x:::name:plugin:x:::priority:5 my.Logger"
        );
        assert_eq!((watcher.priority, watcher.singleton), (5, true));
        assert_eq!(watcher.extra.get("file").map(String::as_str), Some("/tmp/x"));
    }

    #[test]
    fn a_built_in_one_is_ours_and_quotes_are_where_they_are_needed() {
        let class = "circus.plugins.watchdog.WatchDog";
        let words_of = |regex: &str| {
            let section = section(&[("use", class), ("watchers_regex", regex)]);
            words::split(&plugin(&section, &CircusOptions::default(), BTreeMap::new()).cmd).unwrap()
        };
        assert!(words_of("^a.*$")[0].ends_with("circus-plugin"));
        for (given, expected) in [("\"^a b$\"", "^a b$"), ("^a b$", "^a b$")] {
            let text = format!("__name__:plugin:x:::name:plugin:x:::watchers_regex:{expected}");
            assert!(words_of(given).contains(&text), "{:?}", words_of(given));
        }
    }
}
