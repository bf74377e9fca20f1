//! papa: the persistent process kernel.
//!
//! It owns child processes, their captured output, listening sockets and a few named values, and answers its clients
//! over a Unix socket. What it does *not* do: read configuration, restart anything, write or rotate log files, look up user
//! names, expand variables, keep time tables, or decide who should run. All of that is the manager's.
//!
//! * [`core`]: what a request, a byte or a death means. Pure: closed [`core::Input`] in, [`core::Effect`]s out, the
//!   time given with each input.
//! * [`keeper`]: the half that owns the children and starts the other one anew.
//! * [`say`], [`print`](mod@print): what is told to people, by a core that serves and by one that was asked.
//! * [`shell`]: the loop that waits, reads, writes and spawns.
//! * [`state`]: the file in which everything is found again after any death.
//! * [`sys`]: the only unsafe code.

pub mod core;
pub mod daemon;
pub mod instance;
pub mod keeper;
pub mod limits;
pub mod policy;
pub mod print;
pub mod say;
pub mod shell;
pub mod state;
pub mod status;
pub mod sys;
