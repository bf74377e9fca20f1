//! The nemesis: does to a core under load whatever the world does to daemons, and counts what anybody notices.
//!
//! Fifty children write numbered lines, others are started all the time and end with known codes, a client connects all the
//! time to a socket of the core's. Meanwhile the halves of the core are killed, stopped, and replaced by good and by broken
//! programs (`plan.rs`, `world.rs`). A manager that is part of the test (`manager.rs`, `check.rs`) checks every byte and every code.
//! What is done comes from a seed and is written in a journal; `RINGMASTER_SEED` or `RINGMASTER_JOURNAL` do it again.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::wildcard_enum_match_arm,
    missing_docs,
    reason = "a test ends by panicking, and explains itself"
)]

mod broken;
mod check;
mod children;
mod director;
mod logs;
mod manager;
mod plan;
mod shared;
mod tally;
mod world;

use anyhow::Result;
use plan::Dose;

#[test]
fn nobody_notices_what_is_done_to_the_core() -> Result<()> {
    director::run("short", Dose::SHORT)
}

/// `RINGMASTER_PART=N`: N hundredths of it.
#[test]
#[ignore = "the full dose: an hour"]
fn nobody_notices_the_long_dose() -> Result<()> {
    let part = std::env::var("RINGMASTER_PART").ok().and_then(|part| part.parse().ok());
    director::run("long", part.map_or(Dose::LONG, |part| Dose::LONG.part(part)))
}

#[test]
fn no_line_of_a_log_is_lost_whoever_dies() -> Result<()> {
    logs::run(8)
}

#[test]
#[ignore = "the full dose: ten minutes"]
fn no_line_of_a_log_is_lost_in_the_long_dose() -> Result<()> {
    logs::run(200)
}
