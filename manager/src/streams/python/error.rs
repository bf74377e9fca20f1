//! What goes wrong with a class, in the words of the log.

use crate::python::ImportFailure;
use crate::streams::mailbox::WatcherKey;
use ringmaster_protocol::ring::Stream;
use std::time::Duration;

/// Why a worker takes nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PythonError {
    /// There is no Python.
    #[error("cannot start python3: {0}")]
    NoPython(String),
    /// The class is not there, or its module raises.
    #[error(transparent)]
    NoImport(#[from] ImportFailure),
    /// The class raises instead of making an object.
    #[error("cannot make an object of it: {message}")]
    NoObject {
        /// Kind and text of the exception.
        message: String,
        /// For the log.
        traceback: String,
    },
    /// The object is not made within the time limit.
    #[error("it is not imported and made within {} s (hooks_timeout)", limit.as_secs_f64())]
    SlowStart {
        /// What it had.
        limit: Duration,
    },
    /// A call has not returned within the time limit.
    #[error("it has not returned within {} s (hooks_timeout)", limit.as_secs_f64())]
    TimedOut {
        /// What it had.
        limit: Duration,
    },
    /// The interpreter went down.
    #[error("its Python has ended ({0})")]
    Ended(String),
    /// The worker said something that is no answer.
    #[error("its Python said: {0}")]
    Nonsense(String),
}

impl PythonError {
    /// Where it happened.
    fn traceback(&self) -> Option<&str> {
        match self {
            Self::NoImport(ImportFailure { traceback, .. }) | Self::NoObject { traceback, .. } => Some(traceback),
            Self::NoPython(_) | Self::SlowStart { .. } | Self::TimedOut { .. } | Self::Ended(_) | Self::Nonsense(_) => {
                None
            }
        }
    }
}

/// News of a class, for the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("watcher {watcher}: {}_stream.class = {class}: {word}", stream.name())]
pub struct ClassReport {
    /// Whose.
    pub watcher: WatcherKey,
    /// Which of its streams.
    pub stream: Stream,
    /// The dotted name.
    pub class: String,
    /// What there is to say.
    pub word: ClassWord,
}

/// What there is to say of a class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClassWord {
    /// It takes nothing; told once until it works again.
    Trouble(PythonError),
    /// It works again.
    Works,
    /// Calls have raised. What they were given counts as taken.
    Raised {
        /// How many since this was told last.
        calls: u64,
        /// Kind and text of the last exception.
        message: String,
        /// Where it was raised.
        traceback: String,
    },
}

impl std::fmt::Display for ClassWord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let traceback = match self {
            Self::Works => return f.write_str("works again"),
            Self::Trouble(error) => {
                write!(f, "{error}; output waits in the core, it will be tried again")?;
                error.traceback()
            }
            Self::Raised { calls, message, traceback } => {
                match calls {
                    1 => f.write_str("a call raised, what it was given counts as taken")?,
                    calls => write!(f, "{calls} calls raised, what they were given counts as taken")?,
                }
                write!(f, ": {message}")?;
                Some(traceback.as_str())
            }
        };
        traceback.map_or(Ok(()), |text| write!(f, "\n{}", text.trim_end()))
    }
}
