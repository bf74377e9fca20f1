//! The journal's lines: JSON, one object a line, so that people can read it and a torn last line is recognised.

use super::{Recorded, Standing, Told};
use ringmaster_protocol::message::ProcessId;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// What an event makes known, beyond what subscribers see of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum About {
    /// Nothing that has to be remembered.
    Nothing,
    /// A process was started.
    Spawned(ProcessId),
    /// A process has ended.
    Reaped(ProcessId),
    /// A watcher, by its name in lower case.
    Watcher(String, Standing),
    /// A watcher is no more.
    Removed(String),
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Line {
    /// An event.
    Event {
        event: Recorded,
        about: About,
        /// It was not published when it was written; a later [`Line::Released`] says that it was.
        held: bool,
    },
    /// All held events are published.
    Released,
    /// The state before the first event that follows.
    Begin { last: u64, processes: BTreeMap<ProcessId, Told>, watchers: BTreeMap<String, Standing> },
}

impl Line {
    /// Appends the line with its end.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let value = match self {
            Self::Event { event, about, held } => {
                let mut object = Map::new();
                object.insert("seq".into(), event.seq.into());
                object.insert("topic".into(), event.topic.as_str().into());
                object.insert("payload".into(), event.payload.as_str().into());
                object.extend(about_fields(about));
                if *held {
                    object.insert("held".into(), true.into());
                }
                Value::Object(object)
            }
            Self::Released => json!({ "released": true }),
            Self::Begin { last, processes, watchers } => {
                let of = |wanted: Told| {
                    let ids = processes.iter().filter(move |(_, told)| **told == wanted).map(|(id, _)| id.0);
                    ids.collect::<Vec<u64>>()
                };
                let watchers: Map<String, Value> =
                    watchers.iter().map(|(name, standing)| (name.clone(), standing.word().into())).collect();
                json!({ "last": last, "spawned": of(Told::Spawn), "reaped": of(Told::Reap), "watchers": watchers })
            }
        };
        out.extend_from_slice(value.to_string().as_bytes());
        out.push(b'\n');
    }

    /// The line in these bytes, if it is one.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(bytes).ok()?;
        if let Some(last) = value.get("last").and_then(Value::as_u64) {
            return Some(Self::begin(last, &value));
        }
        if value.get("released").is_some() {
            return Some(Self::Released);
        }
        let text = |key: &str| Some(value.get(key)?.as_str()?.to_owned());
        let event = Recorded { seq: value.get("seq")?.as_u64()?, topic: text("topic")?, payload: text("payload")? };
        Some(Self::Event { event, about: about(&value), held: value.get("held").is_some() })
    }

    fn begin(last: u64, value: &Value) -> Self {
        let ids = |key: &str| value.get(key).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_u64);
        let told = |key, told| ids(key).map(move |id| (ProcessId(id), told));
        let processes = told("spawned", Told::Spawn).chain(told("reaped", Told::Reap)).collect();
        let watchers = value.get("watchers").and_then(Value::as_object).into_iter().flatten();
        let watchers = watchers.filter_map(|(name, word)| Some((name.clone(), Standing::from_word(word.as_str()?)?)));
        Self::Begin { last, processes, watchers: watchers.collect() }
    }
}

fn about_fields(about: &About) -> Vec<(String, Value)> {
    match about {
        About::Nothing => Vec::new(),
        About::Spawned(process) => vec![("spawned".into(), process.0.into())],
        About::Reaped(process) => vec![("reaped".into(), process.0.into())],
        About::Watcher(name, standing) => {
            vec![("watcher".into(), name.as_str().into()), ("standing".into(), standing.word().into())]
        }
        About::Removed(name) => vec![("removed".into(), name.as_str().into())],
    }
}

fn about(value: &Value) -> About {
    let process = |key: &str| value.get(key).and_then(Value::as_u64).map(ProcessId);
    let text = |key: &str| value.get(key).and_then(Value::as_str);
    let watcher = text("watcher").zip(text("standing").and_then(Standing::from_word));
    process("spawned")
        .map(About::Spawned)
        .or_else(|| process("reaped").map(About::Reaped))
        .or_else(|| watcher.map(|(name, standing)| About::Watcher(name.to_owned(), standing)))
        .or_else(|| text("removed").map(|name| About::Removed(name.to_owned())))
        .unwrap_or(About::Nothing)
}

impl Standing {
    const WORDS: [(Self, &str); 3] = [(Self::Active, "active"), (Self::Between, "between"), (Self::Stopped, "stopped")];

    fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(standing, _)| *standing == self).map_or("", |(_, word)| word)
    }

    fn from_word(word: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(_, known)| *known == word).map(|(standing, _)| *standing)
    }
}
