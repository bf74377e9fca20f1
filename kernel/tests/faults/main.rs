//! Faults at every system call: the core is killed before and after each call of what it does, and each call is made to fail
//! (docs/TESTING.md). x86-64 only, because registers are read and written.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::wildcard_enum_match_arm,
    clippy::too_many_lines,
    reason = "a test ends by panicking"
)]

#[cfg(target_arch = "x86_64")]
mod dose;
#[cfg(target_arch = "x86_64")]
#[path = "../rig/mod.rs"]
mod rig;
#[cfg(target_arch = "x86_64")]
mod scenarios;
#[cfg(target_arch = "x86_64")]
mod stage;
#[cfg(target_arch = "x86_64")]
mod tracer;

#[cfg(not(target_arch = "x86_64"))]
#[test]
fn faults_are_injected_on_x86_64_only() {
    eprintln!("skipped: the registers of this architecture are unknown to the tracer");
}
