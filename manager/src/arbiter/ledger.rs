//! Values on their way to the core, and the replies that wait until they are there.
//!
//! An answer to `set`, `incr`, `add` or `rm` says that the change stays. It stays when the core has it, so answers made in
//! the turn of a change are held back until the core has confirmed every value of that turn. When the core goes away,
//! what it has not confirmed is sent again to the next one. Bound: one entry a value name, one reply a request under way.

use super::Effect;
use std::collections::{BTreeMap, VecDeque};

/// A value for the core to keep for the next circusd, or to forget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// Its name.
    pub name: String,
    /// JSON; `None`: the value is not needed any more.
    pub value: Option<Vec<u8>>,
    /// Tells it from earlier writes of the same name; given by the [`Ledger`].
    pub number: u64,
}

impl Write {
    /// Not numbered yet.
    pub fn new(name: String, value: Option<Vec<u8>>) -> Self {
        Self { name, value, number: 0 }
    }
}

/// What became of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stored {
    /// The core has it, or refuses it for a reason that was logged.
    Settled,
    /// The connection broke first: it is to be sent again.
    Lost,
}

/// The latest write of one name.
#[derive(Debug)]
struct Unstored {
    /// The earliest number of this name that is not confirmed.
    oldest: u64,
    latest: u64,
    value: Option<Vec<u8>>,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    last: u64,
    unstored: BTreeMap<String, Unstored>,
    /// Each with the number that has to be confirmed first.
    held: VecDeque<(u64, Effect)>,
}

impl Ledger {
    /// Numbers the writes of one turn and takes the replies out that have to wait for them. The end of circusd lets all
    /// replies go: what is stored then is dropped anyway.
    pub(super) fn enter(&mut self, effects: Vec<Effect>) -> Vec<Effect> {
        let ends = effects.iter().any(|effect| matches!(effect, Effect::Finish(_)));
        let writes = effects.iter().any(|effect| matches!(effect, Effect::Keep(_)));
        if !writes && !ends {
            return effects;
        }
        let mut rest = Vec::with_capacity(effects.len());
        let mut replies = Vec::new();
        for effect in effects {
            if let Effect::Keep(write) = effect {
                rest.push(Effect::Keep(self.number(write)));
            } else if matches!(effect, Effect::Reply { .. }) && !ends {
                replies.push(effect);
            } else {
                rest.push(effect);
            }
        }
        let last = self.last;
        self.held.extend(replies.into_iter().map(|reply| (last, reply)));
        if ends {
            let held = self.held.drain(..).map(|(_, reply)| reply);
            rest.splice(0..0, held);
        }
        rest
    }

    fn number(&mut self, mut write: Write) -> Write {
        self.last += 1;
        write.number = self.last;
        let entry = self.unstored.entry(write.name.clone()).or_insert(Unstored {
            oldest: write.number,
            latest: write.number,
            value: None,
        });
        entry.latest = write.number;
        entry.value.clone_from(&write.value);
        write
    }

    /// The core has answered, or will not; gives the replies that nothing holds back any more.
    pub(super) fn stored(&mut self, name: &str, number: u64, outcome: &Stored, effects: &mut Vec<Effect>) {
        if *outcome == Stored::Lost {
            return;
        }
        if let Some(entry) = self.unstored.get_mut(name) {
            if number >= entry.latest {
                self.unstored.remove(name);
            } else {
                entry.oldest = entry.oldest.max(number + 1);
            }
        }
        let oldest = self.unstored.values().map(|entry| entry.oldest).min().unwrap_or(u64::MAX);
        while self.held.front().is_some_and(|(number, _)| *number < oldest) {
            effects.extend(self.held.pop_front().map(|(_, reply)| reply));
        }
    }

    /// The number of the last write.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// The core has that write and all before it.
    pub(super) fn has_stored(&self, number: u64) -> bool {
        self.unstored.values().all(|entry| entry.oldest > number)
    }

    /// Nothing is on its way.
    pub(super) fn is_settled(&self) -> bool {
        self.unstored.is_empty()
    }

    /// A core is there that may not have what was on its way to the last one.
    pub(super) fn again(&self) -> impl Iterator<Item = Effect> + '_ {
        self.unstored.iter().map(|(name, entry)| {
            Effect::Keep(Write { name: name.clone(), value: entry.value.clone(), number: entry.latest })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arbiter::Ending;
    use crate::endpoints::ClientId;

    fn keep(name: &str) -> Effect {
        Effect::Keep(Write::new(name.to_owned(), Some(b"1".to_vec())))
    }

    fn reply(number: u64) -> Effect {
        Effect::Reply { client: ClientId::for_test(number), payload: Vec::new(), timing: None }
    }

    fn clients(effects: &[Effect]) -> Vec<ClientId> {
        let client = |effect: &Effect| if let Effect::Reply { client, .. } = effect { Some(*client) } else { None };
        effects.iter().filter_map(client).collect()
    }

    #[test]
    fn a_reply_waits_for_every_value_of_its_turn_and_for_no_other() {
        let mut ledger = Ledger::default();
        let sent = ledger.enter(vec![reply(1), keep("a"), keep("b")]);
        assert!(clients(&sent).is_empty());
        assert_eq!(clients(&ledger.enter(vec![reply(2)])), [ClientId::for_test(2)]);
        let mut out = Vec::new();
        ledger.stored("b", 2, &Stored::Settled, &mut out);
        assert!(out.is_empty());
        ledger.stored("a", 1, &Stored::Settled, &mut out);
        assert_eq!(clients(&out), [ClientId::for_test(1)]);
    }

    #[test]
    fn a_later_write_of_the_same_name_does_not_let_an_earlier_reply_go() {
        let mut ledger = Ledger::default();
        ledger.enter(vec![keep("a"), reply(1)]);
        ledger.enter(vec![keep("a"), reply(2)]);
        let mut out = Vec::new();
        ledger.stored("a", 1, &Stored::Settled, &mut out);
        assert_eq!(clients(&out), [ClientId::for_test(1)]);
        ledger.stored("a", 2, &Stored::Settled, &mut out);
        assert_eq!(clients(&out).len(), 2);
    }

    #[test]
    fn what_was_lost_is_sent_again_and_holds_its_reply_until_then() {
        let mut ledger = Ledger::default();
        ledger.enter(vec![keep("a"), reply(1)]);
        let mut out = Vec::new();
        ledger.stored("a", 1, &Stored::Lost, &mut out);
        assert!(out.is_empty());
        assert_eq!(ledger.again().count(), 1);
        ledger.stored("a", 1, &Stored::Settled, &mut out);
        assert_eq!((clients(&out).len(), ledger.again().count()), (1, 0));
    }

    #[test]
    fn the_end_of_circusd_lets_all_replies_go_first() {
        let mut ledger = Ledger::default();
        ledger.enter(vec![keep("a"), reply(1)]);
        let out = ledger.enter(vec![reply(2), Effect::Finish(Ending::Quit)]);
        assert_eq!(clients(&out), [ClientId::for_test(1), ClientId::for_test(2)]);
        assert!(matches!(out.last(), Some(Effect::Finish(Ending::Quit))));
    }
}
