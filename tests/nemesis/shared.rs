//! What the director and the manager tell each other.

use crate::tally::Tally;
use std::collections::BTreeMap;
use std::io;

/// What the director and the manager tell each other.
#[derive(Default)]
pub struct Shared {
    /// Short-lived children that are out, and their pids when they are known.
    pub out: BTreeMap<String, Option<i32>>,
    /// Of them, those whose code may be unknown.
    pub excused: Vec<String>,
    /// Pids that must stay, by name.
    pub lasting: BTreeMap<String, i32>,
    /// How often a moment without a core has begun or ended: odd in the middle of one.
    pub gaps: u64,
    /// Everything is to come to its end.
    pub finish: bool,
    /// Give up: a violation has been found that makes waiting pointless.
    pub abort: bool,
    pub tally: Tally,
}

impl Shared {
    /// Somebody's connection was refused or broken off; while a half of the core lives, that is a violation. `gaps` is what was
    /// read before connecting.
    pub fn refused_outside_of_a_gap(&mut self, gaps: u64, error: &io::Error, who: &str) {
        let refused = matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound);
        if refused && gaps.is_multiple_of(2) && gaps == self.gaps {
            self.tally.refused += 1;
            self.tally.complain(format!("{who}: {error}"));
        }
    }
}
