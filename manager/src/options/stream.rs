//! `stdout_stream.*` and `stderr_stream.*`.

use std::collections::BTreeMap;

/// The short names of the stream classes: Circus's own (spec h), and ours. What they do is in `streams::CLASSES`.
pub const STREAM_CLASS_NAMES: &[&str] = &[
    "FileStream",
    "WatchedFileStream",
    "TimedRotatingFileStream",
    "StdoutStream",
    "FancyStdoutStream",
    "QueueStream",
    "JsonFileStream",
    "SyslogStream",
    "JournaldStream",
];

/// Which stream class handles the output. The registry of built-in classes is `streams::CLASSES`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamClass {
    /// A built-in class by its short name, in Circus's spelling (`FileStream`).
    BuiltIn(String),
    /// A dotted Python path.
    Python(String),
}

impl StreamClass {
    /// A name with a dot is a Python path, also Circus's own ones (`circus.stream.FileStream` is the built-in class);
    /// without a dot it is one of [`STREAM_CLASS_NAMES`]. `None` for other names.
    pub fn parse(text: &str) -> Option<Self> {
        let own = text.strip_prefix("circus.stream.").unwrap_or(text);
        if STREAM_CLASS_NAMES.contains(&own) {
            return Some(Self::BuiltIn(own.to_owned()));
        }
        text.contains('.').then(|| Self::Python(text.to_owned()))
    }
}

impl std::fmt::Display for StreamClass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::BuiltIn(name) | Self::Python(name) => f.write_str(name),
        }
    }
}

/// The built-in class names for a sentence.
pub(super) fn stream_class_names() -> String {
    STREAM_CLASS_NAMES.join(", ")
}

/// One configured stream: its class and its options as written (spec h: all arrive as strings).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamOptions {
    /// The class; a section with only `filename` means `FileStream`.
    pub class: StreamClass,
    /// All other keys, e.g. `filename`, `max_bytes`, `backup_count`, `time_format`.
    pub settings: BTreeMap<String, String>,
}

impl StreamOptions {
    /// A `FileStream` without settings: what a stream is before its `class` is read.
    pub fn file() -> Self {
        Self { class: StreamClass::BuiltIn("FileStream".to_owned()), settings: BTreeMap::new() }
    }
}
