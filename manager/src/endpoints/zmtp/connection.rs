//! One connection as a state machine: Greeting → Handshake → Ready → Closed.
//!
//! The caller appends received bytes to [`Connection::input`] and takes actions with [`Connection::next_action`] until
//! there is none. Taking is the caller's choice, so back-pressure is simply not taking. What comes out depends on the
//! bytes only, never on how they were cut into reads.
//!
//! Every length is checked before a byte of the body is waited for, and nothing is ever allocated for bytes that have
//! not arrived.

use bytes::{Buf, Bytes, BytesMut};

use super::close_reason::CloseReason;
use super::command::{self, Command};
use super::frame::{Continuation, FrameHeader, FrameKind};
use super::greeting::{self, GREETING_LEN, Mechanism, Revision};
use crate::endpoints::limits::MessageLimits;

/// A body above this is given memory of its own once complete.
const LARGE_BODY: usize = 16 * 1024;

/// Which socket type this side plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Requests and replies.
    Router,
    /// Events to subscribers.
    Publisher,
}

impl Role {
    /// The name in READY.
    #[must_use]
    pub const fn socket_type(self) -> &'static str {
        match self {
            Self::Router => "ROUTER",
            Self::Publisher => "PUB",
        }
    }

    /// Whether a peer of this type can talk to us (RFC 28 and 29; libzmq has the same table).
    fn accepts(self, peer: &[u8]) -> bool {
        match self {
            Self::Router => matches!(peer, b"DEALER" | b"REQ" | b"ROUTER"),
            Self::Publisher => matches!(peer, b"SUB" | b"XSUB"),
        }
    }
}

/// A whole message: one frame, or more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The first frame.
    pub first: Bytes,
    /// Further frames, in order; nothing is allocated when there are none.
    pub rest: Vec<Bytes>,
}

/// What the caller has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send these bytes.
    Send(Bytes),
    /// The handshake is over; messages may flow. Both revisions are served alike: subscriptions are understood in
    /// either form from either peer, as libzmq does.
    Ready(Revision),
    /// A message arrived (ROUTER).
    Message(Message),
    /// The peer wants topics with this prefix (PUB).
    Subscribe(Bytes),
    /// The peer takes one subscription back (PUB).
    Cancel(Bytes),
    /// Close the connection. It is the last action.
    Close(CloseReason),
}

#[derive(Debug)]
enum State {
    /// Nothing sent yet.
    Opening,
    Greeting,
    Handshake {
        revision: Revision,
    },
    /// `parts` are the frames so far of a message that is not complete, `part_bytes` their bytes.
    Ready {
        parts: Vec<Bytes>,
        part_bytes: usize,
    },
    Closed,
}

/// The state of one connection.
#[derive(Debug)]
pub struct Connection {
    role: Role,
    limits: MessageLimits,
    input: BytesMut,
    state: State,
    /// The close that follows an ERROR command still to be sent.
    closing: Option<CloseReason>,
}

/// A frame that is complete and within the limits.
enum Frame {
    Command(BytesMut),
    Part(BytesMut, Continuation),
}

impl Connection {
    /// A connection that was just accepted. Its first action is to send our greeting.
    #[must_use]
    pub fn new(role: Role, limits: MessageLimits) -> Self {
        Self { role, limits, input: BytesMut::new(), state: State::Opening, closing: None }
    }

    /// Where received bytes are appended. Nothing else may be done with it.
    pub fn input(&mut self) -> &mut BytesMut {
        &mut self.input
    }

    /// Bytes held for things that are not complete yet.
    #[must_use]
    pub fn buffered(&self) -> usize {
        let parts = match &self.state {
            State::Ready { part_bytes, .. } => *part_bytes,
            State::Opening | State::Greeting | State::Handshake { .. } | State::Closed => 0,
        };
        self.input.len().saturating_add(parts)
    }

    /// Bytes still missing to the end of the frame being received, 0 when that is unknown. A hint for the size of the
    /// next read; the limits have been checked when it is not 0.
    #[must_use]
    pub fn missing(&self) -> usize {
        let State::Ready { .. } = self.state else { return 0 };
        let Ok(Some(header)) = FrameHeader::decode(&self.input) else {
            return 0;
        };
        let body = usize::try_from(header.body_len).unwrap_or(0);
        body.saturating_add(header.header_len).saturating_sub(self.input.len())
    }

    /// The next thing to do, `None` when more input is needed or the connection is closed.
    pub fn next_action(&mut self) -> Option<Action> {
        if let Some(reason) = self.closing.take() {
            return Some(self.close(reason));
        }
        loop {
            let step = match self.state {
                State::Opening => Ok(Some(self.open())),
                State::Greeting => self.greet(),
                State::Handshake { revision } => self.shake_hands(revision),
                State::Ready { .. } => match self.serve() {
                    Ok(Served::Nothing) => continue,
                    Ok(Served::Starved) => Ok(None),
                    Ok(Served::Action(action)) => Ok(Some(action)),
                    Err(reason) => Err(reason),
                },
                State::Closed => Ok(None),
            };
            return step.unwrap_or_else(|reason| Some(self.close(reason)));
        }
    }

    fn close(&mut self, reason: CloseReason) -> Action {
        self.state = State::Closed;
        self.input = BytesMut::new();
        Action::Close(reason)
    }

    fn open(&mut self) -> Action {
        self.state = State::Greeting;
        Action::Send(Bytes::copy_from_slice(&greeting::encode(Mechanism::Null)))
    }

    fn greet(&mut self) -> Result<Option<Action>, CloseReason> {
        let Some(revision) = greeting::inspect(&self.input)? else {
            return Ok(None);
        };
        self.input.advance(GREETING_LEN);
        self.state = State::Handshake { revision };
        Ok(Some(Action::Send(command::encode_ready(self.role.socket_type()).into())))
    }

    fn shake_hands(&mut self, revision: Revision) -> Result<Option<Action>, CloseReason> {
        let Some(header) = FrameHeader::decode(&self.input)? else {
            return Ok(None);
        };
        match header.kind {
            FrameKind::Command => {}
            FrameKind::Message(_) => return Err(CloseReason::ExpectedReady),
        }
        let Some(Frame::Command(body)) = self.cut_frame(header, 0, 0)? else {
            return Ok(None);
        };
        match Command::decode(&body)? {
            Command::Ready { socket_type } if self.role.accepts(socket_type) => {
                self.state = State::Ready { parts: Vec::new(), part_bytes: 0 };
                Ok(Some(Action::Ready(revision)))
            }
            Command::Ready { socket_type } => {
                let peer = String::from_utf8_lossy(socket_type).into_owned();
                let reason = CloseReason::SocketType { ours: self.role, peer };
                let error = command::encode_error(&reason.to_string());
                self.closing = Some(reason);
                Ok(Some(Action::Send(error.into())))
            }
            Command::Error { reason } => Err(CloseReason::peer_error(reason)),
            Command::Ping { .. } | Command::Pong | Command::Subscribe(_) | Command::Cancel(_) | Command::Unknown => {
                Err(CloseReason::ExpectedReady)
            }
        }
    }

    fn serve(&mut self) -> Result<Served, CloseReason> {
        let State::Ready { ref parts, part_bytes } = self.state else {
            return Ok(Served::Starved);
        };
        let Some(header) = FrameHeader::decode(&self.input)? else {
            return Ok(Served::Starved);
        };
        let count = parts.len();
        match self.cut_frame(header, count, part_bytes)? {
            None => Ok(Served::Starved),
            Some(Frame::Command(body)) => self.obey(&body.freeze()),
            Some(Frame::Part(body, Continuation::Last)) if count == 0 => {
                Ok(self.deliver(Message { first: body.freeze(), rest: Vec::new() }))
            }
            Some(Frame::Part(body, continuation)) => Ok(self.collect(&body, continuation)),
        }
    }

    /// Adds a frame to a message of several. The body is copied, so that many small frames cannot keep many large
    /// read buffers alive.
    fn collect(&mut self, body: &[u8], continuation: Continuation) -> Served {
        let State::Ready { parts, part_bytes } = &mut self.state else {
            return Served::Starved;
        };
        parts.push(Bytes::copy_from_slice(body));
        match continuation {
            Continuation::More => {
                *part_bytes = part_bytes.saturating_add(body.len());
                Served::Nothing
            }
            Continuation::Last => {
                *part_bytes = 0;
                let mut frames = std::mem::take(parts).into_iter();
                let Some(first) = frames.next() else {
                    return Served::Nothing;
                };
                self.deliver(Message { first, rest: frames.collect() })
            }
        }
    }

    fn deliver(&self, message: Message) -> Served {
        match self.role {
            Role::Router => Served::Action(Action::Message(message)),
            Role::Publisher => subscription_message(message),
        }
    }

    fn obey(&self, body: &Bytes) -> Result<Served, CloseReason> {
        let action = match Command::decode(body)? {
            Command::Ping { context } => Action::Send(command::encode_pong(context).into()),
            Command::Subscribe(topic) if self.role == Role::Publisher => Action::Subscribe(body.slice_ref(topic)),
            Command::Cancel(topic) if self.role == Role::Publisher => Action::Cancel(body.slice_ref(topic)),
            Command::Ready { .. } => return Err(CloseReason::UnexpectedReady),
            Command::Error { reason } => return Err(CloseReason::peer_error(reason)),
            Command::Pong | Command::Subscribe(_) | Command::Cancel(_) | Command::Unknown => {
                return Ok(Served::Nothing);
            }
        };
        Ok(Served::Action(action))
    }

    /// Checks a frame against the limits and takes it out of the input when it is complete.
    fn cut_frame(
        &mut self,
        header: FrameHeader,
        parts: usize,
        part_bytes: usize,
    ) -> Result<Option<Frame>, CloseReason> {
        let announced = header.body_len;
        let limit = match header.kind {
            FrameKind::Command => self.limits.command_bytes,
            FrameKind::Message(_) => self.limits.message_bytes.saturating_sub(part_bytes),
        };
        let body_len = usize::try_from(announced).ok().filter(|length| *length <= limit);
        let Some(body_len) = body_len else {
            return Err(self.too_long(header, part_bytes));
        };
        if matches!(header.kind, FrameKind::Message(_)) && parts >= self.limits.parts {
            return Err(CloseReason::TooManyParts { limit: self.limits.parts });
        }
        if self.input.len() - header.header_len < body_len {
            return Ok(None);
        }
        self.input.advance(header.header_len);
        let body = self.input.split_to(body_len);
        if body_len > LARGE_BODY {
            // What follows shares the large body's memory and would keep it for as long as the peer stays.
            self.input = BytesMut::from(self.input.as_ref());
        }
        Ok(Some(match header.kind {
            FrameKind::Command => Frame::Command(body),
            FrameKind::Message(continuation) => Frame::Part(body, continuation),
        }))
    }

    fn too_long(&self, header: FrameHeader, part_bytes: usize) -> CloseReason {
        match header.kind {
            FrameKind::Command => {
                CloseReason::CommandTooLong { announced: header.body_len, limit: self.limits.command_bytes }
            }
            FrameKind::Message(_) => CloseReason::MessageTooLong {
                announced: header.body_len.saturating_add(u64::try_from(part_bytes).unwrap_or(u64::MAX)),
                limit: self.limits.message_bytes,
            },
        }
    }
}

/// What one step in the Ready state came to.
enum Served {
    /// A frame was taken and needs no action.
    Nothing,
    /// More input is needed.
    Starved,
    /// Something to do.
    Action(Action),
}

/// A message to a publisher is a subscription in the form of ZMTP 3.0; anything else is ignored, as libzmq's PUB does.
fn subscription_message(message: Message) -> Served {
    let Message { mut first, rest } = message;
    if !rest.is_empty() || first.is_empty() {
        return Served::Nothing;
    }
    match first.get_u8() {
        0 => Served::Action(Action::Cancel(first)),
        1 => Served::Action(Action::Subscribe(first)),
        _ => Served::Nothing,
    }
}

#[cfg(test)]
mod tests;
