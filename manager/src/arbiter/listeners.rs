//! Clients that wait for the next event (`events` with `waiting`).

use super::{Arbiter, Asked, Effect, batch};
use crate::clock::Now;
use std::time::Duration;

/// Clients that may wait at the same time; each costs a look at every event.
const MAX_LISTENERS: usize = 64;

impl Arbiter {
    /// Answers now, or when there is an event, or at `asked.until`. `false`: too many wait.
    pub fn listen(&mut self, asked: Asked, now: Now, effects: &mut Vec<Effect>) -> bool {
        let (properties, any) = self.chronicle.answer(&asked);
        if any || asked.until <= now.mono {
            batch::answer(&asked.asker, now, properties, effects);
            return true;
        }
        if self.listeners.len() >= MAX_LISTENERS {
            return false;
        }
        self.listeners.push(asked);
        true
    }

    /// Answers those for whom there is an event now, and those who have waited long enough.
    pub(super) fn tell_listeners(&mut self, now: Now, new: bool, effects: &mut Vec<Effect>) {
        let chronicle = &self.chronicle;
        self.listeners.retain(|asked| {
            let over = asked.until <= now.mono;
            if !new && !over {
                return true;
            }
            let (properties, any) = chronicle.answer(asked);
            if any || over {
                batch::answer(&asked.asker, now, properties, effects);
            }
            !any && !over
        });
    }

    pub(super) fn listeners_deadline(&self) -> Option<Duration> {
        self.listeners.iter().map(|asked| asked.until).min()
    }
}
