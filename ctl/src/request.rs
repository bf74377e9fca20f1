//! What a person typed after the command word, and the request made of it.
//!
//! Only shapes live here; which argument means what is said by each file in `commands`.

use std::collections::BTreeMap;

use ringmaster_manager::options::Expected;
use ringmaster_protocol::circus::to_json;
use serde_json::{Map, Value, json};
use thiserror::Error;

/// The `properties` object of a request (spec c.2).
pub type Properties = Map<String, Value>;

/// The words and options after the command word.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Arguments {
    words: Vec<String>,
    flags: Vec<&'static str>,
    values: BTreeMap<&'static str, String>,
}

impl Arguments {
    /// Words in the order they were typed; flags and values by option name, without dashes.
    pub fn new(words: Vec<String>, flags: Vec<&'static str>, values: BTreeMap<&'static str, String>) -> Self {
        Self { words, flags, values }
    }

    /// All words.
    pub fn words(&self) -> &[String] {
        &self.words
    }

    /// The word at `position`, counted from 0.
    pub fn word(&self, position: usize) -> Option<&str> {
        self.words.get(position).map(String::as_str)
    }

    /// Whether `--NAME` was given.
    pub fn flag(&self, name: &str) -> bool {
        self.flags.contains(&name)
    }

    /// The value of `--NAME VALUE`.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }
}

/// Why a command line that parses makes no request. The text is what stderr shows; the exit status is 1.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ArgumentError {
    /// Too few or too many words; the wording is the command's own (Circus has five of them).
    #[error("{wording}")]
    Count {
        /// Circus's text for this command.
        wording: &'static str,
    },
    /// A word or option value that has to be a whole number is not.
    #[error("{what}: expected an integer, got '{given}'")]
    NotAnInteger {
        /// Name of the argument in the usage line.
        what: &'static str,
        /// What was typed.
        given: String,
    },
    /// An option value that has to be a number of seconds is not.
    #[error("{what}: expected a number of seconds, got '{given}'")]
    NotSeconds {
        /// Name of the option.
        what: &'static str,
        /// What was typed.
        given: String,
    },
    /// A stream that is none.
    #[error("expected stdout or stderr, got '{given}'")]
    NotAStream {
        /// What was typed.
        given: String,
    },
    /// Neither a number nor a time nor an age.
    #[error(
        "since: expected the number of an event, a time in seconds since 1970, or an age such as 90s, 10m, 2h, 1d, got '{given}'"
    )]
    NotSince {
        /// What was typed.
        given: String,
    },
    /// A key that `set` does not take. The wording is Circus's.
    #[error("unknown key '{key}'")]
    UnknownKey {
        /// The key in lower case.
        key: String,
    },
    /// A value that is not of its option's type.
    #[error("{key}: {expected}, got '{given}'")]
    Value {
        /// The option.
        key: String,
        /// What the options table says about it.
        expected: Expected,
        /// What was typed.
        given: String,
    },
    /// Part of a list of pairs that is no pair.
    #[error("{key}: expected {expected}, got '{given}'")]
    NotPairs {
        /// The option.
        key: String,
        /// The form of the list.
        expected: &'static str,
        /// The part.
        given: String,
    },
    /// A hook that does not exist.
    #[error("unknown hook '{name}'; expected one of {}", known.join(", "))]
    UnknownHook {
        /// What was typed.
        name: String,
        /// All there are.
        known: &'static [&'static str],
    },
}

impl ArgumentError {
    /// [`ArgumentError::Value`] with its texts copied.
    pub fn value(key: &str, expected: Expected, given: &str) -> Self {
        Self::Value { key: key.to_owned(), expected, given: given.to_owned() }
    }
}

/// Reads a whole number; `what` names the argument in the error.
///
/// # Errors
/// [`ArgumentError::NotAnInteger`] for anything else.
pub fn integer(what: &'static str, given: &str) -> Result<Value, ArgumentError> {
    match given.trim().parse::<i64>() {
        Ok(number) => Ok(json!(number)),
        Err(_) => Err(ArgumentError::NotAnInteger { what, given: given.to_owned() }),
    }
}

/// Reads a finite number of seconds, zero or more; `what` names the option in the error.
///
/// # Errors
/// [`ArgumentError::NotSeconds`] for anything else.
pub fn seconds(what: &'static str, given: &str) -> Result<Value, ArgumentError> {
    match given.trim().parse::<f64>() {
        Ok(number) if number.is_finite() && number >= 0.0 => Ok(json!(number)),
        Ok(_) | Err(_) => Err(ArgumentError::NotSeconds { what, given: given.to_owned() }),
    }
}

/// One request: a command word and its properties. The id is the client's business.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// The command word as the daemon knows it.
    pub command: &'static str,
    /// The `properties` object.
    pub properties: Properties,
}

impl Request {
    /// The payload frame: a JSON object with `command`, `properties` and `id` (spec c.1, c.2), in the order and spelling of
    /// Circus's client, because errors of errno 5 quote it.
    pub fn encode(&self, id: &str) -> Vec<u8> {
        to_json(&json!({ "command": self.command, "properties": self.properties, "id": id }))
    }
}
