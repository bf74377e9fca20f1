//! Frames of the kernel's binary protocol: a frozen 11-byte header and a body.
//!
//! ```text
//! preface (client, once)   00 'R' 'M' 01            tells the binary protocol from Papa's text, which never starts with NUL
//! header                   u32 length of the body | u8 kind | u16 message type | u32 request id     (little endian)
//! body                     bincode 2, standard configuration, exactly `length` bytes
//! ```
//! A client that is slow to send its preface may find Papa's greeting, [`GREETING`], in front of the first frame; its reader skips
//! it. No frame begins so, because that would be a length above the limit.
//!
//! The reader holds at most one frame's bytes and checks the length before it reserves anything.

use crate::limits::MAX_BODY;

/// The first bytes of a binary connection, sent once by the client.
pub const PREFACE: [u8; 4] = [0, b'R', b'M', 1];

/// What the core says to a client that has said nothing for a moment.
pub const GREETING: &[u8] = b"Papa is home. Type \"help\" for commands.\n> ";

/// Bytes of a header.
pub const HEADER: usize = 11;

/// What a frame is. The number is frozen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Client to core; the request id comes back with the one answer.
    Request,
    /// Core to client: the answer of a request.
    Reply,
    /// Core to client: the request is refused; the body is a [`crate::message::Refusal`].
    Refusal,
    /// Core to client without a request; the id is 0.
    Notice,
    /// Client to core; never answered, the id is 0.
    Cast,
}

impl Kind {
    /// The wire number.
    pub fn number(self) -> u8 {
        match self {
            Self::Request => 1,
            Self::Reply => 2,
            Self::Refusal => 3,
            Self::Notice => 4,
            Self::Cast => 5,
        }
    }

    /// From the wire number.
    pub fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Request),
            2 => Some(Self::Reply),
            3 => Some(Self::Refusal),
            4 => Some(Self::Notice),
            5 => Some(Self::Cast),
            _ => None,
        }
    }
}

/// One whole frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What it is.
    pub kind: Kind,
    /// The message number, known or not.
    pub message: u16,
    /// Pairs a reply with its request; 0 on notices.
    pub request: u32,
    /// The encoded body.
    pub body: Vec<u8>,
}

/// Why a byte stream is not a sequence of frames. The connection cannot go on after any of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The length exceeds [`MAX_BODY`].
    #[error("a frame announces {length} bytes; at most {MAX_BODY} are allowed")]
    TooLong {
        /// As announced.
        length: u32,
    },
    /// A kind that does not exist.
    #[error("a frame is of the unknown kind {kind}")]
    UnknownKind {
        /// As sent.
        kind: u8,
    },
}

impl Frame {
    /// Appends header and body to `out`. `false`, and nothing is appended, if the body exceeds [`MAX_BODY`].
    pub fn encode(&self, out: &mut Vec<u8>) -> bool {
        let Some(length) = u32::try_from(self.body.len()).ok().filter(|_| self.body.len() <= MAX_BODY) else {
            return false;
        };
        out.reserve(HEADER + self.body.len());
        out.extend_from_slice(&length.to_le_bytes());
        out.push(self.kind.number());
        out.extend_from_slice(&self.message.to_le_bytes());
        out.extend_from_slice(&self.request.to_le_bytes());
        out.extend_from_slice(&self.body);
        true
    }
}

/// Cuts a byte stream into frames.
#[derive(Debug, Default)]
pub struct FrameReader {
    buffer: Vec<u8>,
    /// Bytes of `buffer` that were handed out already.
    consumed: usize,
    /// Something came before: no greeting can come any more.
    begun: bool,
}

impl FrameReader {
    /// An empty reader.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes bytes as they arrive. The caller reads in bounded portions and calls [`Self::next_frame`] until it
    /// gives `None` after each; then at most one incomplete frame is held.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.consumed > 0 {
            self.buffer.drain(..self.consumed);
            self.consumed = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame, or `None` until more bytes come.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        if self.in_greeting() {
            return Ok(None);
        }
        let pending = self.buffer.get(self.consumed..).unwrap_or_default();
        let Some((&[l0, l1, l2, l3, kind, m0, m1, r0, r1, r2, r3], rest)) = pending.split_first_chunk::<HEADER>()
        else {
            return Ok(None);
        };
        let length = u32::from_le_bytes([l0, l1, l2, l3]);
        let size = usize::try_from(length).unwrap_or(usize::MAX);
        if size > MAX_BODY {
            return Err(FrameError::TooLong { length });
        }
        let kind = Kind::from_number(kind).ok_or(FrameError::UnknownKind { kind })?;
        let Some(body) = rest.get(..size) else {
            return Ok(None);
        };
        let frame = Frame {
            kind,
            message: u16::from_le_bytes([m0, m1]),
            request: u32::from_le_bytes([r0, r1, r2, r3]),
            body: body.to_vec(),
        };
        self.begun = true;
        self.consumed += HEADER + size;
        if self.consumed == self.buffer.len() {
            self.buffer.clear();
            self.consumed = 0;
        }
        Ok(Some(frame))
    }

    /// Skips a greeting in front of the first frame. `true`: a part of it is still to come.
    fn in_greeting(&mut self) -> bool {
        let pending = self.buffer.get(self.consumed..).unwrap_or_default();
        if self.begun || pending.is_empty() {
            return false;
        }
        if pending.starts_with(GREETING) {
            self.begun = true;
            self.consumed += GREETING.len();
        }
        GREETING.starts_with(pending)
    }

    /// Bytes held for a frame that is not complete yet.
    pub fn pending(&self) -> usize {
        self.buffer.len() - self.consumed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(message: u16, request: u32, body: Vec<u8>) -> Frame {
        Frame { kind: Kind::Request, message, request, body }
    }

    #[test]
    fn header_bytes_are_frozen() {
        let mut out = Vec::new();
        assert!(frame(0x0102, 0x0304_0506, vec![9, 8]).encode(&mut out));
        assert_eq!(out, [2, 0, 0, 0, 1, 2, 1, 6, 5, 4, 3, 9, 8]);
    }

    #[test]
    fn a_giant_length_is_refused_before_anything_is_reserved() {
        let mut reader = FrameReader::new();
        reader.push(&[0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(reader.next_frame(), Err(FrameError::TooLong { length: u32::MAX }));
    }

    #[test]
    fn a_body_over_the_limit_is_not_encoded() {
        let mut out = Vec::new();
        assert!(!frame(1, 1, vec![0; MAX_BODY + 1]).encode(&mut out));
        assert!(out.is_empty());
    }

    #[test]
    fn a_greeting_before_the_first_frame_is_skipped() {
        let mut bytes = GREETING.to_vec();
        assert!(frame(7, 1, vec![1, 2]).encode(&mut bytes));
        for cut in 1..bytes.len() {
            let mut reader = FrameReader::new();
            let mut seen = Vec::new();
            for chunk in bytes.chunks(cut) {
                reader.push(chunk);
                seen.extend(std::iter::from_fn(|| reader.next_frame().unwrap()));
            }
            assert_eq!((seen.len(), reader.pending()), (1, 0), "in pieces of {cut}");
        }
        let mut reader = FrameReader::new();
        reader.push(&bytes[GREETING.len()..]);
        assert!(reader.next_frame().unwrap().is_some());
        reader.push(GREETING);
        assert!(reader.next_frame().is_err(), "only before the first frame");
    }

    proptest! {
        #[test]
        fn any_chunking_gives_the_same_frames(
            bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8),
            cut in 1usize..17,
        ) {
            let frames: Vec<Frame> = bodies.into_iter().zip(1..).map(|(body, n)| frame(n, n.into(), body)).collect();
            let mut bytes = Vec::new();
            for frame in &frames {
                prop_assert!(frame.encode(&mut bytes));
            }
            let mut reader = FrameReader::new();
            let mut seen = Vec::new();
            for chunk in bytes.chunks(cut) {
                reader.push(chunk);
                while let Some(frame) = reader.next_frame().unwrap() {
                    seen.push(frame);
                }
            }
            prop_assert_eq!(seen, frames);
            prop_assert_eq!(reader.pending(), 0);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut reader = FrameReader::new();
            reader.push(&bytes);
            while let Ok(Some(_)) = reader.next_frame() {}
        }
    }
}
