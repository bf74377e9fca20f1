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
mod table;
mod words;

pub use child::{Behalf, CHILD_STEPS, OOM_SCORE, Placement, Plan, ResourceLimit};
pub use clone::{Kin, Parent, ResultWords, SpawnStack, spawn};
pub use daemon::{Fork, become_program, fork, fork_sharing_files};
pub use process::{Ended, Holds, exit_of_pidfd, pidfd_holds, pidfd_signal, reap, stopped, wait_any_peek};
pub use signal::{alarm, block_all, default_all, let_alarm_kill, signal_queue, take_signal, wait_signal};
pub use socket::{bind_to_device, unread_bytes};
pub use splice::splice_into;
pub use table::{close_all_on_exec, copy, inherited, inherited_but, keep_across_exec, open_numbers, replace};
pub use words::map_words;
