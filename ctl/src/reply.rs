//! The daemon's answer, and what becomes of it: a text for stdout, or a refusal for stderr.

use serde_json::{Map, Value};

use crate::python;

/// A reply object (spec c.3).
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    fields: Map<String, Value>,
}

impl Reply {
    /// Wraps a decoded reply object.
    pub fn new(fields: Map<String, Value>) -> Self {
        Self { fields }
    }

    /// One field.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.fields.get(name)
    }

    /// A field that is an object.
    pub fn object(&self, name: &str) -> Option<&Map<String, Value>> {
        self.get(name).and_then(Value::as_object)
    }

    /// A field that is a list.
    pub fn list(&self, name: &str) -> Option<&[Value]> {
        self.get(name).and_then(Value::as_array).map(Vec::as_slice)
    }

    /// The field `status`; empty when it is missing or no string.
    pub fn status(&self) -> &str {
        self.get("status").and_then(Value::as_str).unwrap_or_default()
    }

    /// Whether `status` is `ok`.
    pub fn is_ok(&self) -> bool {
        self.status() == "ok"
    }

    /// The field `reason` as text, `None` (Python's word) when there is none.
    pub fn reason(&self) -> String {
        self.get("reason").map_or_else(|| "None".to_owned(), python::text)
    }

    /// The refusal most commands show: `error: REASON`.
    pub fn refusal(&self) -> Answer {
        Answer::Refused(format!("error: {}", self.reason()))
    }

    /// `text()` when the status is `ok`, otherwise the refusal.
    pub fn when_ok(&self, text: impl FnOnce() -> String) -> Answer {
        if self.is_ok() { Answer::Done(text()) } else { self.refusal() }
    }

    /// The whole reply.
    pub fn into_value(self) -> Value {
        Value::Object(self.fields)
    }
}

/// What a reply means to the person who asked. Texts carry no final newline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// For stdout; exit status 0.
    Done(String),
    /// For stderr; exit status 3.
    Refused(String),
}
