//! Where a watcher comes from, and what was changed since: what `reloadconfig` goes back to and what survives a restart
//! of circusd.

use crate::options::WatcherOptions;
use crate::process::Wid;
use ringmaster_protocol::message::ProcessId;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::rc::Rc;

/// Who defined a watcher.
#[derive(Debug, Clone, PartialEq)]
pub enum Origin {
    /// The configuration file, with these options.
    File(Rc<WatcherOptions>),
    /// The command `add`.
    Added {
        /// Whether it was to be started, now and by the next circusd.
        start: bool,
    },
}

impl super::Watcher {
    /// Whether it starts with circusd: `autostart`, or what `add` has said.
    pub fn starts_by_itself(&self) -> bool {
        match &self.origin {
            Origin::File(_) => self.options.autostart,
            Origin::Added { start } => *start,
        }
    }
}

impl super::Processes {
    /// Leaves these numbers alone: processes of an earlier watcher have their names at the core.
    pub fn avoid(&mut self, numbers: BTreeSet<Wid>) {
        self.avoided.extend(numbers);
    }

    /// Numbers whose names at the core are not free.
    pub fn taken_numbers(&self) -> impl Iterator<Item = Wid> {
        self.all.numbers().chain(self.lingering.values().copied())
    }

    /// Ended and announced, but their last words are not written yet.
    pub fn announced(&self) -> impl Iterator<Item = ProcessId> {
        self.lingering.keys().copied()
    }

    /// No process is there, and the last words of all that were are written.
    pub fn is_over(&self) -> bool {
        self.all.is_empty() && self.lingering.is_empty()
    }
}

/// A watcher before it lives.
#[derive(Debug, Clone, PartialEq)]
pub struct Seed {
    /// Its options, with the changes in them.
    pub options: Rc<WatcherOptions>,
    /// Who defined it.
    pub origin: Origin,
    /// What was changed by clients.
    pub changes: Changes,
}

impl Seed {
    /// As the file has it.
    pub fn from_file(options: WatcherOptions) -> Self {
        let options = Rc::new(options);
        Self { origin: Origin::File(options.clone()), options, changes: Changes::default() }
    }
}

/// What clients have set since the definition: key and value as sent, in the order in which they are to be set again.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Changes(Vec<(String, Value)>);

impl Changes {
    /// A key was set; what it makes void is forgotten.
    pub fn note(&mut self, key: &str, value: &Value) {
        let family = format!("{key}.");
        self.0.retain(|(known, _)| known != key && !known.starts_with(&family));
        self.0.push((key.to_owned(), value.clone()));
    }

    /// Nothing was changed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// In order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// The keys, for people.
    pub fn keys(&self) -> String {
        let keys: Vec<&str> = self.iter().map(|(key, _)| key).collect();
        keys.join(", ")
    }

    /// A list of pairs, because objects have no order.
    pub fn to_json(&self) -> Value {
        self.iter().map(|(key, value)| json!([key, value])).collect()
    }

    /// From [`Self::to_json`]; what is no pair is left out.
    pub fn from_json(value: &Value) -> Self {
        let pair = |pair: &Value| Some((pair.get(0)?.as_str()?.to_owned(), pair.get(1)?.clone()));
        let pairs = value.as_array().into_iter().flatten().filter_map(pair);
        Self(pairs.collect())
    }
}

impl From<&Map<String, Value>> for Changes {
    fn from(object: &Map<String, Value>) -> Self {
        let mut changes = Self::default();
        for (key, value) in object {
            changes.note(key, value);
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_value_replaces_an_earlier_one_and_a_whole_its_parts() {
        let mut changes = Changes::default();
        changes.note("numprocesses", &json!(2));
        changes.note("stdout_stream.filename", &json!("a"));
        changes.note("numprocesses", &json!(3));
        changes.note("stdout_stream", &json!({"class": "StdoutStream"}));
        changes.note("stdout_stream.class", &json!("FileStream"));
        assert_eq!(changes.keys(), "numprocesses, stdout_stream, stdout_stream.class");
        assert_eq!(Changes::from_json(&changes.to_json()), changes);
    }
}
