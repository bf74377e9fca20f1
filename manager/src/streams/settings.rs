//! Reading the settings of a stream section, which all arrive as text (spec h).

use std::collections::BTreeMap;

/// One setting of a stream class.
#[derive(Debug)]
pub struct SettingRow {
    /// Its key after `stdout_stream.` or `stderr_stream.`.
    pub key: &'static str,
    /// What it takes, for help and errors.
    pub expected: &'static str,
    /// What holds without it, in words.
    pub default: &'static str,
}

/// Why a stream section cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// No class of that name.
    #[error("there is no stream class {class:?}; expected one of {}", known.join(", "))]
    UnknownClass {
        /// As written.
        class: String,
        /// Those that exist.
        known: Vec<&'static str>,
    },
    /// A setting with an impossible value.
    #[error("{class}: {key} is {value:?}; expected {expected}")]
    BadValue {
        /// Name of the class.
        class: &'static str,
        /// The setting.
        key: &'static str,
        /// As written.
        value: String,
        /// What would do.
        expected: String,
    },
}

impl StreamError {
    /// The setting that is to be changed; `None`: the class itself.
    pub fn key(&self) -> Option<&'static str> {
        match self {
            Self::UnknownClass { .. } => None,
            Self::BadValue { key, .. } => Some(key),
        }
    }
}

/// The settings of one section, with the class's name for errors.
pub(super) struct Settings<'a> {
    class: &'static str,
    written: &'a str,
    values: &'a BTreeMap<String, String>,
}

impl<'a> Settings<'a> {
    pub(super) fn new(class: &'static str, written: &'a str, values: &'a BTreeMap<String, String>) -> Self {
        Self { class, written, values }
    }

    /// The class as it is written.
    pub(super) fn class(&self) -> &'a str {
        self.written
    }

    /// All of them.
    pub(super) fn all(&self) -> &'a BTreeMap<String, String> {
        self.values
    }

    /// The text of a setting, when given.
    pub(super) fn text(&self, row: &SettingRow) -> Option<&'a str> {
        self.values.get(row.key).map(String::as_str)
    }

    /// A whole number that counts something: absent, zero and negative all mean "off" (Circus compares with `> 0`).
    pub(super) fn count(&self, row: &SettingRow) -> Result<u64, StreamError> {
        let Some(text) = self.text(row) else {
            return Ok(0);
        };
        match text.trim().parse::<i64>() {
            Ok(number) => Ok(u64::try_from(number).unwrap_or(0)),
            Err(_) => Err(self.bad(row, row.expected)),
        }
    }

    /// The error for a value that is not `expected`.
    pub(super) fn bad(&self, row: &SettingRow, expected: &str) -> StreamError {
        StreamError::BadValue {
            class: self.class,
            key: row.key,
            value: self.text(row).unwrap_or_default().to_owned(),
            expected: expected.to_owned(),
        }
    }
}
