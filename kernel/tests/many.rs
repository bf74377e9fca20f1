//! Numbers: many processes, many requests at once, and what they cost.
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

mod rig;

use rig::{Rig, shell};
use ringmaster_protocol::message::*;
use std::collections::HashSet;
use std::io::Write;
use std::time::Instant;

fn kib(pid: i32, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn requests_that_were_put_off_are_taken_up_again() {
    const COUNT: u32 = 3000;
    let rig = Rig::new();
    let mut client = rig.client();
    let mut bytes = Vec::new();
    for n in 0..COUNT {
        Request::from(Status::default()).frame(1000 + n).encode(&mut bytes);
    }
    let mut writer = client.socket.try_clone().unwrap();
    let sender = std::thread::spawn(move || writer.write_all(&bytes).unwrap());
    for n in 0..COUNT {
        assert_eq!(client.frame().unwrap().request, 1000 + n);
    }
    sender.join().unwrap();
}

#[test]
fn five_hundred_children_cost_little_and_all_their_ends_are_told() {
    const COUNT: u64 = 500;
    let rig = Rig::new();
    let mut client = rig.manager();
    client.spawn(shell("first", "exec sleep 1000"));
    let before = kib(rig.kernel_pid(), "VmRSS");
    let begun = Instant::now();
    let ids: HashSet<ProcessId> =
        (0..COUNT).map(|n| client.spawn(shell(&format!("p{n}"), "exec sleep 1000")).id).collect();
    let spawned = begun.elapsed();
    let after = kib(rig.kernel_pid(), "VmRSS");
    eprintln!("{COUNT} processes in {spawned:?}; RSS {before} KiB, then {after} KiB");
    assert!(after.saturating_sub(before) <= 4 * COUNT, "{before} KiB, then {after} KiB");
    assert!(before <= 8 << 10, "{before} KiB");
    assert_eq!(ids.len(), 500);
    for id in &ids {
        client.signal(*id, 9, Target::Main);
    }
    let mut left = ids.clone();
    while !left.is_empty() {
        if let Notice::Exited(exited) = client.notice() {
            assert_eq!(exited.exit.status, ExitStatus::Signal(9));
            assert!(left.remove(&exited.process) || exited.process.0 == 1);
        }
    }
    // A later watcher is told everything once more, although it is more than fits into one turn.
    let mut late = rig.client();
    late.ok(Watch::default());
    let mut left = ids.clone();
    while !left.is_empty() {
        if let Notice::Exited(exited) = late.notice() {
            left.remove(&exited.process);
        }
    }
    for id in &ids {
        client.ok(Forget { process: *id, ext: vec![] });
    }
    assert_eq!(client.status().processes, 1);
    assert_eq!(std::fs::read_dir(rig.directory().join("ring")).unwrap().count(), 1);
}
