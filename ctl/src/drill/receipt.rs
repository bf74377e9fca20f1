//! What a drill has found, for people and for programs.

use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

/// What became of the core.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CoreHalf {
    /// It is one process: killing that would be another exercise.
    Whole,
    /// Its kernel half was killed and another one came.
    Replaced {
        /// The pid that was killed.
        old: i32,
        /// The one that came.
        new: i32,
        /// How long it took.
        after: Duration,
    },
}

/// The receipt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The circusd that was killed.
    pub old_pid: i32,
    /// The one that answers now.
    pub new_pid: Option<i32>,
    /// How it came back.
    pub came_back: String,
    /// Processes that ran before.
    pub processes: usize,
    /// Those of them that still run, with the same pid.
    pub unchanged: usize,
    /// Connections that were made meanwhile.
    pub connections: u64,
    /// Connections that were refused meanwhile.
    pub refused: u64,
    /// Bytes of output that were lost meanwhile.
    pub lost_bytes: u64,
    /// From the kill to the first answer.
    pub without_control: Duration,
    /// What became of the core.
    pub half: CoreHalf,
}

impl Receipt {
    /// Nothing was lost.
    pub fn is_clean(&self) -> bool {
        self.unchanged == self.processes && self.refused == 0 && self.lost_bytes == 0
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let kernel = match &self.half {
            CoreHalf::Whole => Value::Null,
            CoreHalf::Replaced { old, new, after } => {
                json!({"old_pid": old, "new_pid": new, "back_after_s": after.as_secs_f64()})
            }
        };
        json!({
            "clean": self.is_clean(),
            "old_pid": self.old_pid,
            "new_pid": self.new_pid,
            "processes": self.processes,
            "processes_unchanged": self.unchanged,
            "connections": self.connections,
            "connections_refused": self.refused,
            "lost_bytes": self.lost_bytes,
            "without_control_s": self.without_control.as_secs_f64(),
            "kernel": kernel,
        })
    }
}

impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let new = self.new_pid.map_or_else(|| "nobody".to_owned(), |pid| pid.to_string());
        writeln!(f, "circusd            killed: pid {} -> {new}, {}", self.old_pid, self.came_back)?;
        match &self.half {
            CoreHalf::Whole => writeln!(f, "core               one process in this version: its part is skipped")?,
            CoreHalf::Replaced { old, new, after } => writeln!(
                f,
                "core               kernel half killed: pid {old} -> {new}, back after {:.3} s",
                after.as_secs_f64()
            )?,
        }
        writeln!(f, "processes          {} of {} unchanged", self.unchanged, self.processes)?;
        match self.connections + self.refused {
            0 => writeln!(f, "connections        none tried: no watcher's socket accepts any")?,
            _ => writeln!(f, "connections        {} made, {} refused", self.connections, self.refused)?,
        }
        writeln!(f, "output             {} bytes lost", self.lost_bytes)?;
        writeln!(f, "without control    {:.3} s", self.without_control.as_secs_f64())?;
        f.write_str(if self.is_clean() { "clean" } else { "NOT CLEAN" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receipt() -> Receipt {
        Receipt {
            old_pid: 1,
            new_pid: Some(2),
            came_back: "started again by drill".to_owned(),
            processes: 4,
            unchanged: 4,
            connections: 10,
            refused: 0,
            lost_bytes: 0,
            without_control: Duration::from_millis(41),
            half: CoreHalf::Whole,
        }
    }

    #[test]
    fn only_a_receipt_without_any_loss_is_clean() {
        assert!(receipt().is_clean());
        assert!(!Receipt { unchanged: 3, ..receipt() }.is_clean());
        assert!(!Receipt { refused: 1, ..receipt() }.is_clean());
        assert!(!Receipt { lost_bytes: 1, ..receipt() }.is_clean());
    }

    #[test]
    fn it_says_what_happened_and_what_did_not() {
        let text = receipt().to_string();
        for part in
            ["pid 1 -> 2", "4 of 4 unchanged", "10 made, 0 refused", "0 bytes lost", "0.041 s", "its part is skipped"]
        {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(text.ends_with("\nclean"));
    }
}
