//! Reading the properties of a request, with the complaints that Circus has about them (spec c.2, c.6).

use super::Refusal;
use serde_json::{Map, Value};
use std::borrow::Cow;

/// The properties of one request.
pub struct Properties<'a>(Cow<'a, Map<String, Value>>);

impl<'a> Properties<'a> {
    /// An object; a list stands for an empty one. Anything else is what Python chokes on.
    pub fn new(value: &'a Value) -> Result<Self, Refusal> {
        match value {
            Value::Object(map) => Ok(Self(Cow::Borrowed(map))),
            Value::Array(_) => Ok(Self(Cow::Owned(Map::new()))),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                Err(Refusal::Exception(format!("argument of type '{}' is not iterable", python_type(value))))
            }
        }
    }

    /// All of `names` are there.
    pub fn require(&self, names: &[&'static str]) -> Result<(), Refusal> {
        names.iter().find(|name| !self.0.contains_key(**name)).map_or(Ok(()), |name| Err(Refusal::Missing(name)))
    }

    /// A property, when it is there.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key)
    }

    /// `name`; something else than text is what Python cannot put into lower case.
    pub fn name(&self) -> Result<Option<&str>, Refusal> {
        match self.get("name") {
            None => Ok(None),
            Some(Value::String(name)) => Ok(Some(name)),
            Some(other) => Err(Refusal::Exception(format!("'{}' object has no attribute 'lower'", python_type(other)))),
        }
    }

    /// Python's idea of truth.
    pub fn truth(&self, key: &str) -> Option<bool> {
        self.get(key).map(|value| match value {
            Value::Null => false,
            Value::Bool(truth) => *truth,
            Value::Number(number) => number.as_f64() != Some(0.0),
            Value::String(text) => !text.is_empty(),
            Value::Array(list) => !list.is_empty(),
            Value::Object(map) => !map.is_empty(),
        })
    }

    /// Whether the client waits for the end.
    pub fn waiting(&self) -> bool {
        self.truth("waiting").unwrap_or(false)
    }

    /// A whole number, also as text. `None`: absent or null.
    pub fn integer(&self, key: &'static str) -> Result<Option<i64>, Refusal> {
        let wrong = Refusal::Invalid { property: key, expected: "an integer" };
        match self.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Number(number)) => number.as_i64().map(Some).ok_or(wrong),
            Some(Value::String(text)) => text.trim().parse().map(Some).or(Err(wrong)),
            Some(Value::Bool(_) | Value::Array(_) | Value::Object(_)) => Err(wrong),
        }
    }

    /// A number of seconds, also as text, not negative. `None`: absent or null.
    pub fn seconds(&self, key: &'static str) -> Result<Option<f64>, Refusal> {
        let wrong = Refusal::Invalid { property: key, expected: "a number" };
        let number = match self.get(key) {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::Number(number)) => number.as_f64(),
            Some(Value::String(text)) => text.trim().parse().ok(),
            Some(Value::Bool(_) | Value::Array(_) | Value::Object(_)) => None,
        };
        number.filter(|number| number.is_finite() && *number >= 0.0).map(Some).ok_or(wrong)
    }
}

/// What Python calls the type of a JSON value.
pub fn python_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "NoneType",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float",
        Value::Number(_) => "int",
        Value::String(_) => "str",
        Value::Array(_) => "list",
        Value::Object(_) => "dict",
    }
}
