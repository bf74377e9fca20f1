//! What starting and stopping cost, against a bare loop over the operating system in the same run. The instance lies in
//! memory, as under /run. Measurements, not verdicts: `cargo test --release -p ringmaster-kernel --test cost -- --ignored --nocapture --test-threads 1`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    clippy::as_conversions,
    reason = "a test ends by panicking"
)]

mod rig;

use rig::{Rig, program};
use ringmaster_protocol::frame::Kind;
use ringmaster_protocol::message::*;
use std::collections::HashSet;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const COUNT: u32 = 1000;

/// CPU time of a process of one thread (proc(5), `schedstat`).
fn cpu(pid: i32) -> Duration {
    let text = std::fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

/// Of a watcher of a thousand processes, or of one of one.
fn sleeper(watchers: &str, n: u32) -> Spawn {
    program(&format!("circus.{watchers}{n}"), &["/bin/sleep", "1000"])
}

fn ends(client: &mut rig::Client, mut left: HashSet<ProcessId>) {
    while !left.is_empty() {
        if let Notice::Exited(exited) = client.notice() {
            left.remove(&exited.process);
        }
    }
}

fn quiet_core() -> Rig {
    let memory = std::path::Path::new("/dev/shm");
    let run = if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() };
    let groups = if std::env::var("CIRCUS_CGROUP").is_ok_and(|value| value == "off") { "off" } else { "on" };
    let mut rig = Rig { run, papa: None, groups };
    rig.papa = Some(rig.command().stdin(Stdio::null()).spawn().unwrap());
    rig::eventually("the core accepts connections", || {
        std::os::unix::net::UnixStream::connect(rig.socket()).map(|_| ())
    });
    rig
}

/// All requests first, then all answers, as a manager starts its watchers.
fn start_all(client: &mut rig::Client, watchers: &str) -> Vec<ProcessId> {
    let mut bytes = Vec::new();
    for n in 0..COUNT {
        assert!(Request::from(sleeper(watchers, n)).frame(1_000_000 + n).encode(&mut bytes));
    }
    let mut writer = client.socket.try_clone().unwrap();
    let sender = std::thread::spawn(move || writer.write_all(&bytes).unwrap());
    let mut ids = Vec::new();
    while ids.len() < COUNT as usize {
        let frame = client.frame().unwrap();
        if frame.kind == Kind::Reply {
            match Reply::decode(frame.message, &frame.body).unwrap() {
                Reply::Spawned(spawned) => ids.push(spawned.process.id),
                other => panic!("{other:?}"),
            }
        }
    }
    sender.join().unwrap();
    ids
}

#[test]
#[ignore = "a measurement"]
fn starting_a_thousand_and_stopping_them_one_by_one() {
    measure("web.");
}

#[test]
#[ignore = "a measurement"]
fn the_same_with_a_thousand_watchers() {
    measure("w");
}

fn measure(watchers: &str) {
    let rig = quiet_core();
    let mut client = rig.manager();
    client.spawn(program("warm", &["/bin/sleep", "1000"]));

    let begun = Instant::now();
    let mut bare: Vec<_> = (0..COUNT)
        .map(|_| {
            let mut command = Command::new("/bin/sleep");
            command.arg("1000").env_clear().stdin(Stdio::null());
            command.stdout(Stdio::null()).stderr(Stdio::null());
            // posix_spawn(3), as nothing is asked for that needs more.
            command.spawn().unwrap()
        })
        .collect();
    let reference = begun.elapsed();
    for child in &mut bare {
        child.kill().unwrap();
        child.wait().unwrap();
    }

    let (begun, before) = (Instant::now(), cpu(rig.kernel_pid()));
    let ids = start_all(&mut client, watchers);
    let (wall, used) = (begun.elapsed(), cpu(rig.kernel_pid()) - before);
    eprintln!(
        "start of {COUNT}: {wall:?}, bare {reference:?}, ratio {:.2}; core {:?} each",
        wall.as_secs_f64() / reference.as_secs_f64(),
        used / COUNT
    );

    let (begun, before) = (Instant::now(), cpu(rig.kernel_pid()));
    for id in &ids {
        client.signal(*id, 15, Target::Main);
        client.wait_exit(*id);
        client.signal(*id, 9, Target::Tree);
    }
    let (wall, used) = (begun.elapsed(), cpu(rig.kernel_pid()) - before);
    eprintln!("stop of {COUNT}, one by one: {wall:?}; core {:?} each", used / COUNT);
    for id in ids {
        client.ok(Forget { process: id, ext: vec![] });
    }

    let ids: HashSet<ProcessId> = start_all(&mut client, watchers).into_iter().collect();
    let (begun, before) = (Instant::now(), cpu(rig.kernel_pid()));
    for id in &ids {
        client.signal(*id, 9, Target::Tree);
    }
    ends(&mut client, ids);
    let (wall, used) = (begun.elapsed(), cpu(rig.kernel_pid()) - before);
    eprintln!("kill of {COUNT} living trees: {wall:?}; core {:?} each", used / COUNT);
}
