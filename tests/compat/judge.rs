//! Comparing two JSON values by the rules of the transcripts: values that differ from run to run by their type, all
//! others exactly.

use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Keys whose values are compared by type (`tests/data/golden/circus/README.md`, "Volatile").
const VOLATILE: &[&str] = &[
    "pid",
    "process_pid",
    "time",
    "started",
    "create_time",
    "age",
    "cpu",
    "mem",
    "mem_info1",
    "mem_info2",
    "ctime",
    "fd",
    "port",
    "username",
];

/// Keys of lists of process numbers: compared by length and type.
const PID_LISTS: &[&str] = &["pids", "started", "stopped", "kept"];

/// Compares; every difference is one line with its path. `accept` names other right values by path.
pub fn differences(golden: &Value, observed: &Value, accept: &BTreeMap<String, Vec<Value>>) -> Vec<String> {
    let mut found = Vec::new();
    Comparison { accept, found: &mut found }.value("", "", golden, observed);
    found
}

struct Comparison<'a> {
    accept: &'a BTreeMap<String, Vec<Value>>,
    found: &'a mut Vec<String>,
}

impl Comparison<'_> {
    fn value(&mut self, path: &str, key: &str, golden: &Value, observed: &Value) {
        if self.accept.get(path).is_some_and(|others| others.contains(observed)) {
            return;
        }
        if type_name(golden) != type_name(observed) {
            self.complain(path, golden, observed);
            return;
        }
        match (golden, observed) {
            (Value::Object(golden), Value::Object(observed)) if is_by_pid(golden) || is_by_pid(observed) => {
                self.lists(path, &golden.values().collect::<Vec<_>>(), &observed.values().collect::<Vec<_>>());
            }
            (Value::Object(golden), Value::Object(observed)) => {
                let copied = |object: &Map<String, Value>| object.get("copy_env") == Some(&Value::Bool(true));
                for (key, value) in golden {
                    match observed.get(key) {
                        // The environment of whoever started circusd.
                        Some(Value::Object(_))
                            if key == "env" && value.is_object() && copied(golden) && copied(observed) => {}
                        Some(other) => self.value(&join(path, key), key, value, other),
                        None => self.found.push(format!("{} is missing", join(path, key))),
                    }
                }
                let extra = observed.keys().filter(|key| !golden.contains_key(*key));
                self.found.extend(extra.map(|key| format!("{} is too much", join(path, key))));
            }
            (Value::Array(golden), Value::Array(observed)) if PID_LISTS.contains(&key) => {
                self.lists(path, &golden.iter().collect::<Vec<_>>(), &observed.iter().collect::<Vec<_>>());
            }
            (Value::Array(golden), Value::Array(observed)) => {
                if golden.len() != observed.len() {
                    self.complain(path, &golden.clone().into(), &observed.clone().into());
                    return;
                }
                for (at, (one, other)) in golden.iter().zip(observed).enumerate() {
                    self.value(&format!("{path}[{at}]"), "", one, other);
                }
            }
            _ if VOLATILE.contains(&key) || key == "tb" => {}
            _ if golden != observed => self.complain(path, golden, observed),
            _ => {}
        }
    }

    /// Lists whose members are volatile numbers or infos of processes.
    fn lists(&mut self, path: &str, golden: &[&Value], observed: &[&Value]) {
        if golden.len() != observed.len() {
            self.found.push(format!("{path} has {} entries, not {}", observed.len(), golden.len()));
            return;
        }
        for (one, other) in golden.iter().zip(observed) {
            self.value(path, "pid", one, other);
        }
    }

    fn complain(&mut self, path: &str, golden: &Value, observed: &Value) {
        self.found.push(format!("{path} is {observed}, not {golden}"));
    }
}

/// An object whose keys are process numbers.
fn is_by_pid(object: &Map<String, Value>) -> bool {
    !object.is_empty() && object.keys().all(|key| key.bytes().all(|byte| byte.is_ascii_digit()))
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// The JSON type, with whole and broken numbers apart: Python clients see `int` and `float`.
fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float",
        Value::Number(_) => "int",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn compare(golden: Value, observed: Value) -> Vec<String> {
        differences(&golden, &observed, &BTreeMap::new())
    }

    #[test]
    fn volatile_values_are_compared_by_type() {
        assert!(compare(json!({"pid": 1, "time": 1.5}), json!({"pid": 2, "time": 2.5})).is_empty());
        assert_eq!(compare(json!({"time": 1.5}), json!({"time": 2})), ["time is 2, not 1.5"]);
        assert_eq!(compare(json!({"a": 2.0}), json!({"a": 2})), ["a is 2, not 2.0"]);
    }

    #[test]
    fn keys_and_other_values_are_compared_exactly() {
        assert_eq!(compare(json!({"a": 1, "b": 1}), json!({"a": 2, "c": 1})).len(), 3);
        assert_eq!(compare(json!({"l": ["a", "b"]}), json!({"l": ["b", "a"]})).len(), 2);
        assert!(compare(json!({"a": 1, "b": 1}), json!({"b": 1, "a": 1})).is_empty());
    }

    #[test]
    fn infos_by_pid_are_compared_in_order_and_number() {
        let golden = json!({"info": {"10": {"wid": 1}, "11": {"wid": 2}}});
        assert!(compare(golden.clone(), json!({"info": {"7": {"wid": 1}, "8": {"wid": 2}}})).is_empty());
        assert_eq!(compare(golden.clone(), json!({"info": {"7": {"wid": 1}}})).len(), 1);
        assert_eq!(compare(golden, json!({"info": {"7": {"wid": 2}, "8": {"wid": 2}}})).len(), 1);
    }

    #[test]
    fn a_copied_environment_is_anybodys_and_a_given_one_is_not() {
        let options = |copied: bool, value: &str| json!({"copy_env": copied, "env": {"A": value}});
        assert!(compare(options(true, "1"), options(true, "2")).is_empty());
        assert_eq!(compare(options(false, "1"), options(false, "2")).len(), 1);
        assert_eq!(compare(options(true, "1"), json!({"copy_env": true, "env": null})).len(), 1);
    }

    #[test]
    fn an_accepted_value_is_right_too() {
        let accept = BTreeMap::from([("s.a".to_owned(), vec![json!("x")])]);
        assert!(differences(&json!({"s": {"a": "y"}}), &json!({"s": {"a": "x"}}), &accept).is_empty());
        assert_eq!(differences(&json!({"s": {"a": "y"}}), &json!({"s": {"a": "z"}}), &accept).len(), 1);
    }
}
