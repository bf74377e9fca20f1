//! Commands: the body of command frames (RFC 37, "Commands", and the NULL mechanism's READY and ERROR).
//!
//! Decoding borrows from the body and copies nothing. Of READY only the socket type is kept: the peer's identity is
//! private here, because routing by a name the client chooses lets one client take another one's replies.

use super::frame::{FrameKind, encode_header};

/// Longest context a PONG returns (RFC 37).
const PING_CONTEXT_LEN: usize = 16;
const SOCKET_TYPE: &[u8] = b"Socket-Type";
const IDENTITY: &[u8] = b"Identity";

/// A command from a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command<'a> {
    /// End of the NULL handshake.
    Ready {
        /// Value of `Socket-Type`; empty when the peer does not say.
        socket_type: &'a [u8],
    },
    /// Heartbeat. The time to live it carries is not acted on: that would need a timer per connection.
    Ping {
        /// To be returned in the PONG, at most 16 bytes.
        context: &'a [u8],
    },
    /// Answer to a heartbeat; we send none.
    Pong,
    /// Start of a subscription (ZMTP 3.1).
    Subscribe(&'a [u8]),
    /// End of a subscription (ZMTP 3.1).
    Cancel(&'a [u8]),
    /// The peer gives up.
    Error {
        /// Its words.
        reason: &'a [u8],
    },
    /// A well-formed command with another name: to be ignored.
    Unknown,
}

/// Why a command is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// No name, or one that is longer than the body.
    #[error("command without a name")]
    NoName,
    /// A READY whose properties do not fill its body exactly.
    #[error("READY command with malformed properties")]
    Properties,
    /// A PING without its time to live.
    #[error("PING command shorter than its time to live")]
    Ping,
    /// An ERROR without its reason.
    #[error("ERROR command shorter than its reason")]
    Error,
}

impl<'a> Command<'a> {
    /// Reads the body of a command frame.
    ///
    /// # Errors
    /// The body breaks the grammar of its command.
    pub fn decode(body: &'a [u8]) -> Result<Self, CommandError> {
        let (name, data) = short_string(body).ok_or(CommandError::NoName)?;
        match name {
            [] => Err(CommandError::NoName),
            b"READY" => socket_type(data).map(|socket_type| Self::Ready { socket_type }),
            b"PING" => {
                let (_time_to_live, context) = data.split_at_checked(2).ok_or(CommandError::Ping)?;
                let context = context.get(..PING_CONTEXT_LEN).unwrap_or(context);
                Ok(Self::Ping { context })
            }
            b"PONG" => Ok(Self::Pong),
            b"SUBSCRIBE" => Ok(Self::Subscribe(data)),
            b"CANCEL" => Ok(Self::Cancel(data)),
            b"ERROR" => short_string(data).map(|(reason, _)| Self::Error { reason }).ok_or(CommandError::Error),
            _ => Ok(Self::Unknown),
        }
    }
}

/// A READY command frame that names our socket type. A ROUTER also says that it has no identity, as libzmq's does.
#[must_use]
pub fn encode_ready(socket_type: &str) -> Vec<u8> {
    let mut body = named("READY");
    push_property(SOCKET_TYPE, socket_type.as_bytes(), &mut body);
    if socket_type == "ROUTER" {
        push_property(IDENTITY, b"", &mut body);
    }
    framed(&body)
}

/// A PONG command frame with the context of the PING it answers.
#[must_use]
pub fn encode_pong(context: &[u8]) -> Vec<u8> {
    let mut body = named("PONG");
    body.extend_from_slice(context);
    framed(&body)
}

/// An ERROR command frame; a reason beyond 255 bytes is cut off.
#[must_use]
pub fn encode_error(reason: &str) -> Vec<u8> {
    let mut body = named("ERROR");
    let reason = reason.as_bytes();
    let reason = reason.get(..usize::from(u8::MAX)).unwrap_or(reason);
    push_short_string(reason, &mut body);
    framed(&body)
}

fn named(name: &str) -> Vec<u8> {
    let mut body = Vec::with_capacity(64);
    push_short_string(name.as_bytes(), &mut body);
    body
}

/// All callers pass at most 255 bytes.
fn push_short_string(text: &[u8], into: &mut Vec<u8>) {
    into.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
    into.extend_from_slice(text);
}

fn push_property(name: &[u8], value: &[u8], into: &mut Vec<u8>) {
    push_short_string(name, into);
    into.extend_from_slice(&u32::try_from(value.len()).unwrap_or(u32::MAX).to_be_bytes());
    into.extend_from_slice(value);
}

fn framed(body: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(body.len() + 2);
    encode_header(FrameKind::Command, body.len(), &mut frame);
    frame.extend_from_slice(body);
    frame
}

/// One length byte and that many bytes, and what follows.
fn short_string(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&length, rest) = input.split_first()?;
    rest.split_at_checked(usize::from(length))
}

/// Walks through the properties of a READY command; their names do not distinguish case.
fn socket_type(mut properties: &[u8]) -> Result<&[u8], CommandError> {
    let mut found: &[u8] = b"";
    while !properties.is_empty() {
        let (name, value, rest) = property(properties).ok_or(CommandError::Properties)?;
        if name.eq_ignore_ascii_case(SOCKET_TYPE) {
            found = value;
        }
        properties = rest;
    }
    Ok(found)
}

fn property(input: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (name, rest) = short_string(input)?;
    let (length, rest) = rest.split_first_chunk()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let (value, rest) = rest.split_at_checked(length)?;
    Some((name, value, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_commands() {
        assert_eq!(encode_ready("ROUTER"), b"\x04\x29\x05READY\x0bSocket-Type\0\0\0\x06ROUTER\x08Identity\0\0\0\0");
        assert_eq!(encode_ready("PUB"), b"\x04\x19\x05READY\x0bSocket-Type\0\0\0\x03PUB");
        assert_eq!(encode_pong(b"abc"), b"\x04\x08\x04PONGabc");
        assert_eq!(encode_error("no"), b"\x04\x09\x05ERROR\x02no");
    }

    #[test]
    fn ready_keeps_the_socket_type_in_any_case_and_order() {
        let body = b"\x05READY\x08Identity\0\0\0\x02me\x0bsocket-TYPE\0\0\0\x06DEALER";
        assert_eq!(Command::decode(body), Ok(Command::Ready { socket_type: b"DEALER" }));
        assert_eq!(Command::decode(b"\x05READY"), Ok(Command::Ready { socket_type: b"" }));
    }

    #[test]
    fn a_long_ping_context_is_cut_to_sixteen_bytes() {
        let body = b"\x04PING\0\x140123456789abcdefXYZ";
        assert_eq!(Command::decode(body), Ok(Command::Ping { context: b"0123456789abcdef" }));
    }

    #[test]
    fn malformed_commands() {
        let cases: [(&[u8], CommandError); 7] = [
            (b"", CommandError::NoName),
            (b"\0", CommandError::NoName),
            (b"\x09READY", CommandError::NoName),
            (b"\x05READY\x0bSocket-Type\xff\xff\xff\xffPUB", CommandError::Properties),
            (b"\x05READY\x0bSocket", CommandError::Properties),
            (b"\x04PING\0", CommandError::Ping),
            (b"\x05ERROR\x09x", CommandError::Error),
        ];
        for (body, error) in cases {
            assert_eq!(Command::decode(body), Err(error), "{body:?}");
        }
    }

    #[test]
    fn unknown_names_are_no_error() {
        assert_eq!(Command::decode(b"\x05HELLO..."), Ok(Command::Unknown));
    }
}
