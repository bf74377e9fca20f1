//! Many processes of one group that end together: whom each has left is found, and what an end costs does not depend on the
//! number of its siblings. By counts, never by time.
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

use rig::{Client, Rig, program, with_descendant};
use ringmaster_protocol::frame::Kind;
use ringmaster_protocol::message::*;
use std::collections::{HashMap, HashSet};
use std::time::Instant;

/// Requests with such numbers are answered in any order.
const BASE: u32 = 1_000_000;

fn sibling(number: usize) -> Spawn {
    program(&format!("circus.web.{number}"), &["sleep", "1000"])
}

fn to(process: ProcessId, signal: i32, target: Target) -> Request {
    Signal { process, signal, target, ext: vec![] }.into()
}

fn forget(process: ProcessId) -> Request {
    Forget { process, ext: vec![] }.into()
}

fn frame(bytes: &mut Vec<u8>, number: u32, request: Request) {
    assert!(request.frame(BASE + number).encode(bytes));
}

/// One that leaves somebody in its session when it ends, and tells who that is.
fn with_orphan(client: &mut Client, name: &str) -> (ProcessInfo, i32) {
    with_descendant(client, name, "sh -c 'echo $$; exec sleep 1000 >/dev/null 2>&1' & exec sleep 1000")
}

fn wait_exits(client: &mut Client, mut left: HashSet<ProcessId>) {
    while !left.is_empty() {
        if let Notice::Exited(exited) = client.notice() {
            left.remove(&exited.process);
        }
    }
}

/// The answers to the numbered requests, in the order in which they come.
fn answers(client: &mut Client, count: usize) -> Vec<(u32, Reply)> {
    let mut answers = Vec::new();
    while answers.len() < count {
        let frame = client.frame().expect("the core hung up");
        match frame.kind {
            Kind::Reply => {
                answers.push((frame.request - BASE, Reply::decode(frame.message, &frame.body).unwrap()));
            }
            Kind::Notice => {}
            other => panic!("{other:?}"),
        }
    }
    answers
}

fn gone(pid: i32) {
    rig::eventually("it is gone", || (!rig::lives(pid)).then_some(()).ok_or(pid));
}

/// Sixty end in one batch, two of them leave somebody; one goes on. They are forgotten before anybody has looked.
#[test]
fn whom_two_of_many_have_left_is_killed_and_nobody_else() {
    for groups in ["on", "off"] {
        let rig = Rig::with_groups(groups);
        let mut client = rig.manager();
        let stays = client.spawn(sibling(1));
        let (bystander, other) = with_orphan(&mut client, "circus.web.2");
        let mut ended: Vec<ProcessInfo> = (10..70).map(|number| client.spawn(sibling(number))).collect();
        let left: HashMap<usize, i32> = [(20, 100), (40, 101)]
            .map(|(place, number)| {
                let (process, orphan) = with_orphan(&mut client, &format!("circus.web.{number}"));
                ended[place] = process;
                (place, orphan)
            })
            .into();
        // Those in whose places they are go on as well.
        for process in &ended {
            assert_eq!(client.signal(process.id, 9, Target::Main), [process.pid]);
        }
        wait_exits(&mut client, ended.iter().map(|process| process.id).collect());
        assert!(left.values().all(|orphan| rig::lives(*orphan)));

        let mut bytes = Vec::new();
        for (number, process) in ended.iter().enumerate() {
            frame(&mut bytes, number as u32, to(process.id, 9, Target::Tree));
        }
        for (number, process) in ended.iter().enumerate() {
            frame(&mut bytes, 1000 + number as u32, forget(process.id));
        }
        client.send(&bytes, &[]);
        for (number, reply) in answers(&mut client, 2 * ended.len()) {
            if let Reply::Signalled(signalled) = reply {
                let expected: Vec<i32> = left.get(&(number as usize)).copied().into_iter().collect();
                assert_eq!(signalled.pids, expected, "{number}, cgroups {groups}");
            }
        }
        left.into_values().for_each(gone);
        assert!([stays.pid, bystander.pid, other].into_iter().all(rig::lives));
        // Three that go on, those in whose places others were, and nobody else.
        assert_eq!(client.status().processes, 4);
    }
}

/// The group was looked at a moment ago, so the tree of the next one waits; but not when somebody takes its place.
#[test]
fn what_an_ended_process_has_left_is_killed_before_another_is_made() {
    let rig = Rig::new();
    let mut client = rig.manager();
    let siblings: Vec<ProcessInfo> = (0..60).map(|number| client.spawn(sibling(number))).collect();
    let (process, orphan) = with_orphan(&mut client, "circus.web.100");
    for ends in [&siblings[0], &process] {
        client.signal(ends.id, 9, Target::Main);
        client.wait_exit(ends.id);
    }
    let mut bytes = Vec::new();
    frame(&mut bytes, 0, to(siblings[0].id, 9, Target::Tree));
    frame(&mut bytes, 1, sibling(200).into());
    frame(&mut bytes, 2, to(process.id, 9, Target::Tree));
    frame(&mut bytes, 3, forget(process.id));
    frame(&mut bytes, 4, sibling(201).into());
    client.send(&bytes, &[]);
    let order: Vec<u32> = answers(&mut client, 5).into_iter().map(|(number, _)| number).collect();
    let place = |wanted| order.iter().position(|number| *number == wanted);
    assert!(place(0) < place(1) && place(2) < place(4), "{order:?}");
    gone(orphan);
    // More than the rig asks for at its end; nobody is left when all is answered.
    for process in client.list() {
        client.signal(process.id, 9, Target::Tree);
    }
}

/// Bytes that a process has read by read(2) (proc(5), `io`).
fn bytes_read(pid: i32) -> u64 {
    let io = std::fs::read_to_string(format!("/proc/{pid}/io")).unwrap();
    io.lines().find_map(|line| line.strip_prefix("rchar: ")).unwrap().parse().unwrap()
}

/// As a manager does it: a signal to each, then at each end what is left of it is killed and it is forgotten. Were its group listed at each
/// end, the core would read the pids of half of them, on average, so many times.
#[test]
fn the_core_reads_little_for_each_end_however_many_siblings_there_are() {
    const COUNT: usize = 2000;
    /// `kernel/src/limits.rs`: `LOOK_SHARE`, `LOOK_PAUSE` in milliseconds.
    const SHARE: u64 = 8;
    const PAUSE: u128 = 25;
    /// A pid and the end of its line.
    const PID: u64 = 8;
    /// What else is read for an end: signals of the keeper's.
    const REST: u64 = 256;
    let rig = Rig::new();
    let mut client = rig.manager();
    if !client.status().guarantees.iter().any(|row| row.name == "trees-are-killed-whole" && row.holds) {
        eprintln!("skipped: this core has no cgroups");
        return;
    }
    let ids: Vec<ProcessId> = (0..COUNT).map(|number| client.spawn(sibling(number)).id).collect();
    let (begun, before) = (Instant::now(), bytes_read(rig.kernel_pid()));
    let mut bytes = Vec::new();
    ids.iter().for_each(|id| assert!(to(*id, 15, Target::Main).cast().encode(&mut bytes)));
    client.send(&bytes, &[]);
    let mut left: HashSet<ProcessId> = ids.into_iter().collect();
    while !left.is_empty() {
        if let Notice::Exited(exited) = client.notice() {
            left.remove(&exited.process);
            client.cast(to(exited.process, 9, Target::Tree));
            client.cast(forget(exited.process));
        }
    }
    rig::eventually("all are forgotten", || match client.status().processes {
        0 => Ok(()),
        processes => Err(processes),
    });
    let (read, took) = (bytes_read(rig.kernel_pid()) - before, begun.elapsed());
    let count = COUNT as u64;
    // The signals need some looks at all of them as well: one a turn, and a turn has room for some hundred.
    let looks = 1 + count / 100 + (took.as_millis() / PAUSE) as u64;
    let most = count * (SHARE * PID + REST) + looks * count * PID;
    eprintln!("{read} bytes in {took:?}, at most {most}; a list at each end would be {}", count * count / 2 * PID);
    assert!(read <= most, "{read} bytes in {took:?}, at most {most}");
}
