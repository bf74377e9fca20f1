//! Numbers that a seed gives again, for tests that choose at random.

use std::time::{SystemTime, UNIX_EPOCH};

/// xorshift64 (Marsaglia): the same seed gives the same numbers on every machine.
#[derive(Debug, Clone)]
pub struct Dice {
    /// What they begin with; a failing test prints it.
    pub seed: u64,
    state: u64,
}

impl Dice {
    /// With the seed of `RINGMASTER_SEED`, or one drawn from the clock.
    pub fn new() -> Self {
        let given = std::env::var("RINGMASTER_SEED").ok().and_then(|seed| seed.parse().ok());
        let drawn = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |time| time.as_secs());
        Self::with_seed(given.unwrap_or(drawn))
    }

    /// With that seed; 0 is taken for 1, because xorshift never leaves 0.
    pub fn with_seed(seed: u64) -> Self {
        let seed = seed.max(1);
        Self { seed, state: seed }
    }

    /// A number below `limit`, which is not 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state % limit.max(1)
    }
}

impl Default for Dice {
    fn default() -> Self {
        Self::new()
    }
}
