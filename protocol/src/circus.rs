//! The envelope of Circus's control protocol (spec sections c.1 to c.3): JSON in, JSON out, error numbers.
//!
//! What commands mean is not known here.

use serde::Serialize;
use serde_json::{Map, Value};
use std::io;

/// Circus's error numbers (spec c.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Errno {
    /// The payload is not JSON.
    InvalidJson,
    /// There is no such command.
    UnknownCommand,
    /// A property is missing or wrong, or names something that does not exist.
    Message,
    /// The system refused.
    Os,
    /// The command conflicts with another, or failed.
    Command,
    /// The command failed after it had begun, and the client waits for its end.
    BadMessageData,
}

impl Errno {
    /// The number on the wire.
    pub fn number(self) -> u8 {
        match self {
            Self::InvalidJson => 1,
            Self::UnknownCommand => 2,
            Self::Message => 3,
            Self::Os => 4,
            Self::Command => 5,
            Self::BadMessageData => 6,
        }
    }
}

/// A request that could be read.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// Comes back as it is; null when absent.
    pub id: Value,
    /// The command's name as sent; looked up in lower case.
    pub command: String,
    /// Its properties; anything but an object is kept for the command to complain about.
    pub properties: Value,
    /// `msg_type` is `cast`: no answer of any kind.
    pub cast: bool,
}

/// Why a payload is not a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// Answered with [`Errno::InvalidJson`] and a null id.
    #[error("json invalid")]
    InvalidJson,
    /// Not an object with a text `command`: Circus gives no answer (spec n.2), and neither do we.
    #[error("the request is not an object with a command")]
    NoCommand,
}

impl Call {
    /// Reads one payload.
    pub fn parse(payload: &[u8]) -> Result<Self, CallError> {
        let Ok(value) = serde_json::from_slice::<Value>(payload) else {
            let empty = payload.iter().all(u8::is_ascii_whitespace);
            return Err(if empty { CallError::NoCommand } else { CallError::InvalidJson });
        };
        let Value::Object(mut fields) = value else {
            return Err(CallError::NoCommand);
        };
        let Some(Value::String(command)) = fields.remove("command") else {
            return Err(CallError::NoCommand);
        };
        Ok(Self {
            id: fields.remove("id").unwrap_or(Value::Null),
            command,
            properties: fields.remove("properties").unwrap_or_else(|| Value::Object(Map::new())),
            cast: fields.get("msg_type").and_then(Value::as_str) == Some("cast"),
        })
    }
}

/// The successful answer: `status`, `time`, the command's own properties (which may replace `status`), `id`.
/// `time` is in seconds since the Unix epoch.
pub fn ok(id: &Value, time: f64, properties: Map<String, Value>) -> Vec<u8> {
    let mut reply = Map::new();
    reply.insert("status".into(), "ok".into());
    reply.insert("time".into(), time.into());
    reply.extend(properties);
    reply.insert("id".into(), id.clone());
    to_json(&Value::Object(reply))
}

/// The answer to a request that failed.
pub fn error(id: &Value, time: f64, errno: Errno, reason: &str, traceback: Option<&str>) -> Vec<u8> {
    let mut reply = Map::new();
    reply.insert("status".into(), "error".into());
    reply.insert("reason".into(), reason.into());
    reply.insert("tb".into(), traceback.into());
    reply.insert("time".into(), time.into());
    reply.insert("errno".into(), errno.number().into());
    reply.insert("id".into(), id.clone());
    to_json(&Value::Object(reply))
}

/// JSON as Python's `json.dumps` writes it by default: `", "` and `": "`, all but ASCII escaped (spec c.1).
pub fn to_json(value: &Value) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, PythonStyle);
    // A `Value` written to memory has no failing case.
    match value.serialize(&mut serializer) {
        Ok(()) => out,
        Err(_) => b"null".to_vec(),
    }
}

/// Python's default separators and escapes.
struct PythonStyle;

impl serde_json::ser::Formatter for PythonStyle {
    fn begin_array_value<W: ?Sized + io::Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { out.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { out.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        out.write_all(b": ")
    }

    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, out: &mut W, fragment: &str) -> io::Result<()> {
        if fragment.is_ascii() {
            return out.write_all(fragment.as_bytes());
        }
        let mut units = [0; 2];
        for c in fragment.chars() {
            if c.is_ascii() {
                out.write_all(c.encode_utf8(&mut [0; 4]).as_bytes())?;
            } else {
                for unit in c.encode_utf16(&mut units) {
                    write!(out, "\\u{unit:04x}")?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn json_looks_like_pythons() {
        let value = json!({"a": [1, 2.0, "x\u{e9}\u{1f600}\n\""], "b": {}, "c": null, "d": true});
        let text = String::from_utf8(to_json(&value)).unwrap();
        assert_eq!(text, r#"{"a": [1, 2.0, "x\u00e9\ud83d\ude00\n\""], "b": {}, "c": null, "d": true}"#);
    }

    #[test]
    fn a_property_may_replace_the_status() {
        let properties = Map::from_iter([("status".to_owned(), json!("active"))]);
        let text = String::from_utf8(ok(&json!("x"), 1.5, properties)).unwrap();
        assert_eq!(text, r#"{"status": "active", "time": 1.5, "id": "x"}"#);
    }

    #[test]
    fn an_error_carries_the_number() {
        let text = String::from_utf8(error(&Value::Null, 2.0, Errno::Message, "no", None)).unwrap();
        assert_eq!(text, r#"{"status": "error", "reason": "no", "tb": null, "time": 2.0, "errno": 3, "id": null}"#);
    }

    #[test]
    fn requests_are_read_as_circus_reads_them() {
        let call = Call::parse(br#" {"command": "LIST", "id": 3, "msg_type": "cast"} "#).unwrap();
        assert_eq!((call.id, call.command.as_str(), call.cast), (json!(3), "LIST", true));
        assert_eq!(call.properties, json!({}));
        assert_eq!(Call::parse(b"{"), Err(CallError::InvalidJson));
        assert_eq!(Call::parse(b"\xff"), Err(CallError::InvalidJson));
        assert_eq!(Call::parse(b"[]"), Err(CallError::NoCommand));
        assert_eq!(Call::parse(b""), Err(CallError::NoCommand));
        assert_eq!(Call::parse(br#"{"command": 1}"#), Err(CallError::NoCommand));
    }

    #[test]
    fn deep_nesting_is_refused_without_a_crash() {
        let payload = [b"[".repeat(100_000), b"]".repeat(100_000)].concat();
        assert_eq!(Call::parse(&payload), Err(CallError::InvalidJson));
    }
}
