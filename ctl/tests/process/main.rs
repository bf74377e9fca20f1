//! The built `circusctl` as a process, against circusd, events, a core and an `ssh` that do what the test says.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has to fail"
)]

mod completion;
mod kernel;
mod listen;
mod round_trip;
mod shell;
mod stage;
mod tunnel;
