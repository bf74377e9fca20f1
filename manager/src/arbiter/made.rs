//! Answers to commands that make processes (`start`, `incr`, `set numprocesses`), without `waiting`: they are sent when the
//! processes are there that can be made at once.
//!
//! Circus makes processes before it answers, up to the first pause (spec c.4), so a client that asks for the list next finds
//! them there. Nobody is kept by a `warmup_delay`, or by a command before this one that stops something: then nothing is being made.
//! Bound: no more wait here than commands may wait for their watchers (`Refusal::TooManyWaiting`).

use super::{Arbiter, Asker, Effect, Phase, batch};
use crate::clock::Now;
use crate::watcher::WatcherId;
use serde_json::Map;

/// A client whose command has begun.
#[derive(Debug)]
pub struct Begun {
    asker: Asker,
    ids: Vec<WatcherId>,
    /// The last write of the turn in which it began; `None` in that turn.
    written: Option<u64>,
}

impl Arbiter {
    /// Answers as soon as no process of these watchers is being made, and the core has what the command has changed. `false`: there is
    /// no core that would make one, and the answer is the caller's.
    pub fn answer_when_made(&mut self, asker: Asker, ids: &[WatcherId]) -> bool {
        if self.connected {
            self.begun.push(Begun { asker, ids: ids.to_vec(), written: None });
        }
        self.connected
    }

    /// The answers to those whose watchers have made what they can make now. The end of circusd keeps nobody waiting.
    pub(super) fn tell_begun(&mut self, now: Now) -> Vec<Effect> {
        let mut answers = Vec::new();
        let (watchers, ledger) = (&self.watchers, &self.ledger);
        let ends = matches!(self.phase, Phase::Ending(_) | Phase::Ended(_));
        self.begun.retain_mut(|Begun { asker, ids, written }| {
            let stored = ledger.has_stored(*written.get_or_insert(ledger.last()));
            let making = ids.iter().filter_map(|id| watchers.get(id)).any(|watcher| watcher.processes.is_making());
            let keep = (making || !stored) && !ends;
            if !keep {
                batch::answer(asker, now, Map::new(), &mut answers);
            }
            keep
        });
        answers
    }
}
