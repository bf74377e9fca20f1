//! What is noted on a process at the core: whose it is, and what it was made of, so that a circusd that takes it back can tell
//! when its watcher would be made otherwise by now. Only sums of the values are noted: an environment may hold secrets.

use super::Wid;
use crate::options::{WatcherOption, WatcherOptions};
use ringmaster_protocol::instance::fnv1a;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Options that a process has for its life, by their rows.
const FOR_LIFE: &[&str] = &[
    "cmd",
    "args",
    "shell",
    "shell_args",
    "executable",
    "working_dir",
    "uid",
    "gid",
    "rlimit",
    "env",
    "use_sockets",
    "stdin_socket",
];

/// What a process of a watcher is made of: sums of the options that say something, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Making(BTreeMap<String, String>);

impl Making {
    /// As the watcher makes its processes now. What it copies of `circusd_env` is circusd's own and differs from start to start.
    pub fn of(options: &WatcherOptions, circusd_env: &BTreeMap<String, String>) -> Self {
        let rows = FOR_LIFE.iter().filter_map(|name| WatcherOption::find(name));
        let values = rows.filter_map(|row| {
            let value = match row.name {
                "env" if options.copy_env => own(&options.env, circusd_env),
                _ => row.kind.get(options),
            };
            says_something(&value)
                .then(|| (row.name.to_owned(), format!("{:08x}", fnv1a(value.to_string().as_bytes()))))
        });
        Self(values.collect())
    }

    /// As noted; `None`: the circusd that started the process was older and noted nothing of it.
    pub fn noted(note: &[u8]) -> Option<Self> {
        let note: Value = serde_json::from_slice(note).ok()?;
        let sums = note.get(MADE_OF)?.as_object()?;
        Some(Self(sums.iter().filter_map(|(name, sum)| Some((name.clone(), sum.as_str()?.to_owned()))).collect()))
    }

    /// The options that differ.
    pub fn differences<'a>(&'a self, other: &'a Self) -> BTreeSet<&'a str> {
        let names = self.0.keys().chain(other.0.keys());
        names.filter(|name| self.0.get(*name) != other.0.get(*name)).map(String::as_str).collect()
    }

    /// What is noted on a process of that watcher.
    pub(super) fn note(&self, watcher: &str, wid: Wid) -> Vec<u8> {
        json!({ "watcher": watcher, "wid": wid.0, MADE_OF: self.0 }).to_string().into_bytes()
    }
}

/// The member of the note.
const MADE_OF: &str = "made_of";

fn own(env: &BTreeMap<String, String>, circusd_env: &BTreeMap<String, String>) -> Value {
    let own: BTreeMap<&String, &String> =
        env.iter().filter(|(name, value)| circusd_env.get(*name) != Some(value)).collect();
    json!(own)
}

fn says_something(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::Bool(true) | Value::Number(_) => true,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(entries) => !entries.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_note_is_read_back_and_what_differs_is_named() {
        let circusd = env(&[("HOME", "/root"), ("INVOCATION_ID", "1")]);
        let mut options = WatcherOptions::new("web");
        options.cmd = "serve".to_owned();
        options.copy_env = true;
        options.env = env(&[("HOME", "/root"), ("INVOCATION_ID", "1"), ("SECRET", "s3cret")]);
        let before = Making::of(&options, &circusd);
        let note = before.note("web", Wid(3));
        assert!(!String::from_utf8_lossy(&note).contains("s3cret"));
        assert_eq!(Making::noted(&note), Some(before.clone()));
        assert_eq!(Making::noted(br#"{"watcher": "web", "wid": 3}"#), None);

        // Copied from a circusd that was started elsewhere.
        let later = env(&[("HOME", "/root"), ("INVOCATION_ID", "2")]);
        options.env.insert("INVOCATION_ID".to_owned(), "2".to_owned());
        assert!(Making::of(&options, &later).differences(&before).is_empty());

        options.cmd = "serve2".to_owned();
        options.env.insert("SECRET".to_owned(), "other".to_owned());
        options.shell = true;
        let now = Making::of(&options, &later);
        assert_eq!(now.differences(&before).into_iter().collect::<Vec<_>>(), ["cmd", "env", "shell"]);
    }
}
