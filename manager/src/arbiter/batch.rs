//! Those who wait: one answer for a group of operations, when the last of them is done.

use super::Exclusive;
use super::effect::{Asker, Effect};
use crate::clock::Now;
use crate::watcher::{BatchId, Outcome};
use ringmaster_protocol::circus::{self, Errno};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// What the answer carries (spec c.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyShape {
    /// Nothing.
    Plain,
    /// `info` of the one watcher.
    Info,
    /// `started` and `kept` beside the status (`add`).
    Started,
    /// `numprocesses`.
    Number,
}

#[derive(Debug)]
struct Batch {
    asker: Asker,
    shape: ReplyShape,
    remaining: usize,
    properties: Map<String, Value>,
}

/// All groups that somebody waits for.
#[derive(Debug, Default)]
pub struct Batches {
    open: BTreeMap<BatchId, Batch>,
    last: u64,
}

impl Batches {
    /// A group of `size` operations.
    pub fn open(&mut self, asker: Asker, shape: ReplyShape, size: usize) -> BatchId {
        self.last += 1;
        let id = BatchId(self.last);
        self.open.insert(id, Batch { asker, shape, remaining: size, properties: Map::new() });
        id
    }

    /// Whether a group is not finished.
    pub fn is_open(&self, id: BatchId) -> bool {
        self.open.contains_key(&id)
    }

    /// Forgets a group without an answer.
    pub fn drop(&mut self, id: BatchId) {
        self.open.remove(&id);
    }

    /// One operation of the group has ended.
    pub fn finish(&mut self, id: BatchId, outcome: Outcome, now: Now, effects: &mut Vec<Effect>) {
        let Some(batch) = self.open.get_mut(&id) else {
            return;
        };
        batch.remaining = batch.remaining.saturating_sub(1);
        match batch.shape {
            ReplyShape::Plain => {}
            ReplyShape::Info => {
                batch.properties.insert("info".into(), info(outcome));
            }
            ReplyShape::Started => {
                if let Value::Object(pids) = info(outcome) {
                    batch.properties.extend(pids);
                }
            }
            ReplyShape::Number => {
                if let Outcome::Resized(number) = outcome {
                    batch.properties.insert("numprocesses".into(), number.into());
                }
            }
        }
        if batch.remaining == 0
            && let Some(batch) = self.open.remove(&id)
        {
            answer(&batch.asker, now, batch.properties, effects);
        }
    }

    /// The group will not be finished.
    pub fn fail(&mut self, id: BatchId, reason: Exclusive, now: Now, effects: &mut Vec<Effect>) {
        if let Some(Batch { asker: Asker { client: Some(client), id, timing }, .. }) = self.open.remove(&id) {
            let payload = circus::error(&id, now.wall, Errno::Command, &reason.to_string(), None);
            effects.push(Effect::Reply { client, payload, timing });
        }
    }
}

/// Sends a successful answer, if somebody wants one.
pub fn answer(asker: &Asker, now: Now, properties: Map<String, Value>, effects: &mut Vec<Effect>) {
    if let Some(client) = asker.client {
        let payload = circus::ok(&asker.id, now.wall, properties);
        effects.push(Effect::Reply { client, payload, timing: asker.timing });
    }
}

fn info(outcome: Outcome) -> Value {
    match outcome {
        Outcome::Started { started, kept } => json!({ "started": started, "kept": kept }),
        Outcome::Replaced { stopped, started, kept } => json!({ "stopped": stopped, "started": started, "kept": kept }),
        Outcome::Stopped | Outcome::Resized(_) | Outcome::Done => Value::Null,
    }
}
