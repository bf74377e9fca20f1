//! The JSON envelope of Circus's control protocol (`protocol/src/circus.rs`).

use ringmaster_protocol::circus::{Call, CallError, Errno, error, ok, to_json};
use serde_json::{Map, Value};

/// A call that is read, written as Python would write it and read again is the same; its answers are ASCII and JSON.
pub fn call(input: &[u8]) {
    let call = match Call::parse(input) {
        Ok(call) => call,
        Err(CallError::InvalidJson | CallError::NoCommand) => return,
    };
    let mut fields = Map::new();
    fields.insert("id".into(), call.id.clone());
    fields.insert("command".into(), call.command.clone().into());
    fields.insert("properties".into(), call.properties.clone());
    if call.cast {
        fields.insert("msg_type".into(), "cast".into());
    }
    let text = to_json(&Value::Object(fields));
    assert!(text.is_ascii());
    assert_eq!(Call::parse(&text), Ok(call.clone()));
    let properties = call.properties.as_object().cloned().unwrap_or_default();
    for answer in [ok(&call.id, 0.5, properties), error(&call.id, 0.5, Errno::Message, &call.command, None)] {
        let answer: Value = serde_json::from_slice(&answer).expect("an answer is JSON");
        assert_eq!(answer.get("id"), Some(&call.id));
    }
}
