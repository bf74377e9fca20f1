//! Waiting for a condition with a deadline. This is the only place where a test lets time pass.

use anyhow::{Result, bail};
use std::time::{Duration, Instant};

/// The longest pause between two looks at a condition.
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// Why a condition is not met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotYet {
    state: String,
    hopeless: bool,
}

impl NotYet {
    /// It never will be: waiting ends at once.
    pub fn never(state: impl Into<String>) -> Self {
        Self { state: state.into(), hopeless: true }
    }
}

impl<T: Into<String>> From<T> for NotYet {
    fn from(state: T) -> Self {
        Self { state: state.into(), hopeless: false }
    }
}

/// Looks until `probe` gives a value, at most for `limit`. An `Err` of the probe is the present state in words; the
/// last one is in the error.
pub fn wait_until<T, E: Into<NotYet>>(
    limit: Duration,
    what: &str,
    mut probe: impl FnMut() -> Result<T, E>,
) -> Result<T> {
    let begin = Instant::now();
    let mut pause = Duration::from_micros(500);
    loop {
        match probe().map_err(Into::into) {
            Ok(value) => return Ok(value),
            Err(NotYet { state, hopeless: true }) => bail!("{what} cannot come any more: {state}"),
            Err(NotYet { state, .. }) if begin.elapsed() >= limit => {
                bail!("not within {limit:?}: {what}; last seen: {state}")
            }
            Err(_) => pass(pause),
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Looks for the whole of `span` that `probe` gives no objection.
pub fn stays_true(span: Duration, what: &str, mut probe: impl FnMut() -> Result<(), String>) -> Result<()> {
    let begin = Instant::now();
    while begin.elapsed() < span {
        if let Err(state) = probe() {
            bail!("did not stay true for {span:?}: {what}; after {:?}: {state}", begin.elapsed());
        }
        pass(LONGEST_PAUSE.min(span));
    }
    Ok(())
}

/// Lets a measured span pass: for observing over time, and for transcripts that were taken with pauses. Not for
/// hoping that something has happened: that is [`wait_until`].
pub fn pass(span: Duration) {
    let end = Instant::now() + span;
    while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        std::thread::park_timeout(left);
    }
}
