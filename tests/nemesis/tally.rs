//! What is counted, and what of it must be nothing.

use crate::plan::Step;
use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::time::Duration;

/// Counts of one run.
#[derive(Debug, Default)]
pub struct Tally {
    /// Bytes that were read and were right.
    pub right_bytes: u64,
    pub lost_bytes: u64,
    pub repeated_bytes: u64,
    pub wrong_bytes: u64,
    pub codes_right: u64,
    pub codes_wrong: u64,
    pub codes_missing: u64,
    /// Of children that ended while both halves were dead, or so near to it that nobody can say.
    pub codes_unknown_allowed: u64,
    pub pids_changed: u64,
    pub second_copies: u64,
    pub connections: u64,
    /// At the socket that only the core holds.
    pub connections_lone: u64,
    pub refused: u64,
    /// The manager's connections that broke, or were made.
    pub sessions: u64,
    /// Whatever else is not as it should be.
    pub complaints: Vec<String>,
    /// From the act to the first answered request, by action.
    pub recoveries: BTreeMap<String, Vec<Duration>>,
    pub steps: u64,
}

impl Tally {
    /// Something is not as it should be.
    pub fn complain(&mut self, text: String) {
        eprintln!("nemesis: {text}");
        self.complaints.push(text);
    }

    pub fn recovered(&mut self, step: &Step, took: Duration) {
        let text = step.to_string();
        let name: Vec<&str> = text.split_whitespace().skip(1).take_while(|word| word.parse::<u64>().is_err()).collect();
        self.recoveries.entry(name.join(" ")).or_default().push(took);
    }

    /// Whether everything held.
    pub fn is_clean(&self) -> bool {
        let violations = [
            self.lost_bytes,
            self.repeated_bytes,
            self.wrong_bytes,
            self.codes_wrong,
            self.codes_missing,
            self.pids_changed,
            self.second_copies,
            self.refused,
        ];
        violations.iter().all(|count| *count == 0) && self.complaints.is_empty()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = [
            ("steps", self.steps),
            ("bytes right", self.right_bytes),
            ("bytes lost", self.lost_bytes),
            ("bytes twice", self.repeated_bytes),
            ("bytes wrong", self.wrong_bytes),
            ("exit codes right", self.codes_right),
            ("exit codes wrong", self.codes_wrong),
            ("exit codes missing", self.codes_missing),
            ("exit codes unknown, both halves dead", self.codes_unknown_allowed),
            ("PIDs changed", self.pids_changed),
            ("second copies", self.second_copies),
            ("connections served", self.connections),
            ("connections served, lone socket", self.connections_lone),
            ("connections refused", self.refused),
            ("connections of the manager", self.sessions),
        ];
        for (name, count) in rows {
            writeln!(f, "{name:<40} {count}")?;
        }
        for (action, times) in &self.recoveries {
            let mut times = times.clone();
            times.sort();
            let at = |hundredths: usize| times[(times.len() - 1) * hundredths / 100];
            let mut row = String::new();
            for time in [at(50), at(99), at(100)] {
                write!(row, " {:>9.1}", time.as_secs_f64() * 1000.0)?;
            }
            writeln!(f, "{action:<40} {:>5} times; p50, p99, max ms:{row}", times.len())?;
        }
        for complaint in self.complaints.iter().take(50) {
            writeln!(f, "! {complaint}")?;
        }
        Ok(())
    }
}
