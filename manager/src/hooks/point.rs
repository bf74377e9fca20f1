//! The points at which hooks are called, as one table (spec i).

use super::error::HookError;

/// Where in a watcher's life a hook is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Point {
    /// Before a stopped watcher starts.
    BeforeStart,
    /// After its first processes are there.
    AfterStart,
    /// Before each process.
    BeforeSpawn,
    /// After each process.
    AfterSpawn,
    /// Before the processes of a watcher are stopped.
    BeforeStop,
    /// After the last of them has gone.
    AfterStop,
    /// Before a process gets a signal.
    BeforeSignal,
    /// After that.
    AfterSignal,
    /// A process has ended; nobody was told yet.
    BeforeReap,
    /// Its end was told.
    AfterReap,
    /// `stats` with `extended`.
    ExtendedStats,
}

/// All points with their option names and what a failure does when the ignore flag is off.
pub const POINTS: &[(Point, &str, OnFailure)] = &[
    (Point::BeforeStart, "before_start", OnFailure::CountsAsNo),
    (Point::AfterStart, "after_start", OnFailure::CountsAsNo),
    (Point::BeforeSpawn, "before_spawn", OnFailure::CountsAsNo),
    (Point::AfterSpawn, "after_spawn", OnFailure::CountsAsNo),
    (Point::BeforeStop, "before_stop", OnFailure::IsIgnored),
    (Point::AfterStop, "after_stop", OnFailure::IsIgnored),
    (Point::BeforeSignal, "before_signal", OnFailure::IsIgnored),
    (Point::AfterSignal, "after_signal", OnFailure::IsIgnored),
    (Point::BeforeReap, "before_reap", OnFailure::IsIgnored),
    (Point::AfterReap, "after_reap", OnFailure::IsIgnored),
    (Point::ExtendedStats, "extended_stats", OnFailure::IsIgnored),
];

/// What a hook that fails does when its ignore flag is off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// As if it had returned False.
    CountsAsNo,
    /// As if it had returned True.
    IsIgnored,
}

impl Point {
    /// As in `hooks.NAME`.
    pub fn name(self) -> &'static str {
        POINTS.iter().find(|(point, ..)| *point == self).map_or("", |(_, name, _)| name)
    }

    /// What an outcome comes to. `ignore` is the flag behind the hook's comma.
    pub fn verdict(self, outcome: Result<bool, &HookError>, ignore: bool) -> bool {
        let lenient = || POINTS.iter().any(|(point, _, then)| *point == self && *then == OnFailure::IsIgnored);
        outcome.unwrap_or_else(|_| ignore || lenient())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::HOOK_NAMES;

    #[test]
    fn every_option_name_is_a_point() {
        let mut names: Vec<&str> = POINTS.iter().map(|(_, name, _)| *name).collect();
        let mut known = HOOK_NAMES.to_vec();
        names.sort_unstable();
        known.sort_unstable();
        assert_eq!(names, known);
    }

    #[test]
    fn a_failure_counts_as_the_table_says() {
        let error = HookError::Busy;
        assert!(!Point::BeforeStart.verdict(Err(&error), false));
        assert!(Point::BeforeStart.verdict(Err(&error), true));
        assert!(Point::BeforeSignal.verdict(Err(&error), false));
        assert!(!Point::BeforeSignal.verdict(Ok(false), true));
    }
}
