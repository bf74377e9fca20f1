//! Every message between a client and the core: three closed enums with frozen numbers.
//!
//! A body is bincode 2 in its standard configuration. Structs never change once released. What a later build wants to
//! add goes into `ext`, a list of `(tag, bytes)` at the end of each message: an odd tag that is not known is ignored,
//! an even one is refused. No type here is recursive and none is zero sized, because bincode would let a
//! hostile body exhaust the stack or the processor with those (docs/PROTOCOL.md, "Bodies").

mod process;
mod refusal;
mod session;
mod socket;
mod value;

pub use process::{
    Ack, Exit, ExitStatus, Exited, FORGET_AT_END, Forget, Keeping, Lifetime, List, Listing, OpenProcess, Output,
    Overflow, ProcessFile, ProcessId, ProcessInfo, RLIMITS, Rlimit, Rusage, SetLifetime, Signal, Signalled, Spawn,
    Spawned, Stdin, Stdout, StopPlan, StreamEnd, StreamState, Target,
};
pub use refusal::{Refusal, SpawnStep};
pub use session::{
    DEATHS, Done, ExitIfIdle, Exiting, Guarantee, Hello, LAST_UPGRADE, LeaseInfo, LeaseLost, Leased, PutLease, Role,
    SAFE_MODE, Status, StatusReply, TakeLease, Upgrade, Upgrading, Watch, Welcome,
};
pub use socket::{
    Listen, Listening, OpenSocket, RemoveSocket, SocketAddress, SocketInfo, SocketList, SocketType, Sockets,
};
pub use value::{GetValue, ListValues, RemoveValue, SetValue, Value, ValueNames};

use crate::frame::{Frame, Kind};
use crate::limits::MAX_BODY;

/// The version of the message set that this build speaks.
pub const PROTOCOL: u16 = 1;

/// What a later build adds to a message: tag and bytes.
pub type Ext = Vec<(u16, Vec<u8>)>;

/// Why a body is not the message that its number announces.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The number is not known to this build; the connection goes on.
    #[error("message {number} is not known to this build")]
    Unknown {
        /// As sent.
        number: u16,
    },
    /// The bytes do not decode, or some are left over.
    #[error("the body of message {number} cannot be read: {reason}")]
    Body {
        /// As sent.
        number: u16,
        /// The decoder's words.
        reason: String,
    },
}

fn encode_body<T: serde::Serialize>(message: &T) -> Vec<u8> {
    // Encoding plain structs into a vector has no failing case; an empty body would be refused by the other side.
    bincode::serde::encode_to_vec(message, bincode::config::standard()).unwrap_or_default()
}

fn decode_body<T: serde::de::DeserializeOwned>(number: u16, body: &[u8]) -> Result<T, DecodeError> {
    let config = bincode::config::standard().with_limit::<MAX_BODY>();
    match bincode::serde::decode_from_slice::<T, _>(body, config) {
        Ok((message, used)) if used == body.len() => Ok(message),
        Ok((_, used)) => {
            Err(DecodeError::Body { number, reason: format!("{} bytes are left over", body.len() - used) })
        }
        Err(error) => Err(DecodeError::Body { number, reason: error.to_string() }),
    }
}

/// One row a message: number and struct of the same name.
macro_rules! messages {
    ($(#[$doc:meta])* $enum:ident: $($number:literal $name:ident,)+) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq)]
        pub enum $enum {
            $(#[doc = concat!("Number ", $number, ".")] $name($name),)+
        }

        impl $enum {
            /// Numbers and names of all messages of this direction.
            pub const TABLE: &'static [(u16, &'static str)] = &[$(($number, stringify!($name)),)+];

            /// The frozen number.
            pub fn number(&self) -> u16 {
                match self { $(Self::$name(_) => $number,)+ }
            }

            /// The encoded body.
            pub fn body(&self) -> Vec<u8> {
                match self { $(Self::$name(message) => encode_body(message),)+ }
            }

            /// Reads the body of message `number`.
            pub fn decode(number: u16, body: &[u8]) -> Result<Self, DecodeError> {
                match number {
                    $($number => decode_body(number, body).map(Self::$name),)+
                    _ => Err(DecodeError::Unknown { number }),
                }
            }
        }

        $(impl From<$name> for $enum {
            fn from(message: $name) -> Self {
                Self::$name(message)
            }
        })+
    };
}

messages! {
    /// Client to core. Frozen numbers.
    Request:
    1 Hello,
    2 Status,
    3 Spawn,
    4 Signal,
    5 List,
    6 Watch,
    7 Ack,
    8 Forget,
    9 TakeLease,
    10 PutLease,
    11 Listen,
    12 OpenSocket,
    13 Sockets,
    14 RemoveSocket,
    15 SetValue,
    16 GetValue,
    17 ListValues,
    18 RemoveValue,
    19 OpenProcess,
    20 Upgrade,
    21 ExitIfIdle,
    22 SetLifetime,
}

messages! {
    /// Core to client, one for each request.
    Reply:
    1 Welcome,
    2 StatusReply,
    3 Spawned,
    4 Signalled,
    5 Listing,
    6 Done,
    9 Leased,
    11 Listening,
    13 SocketList,
    16 Value,
    17 ValueNames,
    19 ProcessFile,
    20 Upgrading,
    21 Exiting,
}

messages! {
    /// Core to client, unasked, after `Watch`. Each tells a present state, not a difference, so the core keeps one mark
    /// for each instead of a queue.
    Notice:
    1 Output,
    2 Exited,
    3 StreamEnd,
    4 LeaseLost,
}

impl Request {
    /// The frame of a request that wants an answer.
    pub fn frame(&self, request: u32) -> Frame {
        Frame { kind: Kind::Request, message: self.number(), request, body: self.body() }
    }

    /// The frame of a request that wants none.
    pub fn cast(&self) -> Frame {
        Frame { kind: Kind::Cast, message: self.number(), request: 0, body: self.body() }
    }
}

impl Reply {
    /// The frame of the answer to `request`.
    pub fn frame(&self, request: u32) -> Frame {
        Frame { kind: Kind::Reply, message: self.number(), request, body: self.body() }
    }
}

impl Notice {
    /// The frame of a notice.
    pub fn frame(&self) -> Frame {
        Frame { kind: Kind::Notice, message: self.number(), request: 0, body: self.body() }
    }
}

impl Refusal {
    /// The frame that refuses `request`, which was message `message`.
    pub fn frame(&self, message: u16, request: u32) -> Frame {
        Frame { kind: Kind::Refusal, message, request, body: encode_body(self) }
    }

    /// Reads the body of a [`Kind::Refusal`] frame.
    pub fn decode(message: u16, body: &[u8]) -> Result<Self, DecodeError> {
        decode_body(message, body)
    }
}
