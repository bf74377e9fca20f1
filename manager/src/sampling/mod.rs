//! What the operating system says about a process: the numbers of `stats` and `dstats` (spec c.9).
//!
//! [`Sampler::process`] reads a process and its direct children from `/proc` when it is asked to, each file
//! once, and remembers CPU times so that the next call can say what was used in between. Nothing here runs on
//! a timer, signals anything, or knows watchers; `started` and `wid` are added by whoever knows them.

mod figures;
mod info;
mod proc_dir;
mod proc_text;
mod sampler;
mod users;

pub use figures::{Figures, Look};
pub use info::{ProcessInfo, Usage};
pub use sampler::{SampleError, Sampler};

/// When a process was started, in ticks since the system was; `None`: there is none.
pub fn started(pid: u32) -> Option<u64> {
    proc_text::Stat::parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?).map(|stat| stat.start_ticks)
}
