//! Every way in which a command says no, with Circus's texts and error numbers (spec c.3).

use crate::arbiter::Exclusive;
use crate::options::{NameError, OptionErrno, OptionError};
use ringmaster_protocol::circus::{self, Errno};
use serde_json::Value;

/// Stands where Circus sends a Python traceback; clients only show it.
const TRACEBACK: &str = "refused by circusd; see the reason";

/// Why a command is not carried out. `Display` is the text that clients see.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// No such command.
    #[error("unknown command: '{0}'")]
    UnknownCommand(String),
    /// A required property is missing.
    #[error("message invalid '{0}' is missing")]
    Missing(&'static str),
    /// No such watcher.
    #[error("program {0} not found")]
    NoWatcher(String),
    /// A name that no watcher can have.
    #[error("{0}")]
    Name(NameError),
    /// No such process in the watcher.
    #[error("process {pid} not found in '{watcher}'")]
    NoProcess {
        /// As sent.
        pid: String,
        /// As sent.
        watcher: String,
    },
    /// No such watcher option.
    #[error("'{0}' option not found")]
    NoOption(String),
    /// No such global option.
    #[error("{0} not an existing option")]
    NoGlobalOption(String),
    /// `match` is none of simple, glob, regex.
    #[error("unknown match method {0}")]
    UnknownMatch(String),
    /// `listen` on the control endpoint.
    #[error("invalid message. use a pub/sub socket")]
    UsePubSub,
    /// A property is not what it should be.
    #[error("'{property}' isn't {expected}")]
    Invalid {
        /// Its name.
        property: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// A property is no object.
    #[error("'{0}' property should be an object")]
    NoObject(&'static str),
    /// What `set` or `add` say about an option.
    #[error("{0}")]
    Option(OptionError),
    /// `endpoint_owner` asks for watchers of that user.
    #[error("uid does not match endpoint_owner")]
    NotOwner,
    /// circusd would do this with its own rights.
    #[error("'{0}' cannot be set while there is an endpoint_owner")]
    OwnerMayNot(String),
    /// Too many operations wait for one watcher.
    #[error("too many commands are waiting for this watcher")]
    TooManyWaiting,
    /// Too many clients wait for events.
    #[error("too many clients are waiting for events")]
    TooManyListeners,
    /// circusd is going down.
    #[error("{0}")]
    Conflict(Exclusive),
    /// What Circus reports as an exception: the text is preceded by the request.
    #[error("{0}")]
    Exception(String),
    /// The system's word.
    #[error("[Errno {errno}] {text}")]
    System {
        /// errno(3).
        errno: i32,
        /// Its text.
        text: &'static str,
    },
    /// A command that works in the background failed while the client waits.
    #[error("server error")]
    Background,
}

impl Refusal {
    fn errno(&self) -> Errno {
        match self {
            Self::UnknownCommand(_) => Errno::UnknownCommand,
            Self::Missing(_)
            | Self::NoWatcher(_)
            | Self::Name(_)
            | Self::NoProcess { .. }
            | Self::NoOption(_)
            | Self::NoGlobalOption(_)
            | Self::UnknownMatch(_)
            | Self::UsePubSub
            | Self::NoObject(_)
            | Self::NotOwner
            | Self::OwnerMayNot(_)
            | Self::Invalid { .. } => Errno::Message,
            Self::Option(error) => match error.errno() {
                OptionErrno::Message => Errno::Message,
                OptionErrno::Command => Errno::Command,
            },
            Self::TooManyWaiting | Self::TooManyListeners | Self::Conflict(_) | Self::Exception(_) => Errno::Command,
            Self::System { .. } => Errno::Os,
            Self::Background => Errno::BadMessageData,
        }
    }

    /// The text that Circus would have raised as an exception.
    fn exception(&self) -> Option<String> {
        if let Self::Option(error) = self {
            (error.errno() == OptionErrno::Command).then(|| error.to_string())
        } else if let Self::Exception(text) = self {
            Some(text.clone())
        } else {
            None
        }
    }

    /// The whole reply to the request whose bytes are `raw`.
    pub fn reply(&self, id: &Value, time: f64, raw: &[u8]) -> Vec<u8> {
        if let Some(text) = self.exception() {
            let reason = format!("command {}: {text}", python_bytes(raw));
            return circus::error(id, time, self.errno(), &reason, Some(TRACEBACK));
        }
        circus::error(id, time, self.errno(), &self.to_string(), None)
    }
}

/// Bytes as Python shows them: `b'…'`.
fn python_bytes(bytes: &[u8]) -> String {
    let quote = if bytes.contains(&b'\'') && !bytes.contains(&b'"') { '"' } else { '\'' };
    let mut out = format!("b{quote}");
    for &byte in bytes {
        match byte {
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            b'\'' if quote == '\'' => out.push_str("\\'"),
            0x20..=0x7e => out.push(char::from(byte)),
            _ => out.push_str(&format!("\\x{byte:02x}")),
        }
    }
    out.push(quote);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_look_like_pythons() {
        assert_eq!(python_bytes(b"{\"a\": 1}\n\x00\xff\\"), r#"b'{"a": 1}\n\x00\xff\\'"#);
        assert_eq!(python_bytes(b"it's"), r#"b"it's""#);
        assert_eq!(python_bytes(b"it's \"x\""), r#"b'it\'s "x"'"#);
    }
}
