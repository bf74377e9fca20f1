//! ZMTP 3.1, the listening side, without any I/O: bytes in, actions out.
//!
//! For the ROUTER and PUB endpoints of circusd, against libzmq and the `zeromq` crate. It knows no socket, task, clock
//! or thread, so every rule can be tested with bytes alone. It is not a client, speaks no older ZMTP than 3.0, and has
//! one security mechanism, NULL; a second one becomes a variant of [`Mechanism`].
//!
//! Facts about the wire come from RFC 23 (ZMTP 3.0) and RFC 37 (ZMTP 3.1).

mod close_reason;
mod command;
mod connection;
mod frame;
mod greeting;
mod subscription;

pub use close_reason::CloseReason;
pub use command::{Command, CommandError};
pub use connection::{Action, Connection, Message, Role};
pub use frame::{Continuation, FrameError, FrameHeader, FrameKind, encode_header};
pub use greeting::{GreetingError, Mechanism, Revision};
pub use subscription::{SubscriptionError, SubscriptionSet};
