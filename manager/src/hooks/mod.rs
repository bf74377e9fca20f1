//! Hooks: code of the user that is asked or told at fixed points of a watcher's life (spec i).
//!
//! Nothing here decides what an answer means; that is `watcher/hooks.rs`. This is what a point is called, what a hook is
//! given, and who runs it: one row of [`RUNNERS`] for each way. A hook never blocks the loop: it is begun by
//! `Effect::RunHook` and always, within its time limit, answered by `Event::HookDone`.

mod call;
mod error;
mod point;
mod program;
mod python;
mod service;
#[cfg(test)]
mod tests;
mod wire;
mod worker;

pub use call::{HookAnswer, HookCall, HookTicket};
pub use error::HookError;
pub use point::{POINTS, Point};
pub use service::HookService;

use std::time::Duration;

/// `hooks_timeout` when nobody says otherwise.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// One way to run hooks.
#[derive(Debug)]
pub struct Runner {
    /// How the value of `hooks.NAME` begins that is run this way.
    pub prefix: &'static str,
    /// Which one.
    pub kind: RunnerKind,
    /// One line for people.
    pub summary: &'static str,
}

/// The closed set of ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunnerKind {
    /// A program of its own.
    Program,
    /// A callable in the Python worker.
    Python,
}

/// All ways. The first row whose prefix fits is taken; the last one fits everything.
pub const RUNNERS: &[Runner] = &[
    Runner { prefix: "exec:", kind: RunnerKind::Program, summary: "a program with arguments; exit status 0 means yes" },
    Runner { prefix: "", kind: RunnerKind::Python, summary: "a Python callable: package.module.name or module:name" },
];

/// How the value of a `hooks.NAME` option is run, and the rest of it.
pub fn runner(target: &str) -> (RunnerKind, &str) {
    let found = RUNNERS.iter().find_map(|row| Some((row.kind, target.strip_prefix(row.prefix)?.trim())));
    found.unwrap_or((RunnerKind::Python, target))
}
