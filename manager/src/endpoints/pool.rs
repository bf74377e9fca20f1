//! A shared number of bytes from which connections take when they need more than their own allowance.
//!
//! It only counts; the memory itself belongs to whoever holds the [`Charge`].

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes that may be held above the allowances, by all connections of an endpoint together.
#[derive(Debug)]
pub(super) struct Pool {
    free: AtomicUsize,
    allowance: usize,
}

/// What one connection holds. Returned when dropped.
#[derive(Debug)]
pub(super) struct Charge {
    pool: Arc<Pool>,
    taken: usize,
}

impl Pool {
    /// A pool of `bytes`, of which only what exceeds `allowance` per charge is counted.
    pub(super) fn new(bytes: usize, allowance: usize) -> Arc<Self> {
        Arc::new(Self {
            free: AtomicUsize::new(bytes),
            allowance,
        })
    }

    /// A charge that holds nothing yet.
    pub(super) fn charge(self: &Arc<Self>) -> Charge {
        Charge {
            pool: Arc::clone(self),
            taken: 0,
        }
    }
}

impl Charge {
    /// Makes the charge fit for `held` bytes; `false`, and no change, when the pool cannot give them.
    pub(super) fn resize(&mut self, held: usize) -> bool {
        let wanted = held.saturating_sub(self.pool.allowance);
        if wanted > self.taken {
            let more = wanted - self.taken;
            let free = &self.pool.free;
            let claim = free.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |free| {
                free.checked_sub(more)
            });
            if claim.is_err() {
                return false;
            }
        } else if wanted < self.taken {
            self.pool.free.fetch_add(self.taken - wanted, Ordering::Relaxed);
        }
        self.taken = wanted;
        true
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
        let (mut one, mut two) = (pool.charge(), pool.charge());
        assert!(one.resize(70) && two.resize(50));
        assert!(!two.resize(51));
        assert!(two.resize(10));
        assert!(one.resize(110));
        assert!(!two.resize(11));
        drop(one);
        assert!(two.resize(110));
        drop(two);
        assert_eq!(pool.free.load(Ordering::Relaxed), 100);
    }
}
