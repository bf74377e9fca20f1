//! A module, or a name in it, that Python cannot find.

use serde::Deserialize;

/// What a worker tells of an import that failed, in the words that people get.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, thiserror::Error)]
#[error("cannot import '{target}': {message}; searched: {}", path.join(", "))]
pub struct ImportFailure {
    /// As configured.
    pub target: String,
    /// Kind and text of the exception.
    pub message: String,
    /// `sys.path`.
    pub path: Vec<String>,
    /// For the log.
    pub traceback: String,
}
