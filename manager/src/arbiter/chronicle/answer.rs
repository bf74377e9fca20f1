//! The latest events for those who ask for them (`events`), at once or when there is one.

use super::{Chronicle, Recorded};
use crate::arbiter::Asker;
use serde_json::{Map, Value, json};
use std::time::Duration;

/// Events of one answer; whoever wants more asks again.
const PAGE: usize = 500;

/// From where on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Since {
    /// Those with a larger number.
    Seq(u64),
    /// Those that happened at this time or later, in seconds since the Unix epoch.
    Time(f64),
}

/// A question for events.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// Who asks.
    pub asker: Asker,
    /// From where on.
    pub since: Since,
    /// Beginnings of topics; none: all.
    pub topics: Vec<String>,
    /// Until when it waits for an event, on the monotonic clock.
    pub until: Duration,
}

impl Chronicle {
    /// The properties of the answer: `events`, the number of the last event there is (`last`), that of the last one looked
    /// at (`seen`), and how many were asked for that are not kept any more (`missed`). `None`: there is no event.
    pub fn answer(&self, asked: &Asked) -> (Map<String, Value>, bool) {
        let mut events = Vec::new();
        let mut seen = self.last;
        for event in &self.recent {
            if !asked.wants(event) {
                continue;
            }
            if events.len() == PAGE {
                break;
            }
            seen = event.seq;
            events.push(event.describe());
        }
        if events.len() < PAGE {
            seen = self.last;
        }
        let any = !events.is_empty();
        let mut properties = Map::new();
        properties.insert("events".into(), events.into());
        properties.insert("last".into(), self.last.into());
        properties.insert("seen".into(), seen.into());
        properties.insert("missed".into(), self.missed(asked.since).into());
        (properties, any)
    }

    fn missed(&self, since: Since) -> u64 {
        let first = self.recent.front().map_or(self.last + 1, |event| event.seq);
        match since {
            Since::Seq(seq) => first.saturating_sub(seq + 1),
            Since::Time(_) => 0,
        }
    }
}

impl Asked {
    fn wants(&self, event: &Recorded) -> bool {
        let late_enough = match self.since {
            Since::Seq(seq) => event.seq > seq,
            Since::Time(time) => event.time() >= time,
        };
        late_enough && (self.topics.is_empty() || self.topics.iter().any(|topic| event.topic.starts_with(topic)))
    }
}

impl Recorded {
    fn payload_value(&self) -> Value {
        serde_json::from_str(&self.payload).unwrap_or(Value::Null)
    }

    fn time(&self) -> f64 {
        self.payload_value().get("time").and_then(Value::as_f64).unwrap_or(f64::MAX)
    }

    fn describe(&self) -> Value {
        json!({ "seq": self.seq, "topic": self.topic, "event": self.payload_value() })
    }
}
