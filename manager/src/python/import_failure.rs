//! A module, or a name in it, that Python cannot find.

use serde::Deserialize;

/// What a worker tells of an import that failed, in the words that people get.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, thiserror::Error)]
#[error("cannot import '{target}': {message}; searched: {}", folders(path))]
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

/// An empty entry is the directory in which Python runs.
fn folders(path: &[String]) -> String {
    path.iter().map(|folder| if folder.is_empty() { "." } else { folder.as_str() }).collect::<Vec<_>>().join(", ")
}
