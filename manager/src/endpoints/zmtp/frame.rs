//! Frame headers (RFC 37, "Framing"): one byte of flags, then the length in one or eight bytes.
//!
//! Only headers: bodies are cut out of the input by the connection, which knows how long a body may be. Nothing is
//! allocated here.

const MORE: u8 = 0b001;
const LONG: u8 = 0b010;
const COMMAND: u8 = 0b100;
const RESERVED: u8 = !(MORE | LONG | COMMAND);
const LONG_HEADER_LEN: usize = 9;

/// Does another frame of the same message follow?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Continuation {
    /// Yes.
    More,
    /// No, the message is complete.
    Last,
}

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameKind {
    /// A command for the connection itself.
    Command,
    /// A part of a message.
    Message(Continuation),
}

/// A frame's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    /// What the body is.
    pub kind: FrameKind,
    /// Length of the body in bytes, as announced. Nobody has checked it yet.
    pub body_len: u64,
    /// Length of this header in bytes: 2 or 9.
    pub header_len: usize,
}

/// Why a header is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The five upper flag bits must be zero.
    #[error("frame with reserved flag bits set: {0:#010b}")]
    ReservedFlags(u8),
    /// A command is always one frame.
    #[error("command frame that announces more frames")]
    CommandWithMore,
}

impl FrameHeader {
    /// Reads a header at the start of `input`; `None` while it is incomplete.
    ///
    /// # Errors
    /// The flags are not those of ZMTP 3.
    pub fn decode(input: &[u8]) -> Result<Option<Self>, FrameError> {
        let Some((&flags, rest)) = input.split_first() else {
            return Ok(None);
        };
        if flags & RESERVED != 0 {
            return Err(FrameError::ReservedFlags(flags));
        }
        let kind = match (flags & COMMAND != 0, flags & MORE != 0) {
            (true, true) => return Err(FrameError::CommandWithMore),
            (true, false) => FrameKind::Command,
            (false, true) => FrameKind::Message(Continuation::More),
            (false, false) => FrameKind::Message(Continuation::Last),
        };
        let lengths = if flags & LONG == 0 {
            rest.first().map(|&length| (u64::from(length), 2))
        } else {
            rest.first_chunk().map(|length| (u64::from_be_bytes(*length), LONG_HEADER_LEN))
        };
        Ok(lengths.map(|(body_len, header_len)| Self { kind, body_len, header_len }))
    }
}

/// Appends the header of a frame with a body of `body_len` bytes, in its shortest form.
pub fn encode_header(kind: FrameKind, body_len: usize, into: &mut Vec<u8>) {
    let flags = match kind {
        FrameKind::Command => COMMAND,
        FrameKind::Message(Continuation::More) => MORE,
        FrameKind::Message(Continuation::Last) => 0,
    };
    if let Ok(short) = u8::try_from(body_len) {
        into.extend_from_slice(&[flags, short]);
    } else {
        let long = u64::try_from(body_len).unwrap_or(u64::MAX);
        into.push(flags | LONG);
        into.extend_from_slice(&long.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn golden_headers() {
        let mut bytes = Vec::new();
        encode_header(FrameKind::Message(Continuation::Last), 255, &mut bytes);
        encode_header(FrameKind::Message(Continuation::More), 256, &mut bytes);
        encode_header(FrameKind::Command, 5, &mut bytes);
        assert_eq!(bytes, b"\x00\xFF\x03\0\0\0\0\0\0\x01\0\x04\x05");
    }

    #[test]
    fn refused_flags() {
        assert_eq!(FrameHeader::decode(b"\x08"), Err(FrameError::ReservedFlags(8)));
        assert_eq!(FrameHeader::decode(b"\x05\x01"), Err(FrameError::CommandWithMore));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(length in prop_oneof![0usize..600, any::<usize>()], kind in 0..3) {
            let kind = [FrameKind::Command, FrameKind::Message(Continuation::More), FrameKind::Message(Continuation::Last)]
                [usize::try_from(kind).unwrap()];
            let mut bytes = Vec::new();
            encode_header(kind, length, &mut bytes);
            for cut in 0..bytes.len() {
                prop_assert_eq!(FrameHeader::decode(&bytes[..cut]), Ok(None));
            }
            let header = FrameHeader::decode(&bytes).unwrap().unwrap();
            prop_assert_eq!(header, FrameHeader { kind, body_len: u64::try_from(length).unwrap(), header_len: bytes.len() });
        }
    }
}
