//! Signals: what the core says of those that were sent, and those that circusd gets itself.

use super::effect::{AfterSignal, Asker, Effect};
use super::{Arbiter, Ending, OwnSignal, Phase, batch};
use crate::clock::Now;
use crate::watcher::{Operation, WatcherId};
use serde_json::Map;
use std::collections::BTreeSet;

impl Arbiter {
    /// The core's answer to a signal.
    pub(super) fn signalled(
        &mut self,
        then: AfterSignal,
        result: Result<Vec<i32>, String>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        match (then, result) {
            (AfterSignal::Announce(id), Ok(pids)) => {
                for pid in pids {
                    self.with_watcher(id, now, effects, |watcher, turn| watcher.publish_kill(pid, turn));
                }
            }
            (AfterSignal::Answer(asker, _), Ok(pids)) if !pids.is_empty() => {
                batch::answer(&asker, now, Map::new(), effects);
            }
            (AfterSignal::Answer(asker, refusal), Ok(_) | Err(_)) => {
                let timing = asker.timing;
                effects.extend(asker.client.map(|client| Effect::Reply { client, payload: refusal, timing }));
            }
            (AfterSignal::Ignore, Ok(_)) => {}
            (AfterSignal::Ignore | AfterSignal::Announce(_), Err(reason)) => {
                tracing::debug!("a signal reached nobody: {reason}");
            }
        }
    }

    /// Signals to circusd (spec b.4).
    pub(super) fn own_signal(
        &mut self,
        signal: OwnSignal,
        now: Now,
        effects: &mut Vec<Effect>,
        touched: &mut BTreeSet<WatcherId>,
    ) {
        tracing::info!("Got signal {}", signal.name());
        if self.end_under_way().is_some() {
            self.end_for_good(signal);
            return;
        }
        match signal {
            OwnSignal::Term | OwnSignal::Int | OwnSignal::Quit => self.end(Ending::Quit, None, now, effects, touched),
            OwnSignal::Hup => {
                effects.push(Effect::ReopenLogs);
                let all = self.by_priority();
                self.enqueue(&all, &Operation::Reload { sequential: false }, None, touched);
            }
            OwnSignal::Usr2 => {
                if let Err(exclusive) = self.upgrade(Asker::nobody(), effects) {
                    tracing::warn!("{exclusive}");
                }
            }
            OwnSignal::Winch => {}
        }
    }

    /// A signal that ends circusd while it stops everything to start anew: it does not start again.
    fn end_for_good(&mut self, signal: OwnSignal) {
        if signal.ends() && matches!(self.phase, Phase::Ending(Ending::Restart)) {
            self.phase = Phase::Ending(Ending::Quit);
        } else if signal.ends() {
            self.call_off_upgrade();
        }
    }
}
