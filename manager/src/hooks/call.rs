//! One call of a hook: what it is given and what it answers.

use super::Point;
use serde_json::{Map, Value};
use std::path::PathBuf;
use std::time::Duration;

/// Pairs a call with its answer; later calls have greater numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HookTicket(pub u64);

/// One call.
#[derive(Debug, Clone, PartialEq)]
pub struct HookCall {
    /// Pairs the answer.
    pub ticket: HookTicket,
    /// Where.
    pub point: Point,
    /// `hooks.NAME` as written, without the flag.
    pub target: String,
    /// Grows with each `set` of the watcher's hooks, after which modules are read again (spec c.8).
    pub generation: u64,
    /// How long it may take.
    pub limit: Duration,
    /// The name of the watcher; its calls run one after another.
    pub watcher: String,
    /// The keyword arguments of the point (spec i). For `extended_stats` `stats` has the infos of all processes by pid.
    pub facts: Map<String, Value>,
    /// The watcher as it is now: `name`, `res_name`, `status`, `options`, `env`, `processes`, `hooks`.
    pub snapshot: Value,
    /// `PYTHONPATH` of the watcher's environment, with what `virtualenv` and `copy_path` have put into it.
    pub python_path: Option<String>,
    /// Where a program is run; `None`: circusd's own directory.
    pub working_dir: Option<PathBuf>,
}

/// What a hook has answered.
#[derive(Debug, Clone, PartialEq)]
pub struct HookAnswer {
    /// Whether what it returned is true.
    pub truth: bool,
    /// `stats` of `extended_stats` as the hook has left them, by pid.
    pub stats: Option<Map<String, Value>>,
}

impl HookAnswer {
    /// Yes or no.
    pub fn plain(truth: bool) -> Self {
        Self { truth, stats: None }
    }
}
