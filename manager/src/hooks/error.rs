//! Why a hook has failed, in the words of the event `hook_failure` and of the log.

use crate::python::ImportFailure;
use std::time::Duration;

/// A hook that gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HookError {
    /// It took longer than `hooks_timeout`.
    #[error("it has not answered within {} s (hooks_timeout)", limit.as_secs_f64())]
    TimedOut {
        /// What it had.
        limit: Duration,
    },
    /// It raised; Circus shows `str()` of the exception.
    #[error("{message}")]
    Raised {
        /// `str()` of the exception.
        message: String,
        /// For the log.
        traceback: String,
    },
    /// Its module or its name in there cannot be found.
    #[error(transparent)]
    NoImport(#[from] ImportFailure),
    /// The interpreter went down while it ran.
    #[error("the Python that runs the hooks has ended ({0})")]
    WorkerEnded(String),
    /// There is no Python.
    #[error("cannot start python3 for hooks: {0}")]
    NoPython(String),
    /// A program that cannot be started.
    #[error("cannot run {program}: {reason}")]
    NoProgram {
        /// As configured.
        program: String,
        /// From the system, or from splitting the words.
        reason: String,
    },
    /// A program that ended by a signal or says itself that it could not run (126, 127).
    #[error("{program} ended with {status}: {words}")]
    ProgramFailed {
        /// As configured.
        program: String,
        /// How.
        status: String,
        /// What it wrote.
        words: String,
    },
    /// `extended_stats` of a program wrote no JSON object.
    #[error("{program} wrote no JSON object: {words}")]
    NotAnObject {
        /// As configured.
        program: String,
        /// What it wrote.
        words: String,
    },
    /// Too many wait already.
    #[error("too many hooks are waiting")]
    Busy,
    /// The worker said something that is no answer.
    #[error("the Python that runs the hooks said: {0}")]
    Nonsense(String),
}

impl HookError {
    /// Where it happened, for the log.
    pub fn traceback(&self) -> Option<&str> {
        match self {
            Self::Raised { traceback, .. } | Self::NoImport(ImportFailure { traceback, .. }) => Some(traceback),
            Self::TimedOut { .. }
            | Self::WorkerEnded(_)
            | Self::NoPython(_)
            | Self::NoProgram { .. }
            | Self::ProgramFailed { .. }
            | Self::NotAnObject { .. }
            | Self::Busy
            | Self::Nonsense(_) => None,
        }
    }
}
