//! The one door for unsafe code: system calls that rustix does not offer in a safe form.
//!
//! Everything here is a thin function with a safe signature; policy lives elsewhere. Nobody outside this folder may
//! write `unsafe` (the workspace denies it; this module alone allows it).
#![allow(unsafe_code, reason = "DESIGN I12: all unsafe of the project lives in this folder")]

mod child;
mod clone;
mod daemon;
mod process;
mod signal;
mod socket;
mod splice;
mod words;

pub use child::{Behalf, CHILD_STEPS, Placement, Plan, ResourceLimit};
pub use clone::{ResultWords, SpawnStack, spawn};
pub use daemon::{Fork, fork};
pub use process::{Ended, exit_of_pidfd, pidfd_exit_info_supported, pidfd_signal, reap, wait_any_peek, wait_peek};
pub use signal::{block_all, default_all, signal_queue, take_signal};
pub use socket::{bind_to_device, unread_bytes};
pub use splice::splice_into;
pub use words::map_words;
