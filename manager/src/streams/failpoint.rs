//! Places at which a test kills circusd, and writes that a test makes short. Without the feature `failpoints`, which only the
//! tests of this repository turn on, nothing of this is compiled and the calls are empty.
//!
//! `RINGMASTER_FAILPOINTS=SEED:N`: each passage of a failpoint is the last with a probability of 1 in N (SIGKILL, as nothing can
//! resist), and each write is short with the same probability times eight.

/// A place in the writing of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failpoint {
    /// Nothing of the batch is in the journal.
    BeforeData,
    /// Its bytes are, its entry not.
    BeforeEntry,
    /// The whole intent is.
    AfterEntry,
    /// A part of the batch is in the file.
    AfterWrite,
    /// All of it is.
    BeforeSettle,
    /// The journal knows that.
    AfterSettle,
    /// Before each rename of a rotation.
    Rename,
    /// The new file is there, the journal knows nothing of it.
    AfterOpen,
    /// In the middle of a compression.
    Compress,
    /// An old file is there twice, plain and compressed.
    Compressed,
}

#[cfg(not(feature = "failpoints"))]
mod real {
    use super::Failpoint;

    pub(in crate::streams) fn hit(_: Failpoint) {}

    pub(in crate::streams) fn shorten(length: usize) -> usize {
        length
    }
}

#[cfg(feature = "failpoints")]
mod real {
    use super::Failpoint;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// One in so many; `None`: not asked for.
    fn odds() -> Option<u64> {
        static ODDS: OnceLock<Option<u64>> = OnceLock::new();
        *ODDS.get_or_init(|| {
            let text = std::env::var("RINGMASTER_FAILPOINTS").ok()?;
            let (seed, odds) = text.split_once(':')?;
            STATE.store(seed.parse::<u64>().ok()?.max(1), Ordering::Relaxed);
            odds.parse().ok().filter(|odds| *odds > 0)
        })
    }

    static STATE: AtomicU64 = AtomicU64::new(1);

    /// splitmix64.
    fn draw() -> u64 {
        let state = STATE.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(in crate::streams) fn hit(_: Failpoint) {
        if odds().is_some_and(|odds| draw().is_multiple_of(odds)) {
            let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        }
    }

    pub(in crate::streams) fn shorten(length: usize) -> usize {
        let Some(odds) = odds().filter(|_| length > 1) else { return length };
        let limit = u64::try_from(length).unwrap_or(u64::MAX);
        if draw() % odds < 8 { usize::try_from(1 + draw() % (limit - 1)).unwrap_or(length) } else { length }
    }
}

pub(super) use real::{hit, shorten};
