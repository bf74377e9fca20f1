//! The topic prefixes of one subscriber, counted as libzmq counts them: two subscriptions to the same prefix need two
//! cancellations, and a message that matches several prefixes is sent once.
//!
//! Bounded in number and bytes; it decides nothing about what happens to a subscriber that asks for more.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::endpoints::limits::{SUBSCRIPTION_BYTES, SUBSCRIPTIONS};

/// A set of topic prefixes.
#[derive(Debug, Default)]
pub struct SubscriptionSet {
    counts: BTreeMap<Box<[u8]>, u32>,
    bytes: usize,
}

/// Why a subscription is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SubscriptionError {
    /// Too many different prefixes.
    #[error("more than {SUBSCRIPTIONS} subscriptions")]
    TooMany,
    /// Too many bytes of prefixes.
    #[error("more than {SUBSCRIPTION_BYTES} bytes of subscriptions")]
    TooLong,
}

impl SubscriptionSet {
    /// Adds a prefix, or counts it once more. The empty prefix matches every topic.
    ///
    /// # Errors
    /// The set would pass its limits; it is unchanged then.
    pub fn subscribe(&mut self, prefix: &[u8]) -> Result<(), SubscriptionError> {
        if let Some(count) = self.counts.get_mut(prefix) {
            *count = count.saturating_add(1);
            return Ok(());
        }
        if self.counts.len() >= SUBSCRIPTIONS {
            return Err(SubscriptionError::TooMany);
        }
        let bytes = self.bytes.saturating_add(prefix.len());
        if bytes > SUBSCRIPTION_BYTES {
            return Err(SubscriptionError::TooLong);
        }
        self.bytes = bytes;
        self.counts.insert(prefix.into(), 1);
        Ok(())
    }

    /// Takes one count of a prefix back. Without effect when there is none.
    pub fn cancel(&mut self, prefix: &[u8]) {
        let Some(count) = self.counts.get_mut(prefix) else {
            return;
        };
        *count = count.saturating_sub(1);
        if *count == 0 {
            self.counts.remove(prefix);
            self.bytes = self.bytes.saturating_sub(prefix.len());
        }
    }

    /// Whether a topic starts with one of the prefixes. Logarithmic in the number of prefixes.
    #[must_use]
    pub fn matches(&self, topic: &[u8]) -> bool {
        // The greatest prefix that sorts at or before the topic either matches, or shares some beginning with it; any
        // other prefix of the topic is then a prefix of that shared beginning.
        let mut probe = topic;
        loop {
            let up_to_probe = (Bound::Unbounded, Bound::Included(probe));
            let Some((candidate, _)) = self.counts.range::<[u8], _>(up_to_probe).next_back() else {
                return false;
            };
            if topic.starts_with(candidate) {
                return true;
            }
            let shared = candidate.iter().zip(probe).take_while(|(left, right)| left == right).count();
            probe = probe.get(..shared).unwrap_or_default();
        }
    }

    /// Number of different prefixes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.counts.len()
    }

    /// Whether nothing is subscribed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn counts() {
        let mut set = SubscriptionSet::default();
        set.cancel(b"a");
        set.subscribe(b"a").unwrap();
        set.subscribe(b"a").unwrap();
        set.cancel(b"a");
        assert!(set.matches(b"abc"));
        set.cancel(b"a");
        assert!(!set.matches(b"abc"));
        assert_eq!((set.len(), set.bytes), (0, 0));
    }

    #[test]
    fn the_empty_prefix_matches_all() {
        let mut set = SubscriptionSet::default();
        assert!(!set.matches(b""));
        set.subscribe(b"").unwrap();
        assert!(set.matches(b"") && set.matches(b"watcher.a.spawn"));
    }

    #[test]
    fn limits() {
        let mut set = SubscriptionSet::default();
        for number in 0..SUBSCRIPTIONS {
            set.subscribe(format!("{number}").as_bytes()).unwrap();
        }
        assert_eq!(set.subscribe(b"one more"), Err(SubscriptionError::TooMany));
        assert_eq!(set.subscribe(b"7"), Ok(()));
        let mut set = SubscriptionSet::default();
        set.subscribe(&vec![b'x'; SUBSCRIPTION_BYTES]).unwrap();
        assert_eq!(set.subscribe(b"y"), Err(SubscriptionError::TooLong));
    }

    proptest! {
        #[test]
        fn agrees_with_a_list(
            operations in prop::collection::vec((any::<bool>(), "[ab]{0,4}"), 0..60),
            topics in prop::collection::vec("[abc]{0,6}", 0..20),
        ) {
            let mut set = SubscriptionSet::default();
            let mut list: Vec<String> = Vec::new();
            for (add, prefix) in operations {
                if add {
                    set.subscribe(prefix.as_bytes()).unwrap();
                    list.push(prefix);
                } else {
                    set.cancel(prefix.as_bytes());
                    if let Some(at) = list.iter().position(|known| *known == prefix) {
                        list.swap_remove(at);
                    }
                }
            }
            for topic in topics {
                let expected = list.iter().any(|prefix| topic.starts_with(prefix.as_str()));
                prop_assert_eq!(set.matches(topic.as_bytes()), expected, "{} in {:?}", topic, list);
            }
        }
    }
}
