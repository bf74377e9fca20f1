//! The manager's side of the core's binary protocol: finding or starting the core, and talking to it.
//!
//! * [`reach`] finds the core of an instance, starts it when it is not there, and gives a [`KernelLink`];
//! * [`KernelLink`] puts requests on the wire in the order in which they are submitted and pairs the answers;
//! * [`KernelEvent`]s are what the core tells unasked, and the end of the connection.
//!
//! What is not here: any decision about processes, reconnecting (the owner of the link decides when), and output
//! itself, which never passes through the connection (see `streams`).

mod calls;
mod connection;
mod driver;
mod error;
mod notices;
mod start;
mod wire;

#[cfg(test)]
pub(crate) mod fake_core;

pub use calls::{Answer, Call, OpenedProcess, OpenedSocket};
pub use connection::{CALL_TIMEOUT, KernelEvent, KernelLink, PendingReply, establish};
pub use error::{LinkError, LossReason, ReachError};
pub use start::{CoreAddress, Reached, look, reach};
