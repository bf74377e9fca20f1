//! The state file: what the core must find again after any death (docs/adr/0003-state-and-rings.md).
//!
//! ```text
//! 0          header, one page of 8-byte words ([`Header`])
//! page 1 …   chunks of 64 slots of 640 bytes ([`Slot`]); a chunk is allocated and mapped whole, and never moves
//! ```
//! A fact of one word is stored at once. A fact of several words has two copies with a checksum and one selector, and
//! only the copy that is not selected is written. What never changes after a process was made (its name, its note) is not
//! here but at the end of the process file. Nothing here is trusted further than its checksum.

mod convert;
mod facts;
mod file;
mod slot;

pub use facts::{Facts, Phase};
pub use file::{Deaths, Header, StateError, StateFile, UpgradePhase};
pub use slot::{End, Slot, StreamWords};
