//! Why a connection has to be closed, in the words of the log.

use super::command::CommandError;
use super::connection::Role;
use super::frame::FrameError;
use super::greeting::GreetingError;

/// Why a connection has to be closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CloseReason {
    /// The greeting is refused.
    #[error(transparent)]
    Greeting(#[from] GreetingError),
    /// A frame header is malformed.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A command is malformed.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// Something else than READY where READY has to be.
    #[error("expected a READY command to end the handshake")]
    ExpectedReady,
    /// A second READY.
    #[error("READY command after the handshake")]
    UnexpectedReady,
    /// The peer's socket type does not fit.
    #[error("socket type {peer:?} cannot talk to {ours}", ours = .ours.socket_type())]
    SocketType {
        /// What this side is.
        ours: Role,
        /// What the peer says it is.
        peer: String,
    },
    /// A command that is too long.
    #[error("command of {announced} bytes, at most {limit} are read")]
    CommandTooLong {
        /// Announced length in bytes.
        announced: u64,
        /// The limit in bytes.
        limit: usize,
    },
    /// A message that is too long.
    #[error("message of at least {announced} bytes, at most {limit} are read")]
    MessageTooLong {
        /// Bytes of the message up to and with the refused frame.
        announced: u64,
        /// The limit in bytes.
        limit: usize,
    },
    /// A message of too many frames.
    #[error("message of more than {limit} frames")]
    TooManyParts {
        /// The limit.
        limit: usize,
    },
    /// The peer sent an ERROR command.
    #[error("the peer reports an error: {0:?}")]
    PeerError(String),
}

impl CloseReason {
    /// The peer's own words, made readable.
    pub(super) fn peer_error(reason: &[u8]) -> Self {
        Self::PeerError(String::from_utf8_lossy(reason).into_owned())
    }
}
