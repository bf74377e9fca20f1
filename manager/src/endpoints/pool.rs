//! A shared number of bytes from which connections take when they need more than their own allowance, and the question
//! who has to go when it is overdrawn: whoever holds the most.
//!
//! Not whoever asked last: then a few clients that hold everything could make every other client fail. It only counts;
//! the memory belongs to whoever holds the [`Charge`].

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::ClientId;

/// Bytes that may be held above the allowances, by all connections of an endpoint together.
#[derive(Debug)]
pub(super) struct Pool {
    bytes: usize,
    allowance: usize,
    ledger: Mutex<Ledger>,
}

#[derive(Debug, Default)]
struct Ledger {
    taken: usize,
    holders: HashMap<ClientId, usize>,
}

/// What one connection holds. Returned when dropped.
#[derive(Debug)]
pub(super) struct Charge {
    pool: Arc<Pool>,
    holder: ClientId,
    /// Bytes above the allowance at the last look; 0 means that the ledger has no entry.
    above: usize,
}

/// How the pool stands after a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Balance {
    /// There is room.
    Good,
    /// Somebody has to go: see [`Pool::evict`].
    Overdrawn,
}

impl Pool {
    /// A pool of `bytes`, of which only what exceeds `allowance` per connection is counted.
    pub(super) fn new(bytes: usize, allowance: usize) -> Arc<Self> {
        Arc::new(Self { bytes, allowance, ledger: Mutex::default() })
    }

    /// A charge that holds nothing yet.
    pub(super) fn charge(self: &Arc<Self>, holder: ClientId) -> Charge {
        Charge { pool: Arc::clone(self), holder, above: 0 }
    }

    /// While the pool is overdrawn: strikes out the one who holds the most, and says who that was. The caller has to
    /// end that connection.
    pub(super) fn evict(&self) -> Option<ClientId> {
        let mut ledger = self.lock();
        if ledger.taken <= self.bytes {
            return None;
        }
        let heaviest = ledger.holders.iter().max_by_key(|(_, bytes)| **bytes).map(|(holder, _)| *holder)?;
        ledger.set(heaviest, 0);
        Some(heaviest)
    }

    fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ledger {
    fn set(&mut self, holder: ClientId, bytes: usize) {
        let before = match bytes {
            0 => self.holders.remove(&holder),
            _ => self.holders.insert(holder, bytes),
        };
        self.taken = self.taken.saturating_sub(before.unwrap_or(0)).saturating_add(bytes);
    }
}

impl Charge {
    /// Makes the charge fit for `held` bytes. It always does; the pool may be overdrawn by it.
    pub(super) fn resize(&mut self, held: usize) -> Balance {
        let above = held.saturating_sub(self.pool.allowance);
        if above == self.above {
            return Balance::Good;
        }
        let grows = above > self.above;
        self.above = above;
        let mut ledger = self.pool.lock();
        ledger.set(self.holder, above);
        if grows && ledger.taken > self.pool.bytes { Balance::Overdrawn } else { Balance::Good }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.resize(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_only_above_the_allowance_and_gives_back() {
        let pool = Pool::new(100, 10);
        let (mut one, mut two) = (pool.charge(ClientId(1)), pool.charge(ClientId(2)));
        assert_eq!((one.resize(70), two.resize(50)), (Balance::Good, Balance::Good));
        assert_eq!(pool.evict(), None);
        assert_eq!(pool.lock().taken, 100);
        drop(one);
        assert_eq!(two.resize(110), Balance::Good);
        drop(two);
        assert_eq!(pool.lock().taken, 0);
        assert!(pool.lock().holders.is_empty());
    }

    #[test]
    fn the_heaviest_goes_and_is_not_counted_twice() {
        let pool = Pool::new(100, 10);
        let (mut heavy, mut light) = (pool.charge(ClientId(1)), pool.charge(ClientId(2)));
        assert_eq!(heavy.resize(100), Balance::Good);
        assert_eq!(light.resize(30), Balance::Overdrawn);
        assert_eq!((pool.evict(), pool.evict()), (Some(ClientId(1)), None));
        assert_eq!(pool.lock().taken, 20);
        drop(heavy);
        assert_eq!(pool.lock().taken, 20);
    }
}
