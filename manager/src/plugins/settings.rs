//! A plugin's settings as they stand on its command line: `key:value` pairs joined by `:::` (spec j).

use crate::options::python;
use std::collections::BTreeMap;
use std::time::Duration;

/// Between two pairs.
const BETWEEN: &str = ":::";

/// A setting that has no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    /// It is not there.
    #[error("the setting '{key}' is missing; expected {expected}")]
    Missing {
        /// Its name.
        key: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// It cannot be read.
    #[error("{key} = {value}: expected {expected}")]
    Value {
        /// Its name.
        key: String,
        /// As given.
        value: String,
        /// What it should be.
        expected: &'static str,
    },
}

/// Texts by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings(BTreeMap<String, String>);

impl Settings {
    /// Reads `--config`. A pair without a colon is no pair.
    pub fn parse(text: &str) -> Self {
        let pairs = text.split(BETWEEN).filter_map(|pair| pair.split_once(':'));
        // A name may have colons (`__name__:plugin:x`); a key has none.
        Self(pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
    }

    /// From a section of the configuration.
    pub fn new(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        Self(pairs.into_iter().collect())
    }

    /// These, and in the place of some others.
    pub fn overlaid(&self, others: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut settings = self.clone();
        settings.0.extend(others);
        settings
    }

    /// As `--config` has it.
    pub fn to_text(&self) -> String {
        let pairs: Vec<String> = self.0.iter().map(|(key, value)| format!("{key}:{value}")).collect();
        pairs.join(BETWEEN)
    }

    /// The text of one, when it is given and not empty.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(|text| python::strip(text)).filter(|text| !text.is_empty())
    }

    /// A number, `default` when it is not given.
    ///
    /// # Errors
    /// It is given and no number.
    pub fn number(&self, key: &str, default: f64) -> Result<f64, SettingError> {
        self.read(key, "a number", python::to_float).map(|number| number.unwrap_or(default))
    }

    /// An integer.
    ///
    /// # Errors
    /// It is given and no integer.
    pub fn integer(&self, key: &str, default: i64) -> Result<i64, SettingError> {
        self.read(key, "an integer", python::to_int).map(|number| number.unwrap_or(default))
    }

    /// A switch.
    ///
    /// # Errors
    /// It is given and neither true nor false.
    pub fn flag(&self, key: &str, default: bool) -> Result<bool, SettingError> {
        self.read(key, "True or False", python::to_bool).map(|flag| flag.unwrap_or(default))
    }

    /// Seconds above zero.
    ///
    /// # Errors
    /// It is given and no such number.
    pub fn period(&self, key: &str, default: f64) -> Result<Duration, SettingError> {
        let expected = "seconds above 0";
        let read = |text: &str| {
            let seconds = python::to_float(text).filter(|seconds| *seconds > 0.0)?;
            Duration::try_from_secs_f64(seconds).ok()
        };
        self.read(key, expected, read).map(|period| period.unwrap_or(Duration::from_secs_f64(default)))
    }

    /// Any other reading; `None` when it is not given.
    ///
    /// # Errors
    /// It is given and `read` makes nothing of it.
    pub fn read<T>(
        &self,
        key: &str,
        expected: &'static str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, SettingError> {
        let Some(text) = self.text(key) else { return Ok(None) };
        let wrong = || SettingError::Value { key: key.to_owned(), value: text.to_owned(), expected };
        read(text).map(Some).ok_or_else(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn circuss_own_line_is_read_and_written() {
        let text = "__name__:plugin:rw:::host:127.0.0.1:::loop_rate:0.5:::name:plugin:rw";
        let settings = Settings::parse(text);
        assert_eq!(settings.text("__name__"), Some("plugin:rw"));
        assert_eq!(settings.number("loop_rate", 60.0), Ok(0.5));
        assert_eq!(settings.to_text(), text);
    }

    #[test]
    fn a_setting_without_sense_is_named() {
        let error = Settings::parse("loop_rate:often").number("loop_rate", 1.0).unwrap_err();
        assert_eq!(error.to_string(), "loop_rate = often: expected a number");
    }
}
