//! `stdout_stream.*` and `stderr_stream.*`.

use std::collections::BTreeMap;

/// Which stream class handles the output. The registry of built-in classes is `streams::CLASSES`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamClass {
    /// A built-in class by its short name, in Circus's spelling (`FileStream`).
    BuiltIn(String),
    /// A dotted Python path.
    Python(String),
}

/// One configured stream: its class and its options as written (spec h: all arrive as strings).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamOptions {
    /// The class; a section with only `filename` means `FileStream`.
    pub class: StreamClass,
    /// All other keys, e.g. `filename`, `max_bytes`, `backup_count`, `time_format`.
    pub settings: BTreeMap<String, String>,
}
