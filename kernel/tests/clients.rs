//! Clients: leases, values, and those who behave badly.
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

use rig::{Client, Rig, shell, text};
use ringmaster_protocol::frame::{Frame, Kind, PREFACE};
use ringmaster_protocol::message::*;
use std::io::{Read, Write};

fn take(grace_ms: u64) -> TakeLease {
    TakeLease { holder: "test".into(), grace_ms, ext: vec![] }
}

fn leased(name: &str) -> Spawn {
    Spawn { lifetime: Lifetime::Leased, ..shell(name, "exec sleep 1000") }
}

fn gone(pid: i32) {
    rig::eventually("the process is gone", || (!rig::lives(pid)).then_some(()).ok_or(pid));
}

#[test]
fn only_one_manager_at_a_time() {
    let rig = Rig::new();
    let mut first = rig.manager();
    let mut second = rig.client();
    let refusal = second.request(take(1)).unwrap_err();
    assert!(matches!(refusal, Refusal::LeaseHeld { pid, .. } if pid == i32::try_from(std::process::id()).unwrap()));
    assert_eq!(second.request(shell("x", "true")).unwrap_err(), Refusal::NoLease);
    let process = first.spawn(leased("mine"));
    assert_eq!(second.request(Forget { process: process.id, ext: vec![] }).unwrap_err(), Refusal::NoLease);
    assert_eq!(second.signal(process.id, 0, Target::Main), [process.pid]);
    assert_eq!(second.status().lease.unwrap().holder, "test");
    assert_eq!(rig.client().request(Watch::default()).map(|_| ()), Ok(()));
}

#[test]
fn leased_processes_survive_a_crash_of_the_manager_for_the_grace() {
    let rig = Rig::new();
    let mut first = rig.client();
    first.ok(take(30_000));
    let process = first.spawn(leased("kept"));
    drop(first);
    let mut second = rig.client();
    rig::eventually("the lease is free", || second.request(take(50)).map(|_| ()));
    assert_eq!(second.list()[0].pid, process.pid);
    let persistent = second.spawn(Spawn { lifetime: Lifetime::Persistent, ..leased("stays") });
    drop(second);
    gone(process.pid);
    let mut third = rig.client();
    rig::eventually("the leased one is forgotten", || {
        let names: Vec<_> = third.list().into_iter().map(|process| process.name).collect();
        if names == ["stays"] { Ok(()) } else { Err(names) }
    });
    assert!(rig::lives(persistent.pid));
}

#[test]
fn giving_the_lease_back_stops_what_is_leased_and_the_idle_core_ends() {
    let mut rig = Rig::new();
    let mut client = rig.client();
    client.ok(take(30_000));
    let stubborn = Spawn {
        stop: StopPlan { signal: 15, grace_ms: 300 },
        ..shell("stubborn", "trap '' TERM; echo ready; while :; do sleep 1000; done")
    };
    let stubborn = Spawn { lifetime: Lifetime::Leased, ..stubborn };
    let process = client.spawn(stubborn);
    rig::eventually("the trap is set", || {
        let head = client.list()[0].streams[0].head;
        (head > 0).then_some(()).ok_or(head)
    });
    let Reply::Exiting(answer) = client.ok(ExitIfIdle::default()) else { panic!() };
    assert!(!answer.exits);
    client.ok(PutLease::default());
    let Reply::Exiting(answer) = client.ok(ExitIfIdle::default()) else { panic!() };
    assert!(answer.exits);
    let status = rig.papa.as_mut().unwrap().wait().unwrap();
    rig.papa = None;
    assert!(status.success());
    assert!(!rig::lives(process.pid));
    assert!(!rig.directory().exists(), "nothing is left of the instance");
}

#[test]
fn values_are_kept_listed_and_removed() {
    let rig = Rig::new();
    let mut client = rig.client();
    let value = |name: &str, value: &[u8]| SetValue { name: name.into(), value: value.into(), ext: vec![] };
    for n in 0..120 {
        client.ok(value(&format!("v{n:03}/ä"), b"1"));
    }
    client.ok(value("v000/ä", &[0; 256 << 10]));
    assert!(matches!(client.request(value("big", &[0; (256 << 10) + 1])), Err(Refusal::Invalid { .. })));
    let mut names: Vec<String> = Vec::new();
    loop {
        let after = names.last().cloned().unwrap_or_default();
        let Reply::ValueNames(page) = client.ok(ListValues { after, prefix: "v".into(), ext: vec![] }) else {
            panic!()
        };
        names.extend(page.names);
        if !page.more {
            break;
        }
    }
    assert_eq!(names.len(), 120);
    let get = |name: &str| GetValue { name: name.into(), ext: vec![] };
    assert!(
        matches!(client.ok(get("v000/ä")), Reply::Value(value) if value.value.as_ref().unwrap().len() == 256 << 10)
    );
    assert!(matches!(client.ok(get("none")), Reply::Value(value) if value.value.is_none()));
    client.ok(RemoveValue { name: "v000/ä".into(), ext: vec![] });
    assert!(matches!(client.ok(get("v000/ä")), Reply::Value(value) if value.value.is_none()));
    assert_eq!(client.status().values, 119);
}

/// Sends bytes and expects the core to hang up on this client only.
fn is_cut_off(rig: &Rig, bytes: &[u8]) -> String {
    let mut client = Client::raw(rig);
    client.send(bytes, &[]);
    let mut said = Vec::new();
    client.socket.read_to_end(&mut said).ok();
    rig.client().status();
    text(&said)
}

#[test]
fn violations_cost_the_violator_alone() {
    let rig = Rig::new();
    let greeted = |tail: &[u8]| [PREFACE.as_slice(), tail].concat();
    is_cut_off(&rig, &greeted(&[0xff; 11]));
    is_cut_off(&rig, &greeted(&[0, 0, 0, 0, 99, 0, 0, 0, 0, 0, 0]));
    is_cut_off(&rig, &greeted(&[0, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0]));
    assert_eq!(is_cut_off(&rig, b"GET / HTTP/1.1\r\n\r\n"), "");
    // Half a frame, then nothing: it may stay, and harms nobody.
    let mut half = Client::raw(&rig);
    half.send(&greeted(&[4, 0, 0]), &[]);
    rig.client().status();
    // Before hello, unknown numbers and bodies that are no messages: refused, not cut off.
    let mut client = Client::raw(&rig);
    client.send(&PREFACE, &[]);
    assert_eq!(client.request(Status::default()), Err(Refusal::NoHello));
    let mut client = rig.client();
    let mut bytes = Vec::new();
    for (message, body) in [(4711, vec![]), (3, vec![0xff; 40])] {
        Frame { kind: Kind::Request, message, request: 77, body }.encode(&mut bytes);
    }
    client.send(&bytes, &[]);
    for expected in ["this core does not know message 4711", "the request cannot be read: "] {
        let frame = client.frame().unwrap();
        let said = Refusal::decode(frame.message, &frame.body).unwrap().to_string();
        assert!(said.starts_with(expected), "{said}");
    }
    let even = Status { ext: vec![(2, vec![])] };
    assert!(matches!(client.request(even), Err(Refusal::Invalid { .. })));
    client.ok(Status { ext: vec![(3, vec![1])] });
}

#[test]
fn one_that_never_reads_is_not_read_either() {
    let rig = Rig::new();
    let mut greedy = rig.client();
    greedy.socket.set_write_timeout(Some(std::time::Duration::from_millis(300))).unwrap();
    let mut request = Vec::new();
    Request::from(Status::default()).frame(1).encode(&mut request);
    let flood = request.repeat(4000);
    let mut sent = 0;
    while let Ok(count) = greedy.socket.write(&flood) {
        sent += count;
        assert!(sent < 64 << 20, "the core swallows everything");
    }
    let before = rig.client().status();
    assert!(before.clients >= 2);
    let status = std::fs::read_to_string(format!("/proc/{}/status", rig.kernel_pid())).unwrap();
    let anonymous = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    let kib: u64 = anonymous.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(kib < 4096, "{kib} KiB");
}

#[test]
fn too_many_descriptors_cut_off() {
    let rig = Rig::new();
    let mut client = rig.client();
    let null: std::os::fd::OwnedFd = std::fs::File::open("/dev/null").unwrap().into();
    let before = rig.open_fds();
    let many = vec![rig::borrowed(std::slice::from_ref(&null))[0]; 16];
    // Parts of a frame, each with descriptors: they pile up, and the third is one too many.
    client.send(&[9, 0], &many);
    client.send(&[0, 0], &many[..1]);
    assert!(client.frame().is_none());
    rig::eventually("its descriptors are closed", || {
        let now = rig.open_fds();
        (now < before).then_some(()).ok_or((before, now))
    });
}

#[test]
fn a_full_table_of_descriptors_costs_newcomers_only() {
    let mut rig = Rig { run: tempfile::tempdir().unwrap(), papa: None, groups: "on" };
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "ulimit -n 120; exec \"$0\"", env!("CARGO_BIN_EXE_papa")]);
    command.env("CIRCUS_RUN_DIR", rig.run.path());
    rig.papa = Some(command.spawn().unwrap());
    rig::eventually("the core accepts connections", || {
        std::os::unix::net::UnixStream::connect(rig.socket()).map(|_| ())
    });
    let mut first = rig.manager();
    let mut refusal = None;
    for n in 0..100 {
        if let Err(why) = first.request(shell(&format!("p{n}"), "exec sleep 1000")) {
            refusal = Some(why);
            break;
        }
    }
    let limit = "open files".to_owned();
    assert_eq!(refusal, Some(Refusal::Limit { limit, value: 120 }));
    let crowd: Vec<_> = (0..200).map(|_| std::os::unix::net::UnixStream::connect(rig.socket())).collect();
    first.status();
    drop(crowd);
    rig::eventually("newcomers are let in again", || {
        let clients = first.status().clients;
        (clients == 1).then_some(()).ok_or(clients)
    });
    rig.client().status();
}
