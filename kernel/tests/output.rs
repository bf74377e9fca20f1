//! Output from child to reader: complete, in order, with its gaps counted; ends told when they happen.
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

use rig::{Rig, program, shell, text};
use ringmaster_protocol::message::*;
use ringmaster_protocol::ring::Stream;
use std::time::{Duration, Instant};

/// Writes `count` numbered lines of 100 bytes as fast as it can.
fn numbered(name: &str, count: u32) -> Spawn {
    let script = format!(
        "import os\nb=b''.join(b'%098d\\n' % i for i in range({count}))\nv=memoryview(b)\nwhile v: v=v[os.write(1,v):]"
    );
    program(name, &["python3", "-I", "-S", "-c", &script])
}

/// Asserts that bytes are numbered lines, and gives the numbers.
fn numbers(bytes: &[u8]) -> Vec<u32> {
    let lines = text(bytes);
    lines.lines().map(|line| line.parse().unwrap_or_else(|_| panic!("a torn line: {line:?}"))).collect()
}

#[test]
fn nothing_is_lost_at_speed_while_a_manager_reads() {
    const LINES: u32 = 1_100_000;
    let rig = Rig::new();
    let mut client = rig.manager();
    let begun = Instant::now();
    let process = client.spawn(numbered("fast", LINES));
    let (out, err, exit) = client.read_all(process.id);
    let seen = numbers(&out);
    assert!(seen.iter().copied().eq(0..LINES), "{} of {LINES} lines", seen.len());
    assert_eq!((err.len(), exit.status), (0, ExitStatus::Code(0)));
    assert_eq!(exit.heads, [u64::from(LINES) * 99, 0]);
    assert_eq!(client.status().lost_bytes, 0);
    eprintln!("{} MB in {:?}", out.len() >> 20, begun.elapsed());
}

#[test]
fn the_oldest_output_makes_room_when_nobody_reads_and_the_gap_is_counted() {
    const LINES: u32 = 50_000;
    let rig = Rig::new();
    let mut client = rig.client();
    client.ok(Watch::default());
    let process = client.spawn(Spawn { ring: 256 << 10, ..numbered("drop", LINES) });
    client.wait_exit(process.id);
    let mut output = client.open(process.id);
    let state = output.info.streams[0];
    assert_eq!(state.head, u64::from(LINES) * 99);
    assert_eq!(state.low, state.lost);
    assert!(state.head - state.low <= 256 << 10);
    output.read_to(Stream::Stdout, state.head);
    assert_eq!(output.gaps, 0, "low of the file agrees with low of the process");
    let bytes = output.bytes(Stream::Stdout);
    assert_eq!(u64::try_from(bytes.len()).unwrap() + state.lost, state.head);
    let whole: Vec<u8> = bytes.splitn(2, |byte| *byte == b'\n').nth(1).unwrap().to_vec();
    let seen = numbers(&whole);
    assert!(seen.iter().copied().eq(LINES - u32::try_from(seen.len()).unwrap()..LINES));
    assert_eq!(client.status().lost_bytes, state.lost);
    client.ok(Forget { process: process.id, ext: vec![] });
    assert_eq!(client.status().lost_bytes, state.lost, "losses outlive the process");
}

#[test]
fn a_manager_that_does_not_acknowledge_holds_a_child_up_only_for_a_while() {
    let rig = Rig::new();
    let mut client = rig.manager();
    let process = client.spawn(Spawn { ring: 64 << 10, ..numbered("slow", 5000) });
    let begun = Instant::now();
    client.wait_exit(process.id);
    let waited = begun.elapsed();
    assert!((Duration::from_secs(4)..Duration::from_secs(15)).contains(&waited), "{waited:?}");
    assert!(client.list()[0].streams[0].lost > 0);
}

#[test]
fn a_blocking_process_waits_for_its_reader() {
    let rig = Rig::new();
    let mut client = rig.client();
    client.ok(Watch::default());
    let spawn = Spawn { ring: 64 << 10, overflow: Overflow::Block, ..numbered("block", 5000) };
    let process = client.spawn(spawn);
    rig::eventually("the ring is full", || {
        let head = client.list()[0].streams[0].head;
        (head == 64 << 10).then_some(()).ok_or(head)
    });
    let ticks = |rig: &Rig| {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", rig.kernel_pid())).unwrap();
        let fields: Vec<u64> =
            stat.rsplit_once(')').unwrap().1.split_whitespace().filter_map(|f| f.parse().ok()).collect();
        fields[10] + fields[11]
    };
    let (before, until) = (ticks(&rig), Instant::now() + Duration::from_millis(500));
    while Instant::now() < until {
        std::thread::park_timeout(until - Instant::now());
    }
    assert!(ticks(&rig) - before <= 2, "a full ring must not keep the core busy");
    let (out, _, exit) = client.read_all(process.id);
    assert!(numbers(&out).into_iter().eq(0..5000));
    assert_eq!(exit.status, ExitStatus::Code(0));
}

#[test]
fn an_end_is_told_at_once_though_a_grandchild_holds_the_pipe() {
    let rig = Rig::new();
    let mut client = rig.manager();
    let begun = Instant::now();
    let process = client.spawn(shell("gc", "sh -c 'echo $$; exec sleep 1000' & echo early; exit 7"));
    let exit = client.wait_exit(process.id);
    assert_eq!((exit.status, begun.elapsed() < Duration::from_secs(5)), (ExitStatus::Code(7), true));
    assert!(exit.heads[0] >= 6, "{exit:?}");
    let info = client.list().into_iter().find(|p| p.id == process.id).unwrap();
    assert!(info.streams[0].open && info.streams[1].open, "{info:?}");
    // The survivor is found after the end of its parent, and its end ends the streams.
    let reached = client.signal(process.id, 15, Target::Tree);
    assert_eq!(reached.len(), 1, "{reached:?}");
    let mut ends = 0;
    while ends < 2 {
        if let Notice::StreamEnd(end) = client.notice() {
            ends += u32::from(end.process == process.id);
        }
    }
}

#[test]
fn closing_one_stream_does_not_end_the_other() {
    let rig = Rig::new();
    let mut client = rig.manager();
    let process = client.spawn(shell("half", "exec >&-; sleep 0.1; echo still here >&2; exit 3"));
    let (out, err, exit) = client.read_all(process.id);
    assert_eq!((out.len(), text(&err), exit.status), (0, "still here\n".into(), ExitStatus::Code(3)));
}

#[test]
fn records_tell_the_order_of_both_streams() {
    let rig = Rig::new();
    let mut client = rig.manager();
    let process =
        client.spawn(shell("order", "for i in 1 2 3; do echo o$i; sleep 0.02; echo e$i >&2; sleep 0.02; done"));
    let output = client.open(process.id);
    let (out, _, _) = client.read_all(process.id);
    assert_eq!(text(&out), "o1\no2\no3\n");
    let info = client.list().into_iter().find(|p| p.id == process.id).unwrap();
    let mut all = Vec::new();
    for stream in Stream::ALL {
        for number in 0..info.streams[stream.index()].records {
            let record = output.record(stream, number);
            all.push((record.seq, stream, record.offset, record.boottime_ns));
        }
    }
    all.sort_unstable_by_key(|record| record.0);
    let order: Vec<(Stream, u64)> =
        all.iter().map(|record| (record.1, record.2)).filter(|(_, offset)| *offset < 9).collect();
    use Stream::{Stderr, Stdout};
    assert_eq!(order, [(Stdout, 0), (Stderr, 0), (Stdout, 3), (Stderr, 3), (Stdout, 6), (Stderr, 6)]);
    assert!(all.windows(2).all(|pair| pair[0].3 <= pair[1].3), "{all:?}");
}

#[test]
fn exit_codes_signals_and_usage_are_told() {
    let rig = Rig::new();
    let mut client = rig.manager();
    for (script, status) in [
        ("exit 0", ExitStatus::Code(0)),
        ("exit 255", ExitStatus::Code(255)),
        ("kill -TERM $$", ExitStatus::Signal(15)),
        ("kill -KILL $$", ExitStatus::Signal(9)),
    ] {
        let process = client.spawn(shell(script, script));
        let exit = client.wait_exit(process.id);
        assert_eq!(exit.status, status, "{script}");
        assert!(exit.rusage.max_rss_kib > 100, "{script}: {exit:?}");
        assert!(exit.realtime_ns > process.started_ns);
    }
}

#[test]
fn signals_reach_whom_they_are_meant_for() {
    let rig = Rig::new();
    let mut client = rig.manager();
    let process = client.spawn(shell("tree", "sh -c 'sleep 1000 & wait' & setsid sleep 1000 & wait"));
    let descendants = rig::eventually("the tree has grown", || {
        let pids = client.signal(process.id, 0, Target::Descendants);
        if pids.len() == 3 { Ok(pids) } else { Err(pids) }
    });
    let children = client.signal(process.id, 0, Target::Children);
    assert_eq!(children.len(), 2, "{children:?}");
    assert!(children.iter().all(|child| descendants.contains(child)));
    assert_eq!(client.signal(process.id, 0, Target::Tree).len(), 4);
    assert_eq!(client.signal(process.id, 0, Target::Descendant(descendants[0])), [descendants[0]]);
    assert_eq!(client.signal(process.id, 0, Target::Descendant(1)), [0; 0]);
    assert_eq!(client.signal(process.id, 9, Target::Main), [process.pid]);
    client.wait_exit(process.id);
    assert_eq!(client.signal(process.id, 15, Target::Main), [0; 0]);
    // One of them is in a session of its own; it was seen before and is still known.
    let left = client.signal(process.id, 9, Target::Tree);
    assert_eq!(left.len(), 3, "{left:?}");
    rig::eventually("all are gone", || {
        let alive: Vec<_> = descendants.iter().filter(|pid| rig::lives(**pid)).collect();
        alive.is_empty().then_some(()).ok_or(format!("{alive:?}"))
    });
}

#[test]
fn an_orphan_in_a_session_of_its_own_is_known_by_its_pipes() {
    let rig = Rig::new();
    let mut client = rig.manager();
    let process = client.spawn(shell("orphan", "setsid sh -c 'echo $$; exec sleep 1000' & exit 0"));
    client.wait_exit(process.id);
    let mut output = client.open(process.id);
    let pid: i32 = rig::eventually("it has told its pid", || {
        let head = client.list()[0].streams[0].head;
        output.read_to(Stream::Stdout, head);
        let said = text(&output.bytes(Stream::Stdout));
        said.trim().parse().ok().ok_or(said)
    });
    assert_eq!(client.signal(process.id, 9, Target::Tree), [pid]);
    rig::eventually("it is gone", || (!rig::lives(pid)).then_some(()).ok_or(pid));
}
