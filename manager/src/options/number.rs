//! Seconds as a configuration file or a client gave them.

use std::time::Duration;

/// A non-negative number of seconds that remembers how it was written, because `options` shows `0` for
/// `warmup_delay` and `30.0` for `graceful_timeout` (spec c.8).
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Seconds {
    /// Written as a whole number.
    Whole(u64),
    /// Written, or documented, as a float. Finite and not negative.
    Fractional(f64),
}

impl Seconds {
    /// The time span. Saturates at about 584 years.
    pub fn duration(self) -> Duration {
        match self {
            Self::Whole(seconds) => Duration::from_secs(seconds),
            Self::Fractional(seconds) => Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX),
        }
    }
}
