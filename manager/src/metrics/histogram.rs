//! Durations, counted by how long they were.

use std::time::Duration;

/// Upper bounds of the buckets, in seconds: from an answer at once to a stop that takes its graceful timeout.
pub const BOUNDS: [f64; 10] = [0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0];

/// Durations of one kind. Only grows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Histogram {
    /// Those up to each bound and above the one before.
    within: [u64; BOUNDS.len()],
    /// Those above all bounds.
    beyond: u64,
    sum: Duration,
}

impl Histogram {
    /// Counts one.
    pub fn observe(&mut self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let bucket = BOUNDS.iter().zip(&mut self.within).find(|(bound, _)| seconds <= **bound);
        let count = bucket.map_or(&mut self.beyond, |(_, count)| count);
        *count = count.saturating_add(1);
        self.sum = self.sum.saturating_add(duration);
    }

    /// Each bound with the number of durations up to it.
    pub fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        let mut sum = 0_u64;
        BOUNDS.iter().zip(&self.within).map(move |(bound, count)| {
            sum = sum.saturating_add(*count);
            (*bound, sum)
        })
    }

    /// All of them.
    pub fn count(&self) -> u64 {
        self.within.iter().fold(self.beyond, |sum, count| sum.saturating_add(*count))
    }

    /// All together.
    pub fn sum(&self) -> Duration {
        self.sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_counted_once_and_in_every_wider_bucket() {
        let mut histogram = Histogram::default();
        for millis in [0, 1, 2, 1000, 1_000_000] {
            histogram.observe(Duration::from_millis(millis));
        }
        let counts: Vec<u64> = histogram.cumulative().map(|(_, count)| count).collect();
        assert_eq!(counts, [2, 3, 3, 3, 3, 4, 4, 4, 4, 4]);
        assert_eq!((histogram.count(), histogram.sum()), (5, Duration::from_millis(1_001_003)));
    }

    #[test]
    fn bounds_grow() {
        assert!(BOUNDS.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
