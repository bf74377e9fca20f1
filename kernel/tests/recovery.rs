//! A core that was killed, and the next one: the same processes, the same output, no second copy.
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

use rig::{Client, Rig, program, shell, text};
use ringmaster_protocol::message::*;
use ringmaster_protocol::ring::Stream;

fn find(client: &mut Client, name: &str) -> ProcessInfo {
    client.list().into_iter().find(|process| process.name == name).unwrap_or_else(|| panic!("{name} is lost"))
}

#[test]
fn living_children_are_taken_back_with_everything_that_is_known_of_them() {
    let mut rig = Rig::new();
    let mut client = rig.manager();
    let instance = client.welcome.as_ref().unwrap().instance_id;
    let fifo = rig.run.path().join("go");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).unwrap();
    let script = format!("echo before; read x <{}; echo after; exit 21", fifo.display());
    let before = client.spawn(shell("lives", &script));
    rig::eventually("it has spoken", || {
        let head = find(&mut client, "lives").streams[0].head;
        (head == 7).then_some(()).ok_or(head)
    });
    client.cast(Ack { process: before.id, stream: Stream::Stdout, offset: 3 });
    rig::eventually("the acknowledgement has arrived", || {
        let low = find(&mut client, "lives").streams[0].low;
        (low == 3).then_some(()).ok_or(low)
    });
    client.ok(SetValue { name: "note".into(), value: b"kept".to_vec(), ext: vec![] });

    rig.kill();
    assert!(rig::lives(before.pid));
    rig.start();
    let mut client = rig.manager();
    assert_eq!(client.welcome.as_ref().unwrap().instance_id, instance);
    let after = find(&mut client, "lives");
    assert_eq!((after.id, after.pid, after.started_ns), (before.id, before.pid, before.started_ns));
    assert_eq!((after.note, after.lifetime), (before.note, before.lifetime));
    assert_eq!((after.streams[0].low, after.streams[0].head), (3, 7));
    let again = client.spawn(shell("lives", &script));
    assert_eq!(again.pid, before.pid, "the same token finds the same process");
    let value = client.ok(GetValue { name: "note".into(), ext: vec![] });
    assert!(matches!(value, Reply::Value(value) if value.value == Some(b"kept".to_vec())));

    std::fs::write(&fifo, "go\n").unwrap();
    let (out, _, exit) = client.read_all(before.id);
    assert_eq!(text(&out), "ore\nafter\n");
    // PIDFD_INFO_EXIT (Linux 6.15), else proc(5) while it is a zombie, else nobody knows.
    let known = client.status().guarantees.iter().any(|g| g.name == "exit-status-of-adopted-children" && g.holds);
    let expected = if known { ExitStatus::Code(21) } else { exit.status };
    assert_eq!(exit.status, expected);
}

#[test]
fn processes_without_captured_output_are_taken_back_too() {
    let mut rig = Rig::new();
    let mut client = rig.manager();
    let quiet = |name: &str, note: usize| Spawn {
        stdout: Stdout::Null,
        stderr: Stdout::Null,
        // The longest does not fit a page of the ledger and has a file of its own.
        note: vec![b'n'; note],
        ..shell(name, "exec sleep 1000")
    };
    let before: Vec<ProcessInfo> =
        [("a", 10), ("b", 5000), ("c", 0)].map(|(name, note)| client.spawn(quiet(name, note))).to_vec();
    // The slot and the page of one that is forgotten go to another process.
    client.signal(before[0].id, 9, Target::Main);
    client.wait_exit(before[0].id);
    client.ok(Forget { process: before[0].id, ext: vec![] });
    let other = client.spawn(quiet("d", 20));
    rig.kill();
    rig.start();
    let mut client = rig.manager();
    let names: Vec<String> = client.list().into_iter().map(|process| process.name).collect();
    assert_eq!(names, ["b", "c", "d"]);
    for old in [&before[1], &before[2], &other] {
        let new = find(&mut client, &old.name);
        assert_eq!((new.id, new.pid, &new.note), (old.id, old.pid, &old.note));
        client.signal(new.id, 9, Target::Tree);
        client.wait_exit(new.id);
    }
}

#[test]
fn output_is_complete_through_many_deaths_of_the_core() {
    let seed = std::env::var("RINGMASTER_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or(u64::from(std::process::id()));
    eprintln!("RINGMASTER_SEED={seed}");
    let mut random = seed;
    let mut rig = Rig::new();
    let lines = 400_000u32;
    let script =
        format!("import os\nfor i in range({lines}): os.write(1, b'%015d\\n' % i)\nimport time\ntime.sleep(1000)");
    let mut client = rig.manager();
    let process = client.spawn(program("numbers", &["python3", "-I", "-S", "-c", &script]));
    let mut output = client.open(process.id);
    let (mut deaths, mut acked) = (0, 0);
    let end = u64::from(lines) * 16;
    // The child stays: what is in the pipe of one that ends while no core runs is beyond recovery.
    while acked < end {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        for _ in 0..(random >> 33) % 60 {
            if acked == end {
                break;
            }
            if let Notice::Output(more) = client.notice() {
                acked = output.read_to(Stream::Stdout, more.head);
                client.cast(Ack { process: process.id, stream: Stream::Stdout, offset: acked });
            }
        }
        if deaths < 60 {
            deaths += 1;
            rig.kill();
            rig.start();
            client = rig.manager();
            let info = find(&mut client, "numbers");
            assert_eq!((info.pid, info.streams[0].lost), (process.pid, 0));
        }
    }
    let out = output.bytes(Stream::Stdout);
    let mut expected = 0;
    for line in text(&out).lines() {
        assert_eq!(line.parse::<u32>().ok(), Some(expected), "after {deaths} deaths");
        expected += 1;
    }
    assert_eq!((expected, output.gaps), (lines, 0));
    client.signal(process.id, 15, Target::Main);
    let exit = client.wait_exit(process.id);
    eprintln!("{deaths} deaths, exit {:?}", exit.status);
}

#[test]
fn what_ended_before_the_death_is_still_told_and_what_ended_in_between_is_unknown() {
    let mut rig = Rig::new();
    let mut client = rig.manager();
    let early = client.spawn(shell("early", "echo words; exit 5"));
    assert_eq!(client.wait_exit(early.id).status, ExitStatus::Code(5));
    let between = client.spawn(shell("between", "echo last words; exec sleep 1000"));
    rig::eventually("it has spoken", || {
        let head = find(&mut client, "between").streams[0].head;
        (head > 0).then_some(()).ok_or(head)
    });
    rig.kill();
    let pid = rustix::process::Pid::from_raw(between.pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    rig::eventually("it is gone", || (!rig::lives(between.pid)).then_some(()).ok_or(()));
    rig.start();
    let mut client = rig.manager();
    let exit = client.wait_exit(early.id);
    assert_eq!((exit.status, exit.heads), (ExitStatus::Code(5), [6, 0]));
    let exit = client.wait_exit(between.id);
    // A zombie that nobody has reaped yet still tells; init is faster as a rule.
    assert!(matches!(exit.status, ExitStatus::Unknown | ExitStatus::Signal(9)), "{exit:?}");
    let (out, _, _) = {
        let mut fresh = rig.client();
        fresh.ok(Watch::default());
        fresh.read_all(between.id)
    };
    assert_eq!(text(&out), "last words\n");
}

#[test]
fn listening_sockets_are_recovered_from_children_or_bound_again() {
    let mut rig = Rig::new();
    let mut client = rig.manager();
    let listen = |name: &str| Listen {
        name: name.into(),
        address: SocketAddress::Inet("127.0.0.1:0".parse().unwrap()),
        kind: SocketType::Stream,
        backlog: 16,
        umask: None,
        replace: false,
        interface: None,
        reuse_port: false,
        blocking: false,
        persistent: true,
        ext: vec![],
    };
    let Reply::Listening(used) = client.ok(listen("used")) else { panic!() };
    let Reply::Listening(unused) = client.ok(listen("unused")) else { panic!() };
    client.spawn(Spawn { sockets: vec!["used".into()], ..shell("holder", "exec sleep 1000") });
    let SocketAddress::Inet(address) = used.socket.address else { panic!() };
    let waiting = std::net::TcpStream::connect(address).unwrap();
    rig.kill();
    let more = std::net::TcpStream::connect(address).expect("a child keeps the socket open");
    rig.start();
    let mut client = rig.manager();
    let Reply::SocketList(list) = client.ok(Sockets::default()) else { panic!() };
    assert_eq!(list.sockets, [unused.socket.clone(), used.socket.clone()]);
    let again = client.ok(listen("used"));
    assert!(matches!(again, Reply::Listening(again) if !again.created));
    // The connections that waited are still there: it is the very same socket.
    let listener = std::net::TcpListener::from(client.take_fd().unwrap());
    let mut peers = vec![listener.accept().unwrap().1, listener.accept().unwrap().1];
    peers.sort();
    let mut expected = vec![waiting.local_addr().unwrap(), more.local_addr().unwrap()];
    expected.sort();
    assert_eq!(peers, expected);
    let SocketAddress::Inet(address) = unused.socket.address else { panic!() };
    std::net::TcpStream::connect(address).unwrap();
}

#[test]
fn leased_processes_get_their_grace_from_the_next_core() {
    let mut rig = Rig::new();
    let mut client = rig.client();
    client.ok(TakeLease { holder: "short".into(), grace_ms: 200, ext: vec![] });
    let leased = Spawn { lifetime: Lifetime::Leased, ..shell("leased", "exec sleep 1000") };
    let leased = client.spawn(leased);
    let persistent = client.spawn(shell("persistent", "exec sleep 1000"));
    rig.kill();
    assert!(rig::lives(leased.pid));
    rig.start();
    rig::eventually("its grace is over", || (!rig::lives(leased.pid)).then_some(()).ok_or(()));
    assert!(rig::lives(persistent.pid));
    let mut client = rig.manager();
    rig::eventually("it is forgotten", || {
        let left = client.list().len();
        (left == 1).then_some(()).ok_or(left)
    });
}

#[test]
fn a_lifetime_that_was_changed_is_known_to_the_next_core() {
    let mut rig = Rig::new();
    let mut client = rig.client();
    client.ok(TakeLease { holder: "short".into(), grace_ms: 200, ext: vec![] });
    let spawn = |name: &str| Spawn { lifetime: Lifetime::Leased, ..shell(name, "exec sleep 1000") };
    // One whose request lies in a file of its own, one in the file that many share.
    let quiet = Spawn { stdout: Stdout::Null, stderr: Stdout::Null, ..spawn("quiet") };
    let given: Vec<ProcessInfo> = [spawn("loud"), quiet].into_iter().map(|spawn| client.spawn(spawn)).collect();
    let leased = client.spawn(spawn("leased"));
    let set = |process, lifetime| SetLifetime { process, lifetime, ext: vec![] };
    for info in &given {
        client.ok(set(info.id, Lifetime::Persistent));
    }
    // Nobody but the lease's holder changes anything, nor makes leased what no lease would end.
    let mut other = rig.client();
    assert_eq!(other.request(set(leased.id, Lifetime::Persistent)), Err(Refusal::NoLease));
    assert!(matches!(client.request(set(ProcessId(u64::MAX), Lifetime::Persistent)), Err(Refusal::NotFound { .. })));
    rig.kill();
    rig.start();
    rig::eventually("its grace is over", || (!rig::lives(leased.pid)).then_some(()).ok_or(()));
    let mut client = rig.client();
    let left = rig::eventually("the leased one is forgotten", || {
        let left = client.list();
        if left.len() == 2 { Ok(left) } else { Err(left.len()) }
    });
    assert!(left.iter().all(|info| info.lifetime == Lifetime::Persistent && rig::lives(info.pid)));
    assert_eq!(client.request(set(given[0].id, Lifetime::Leased)), Err(Refusal::NoLease));
}
