//! Papa's text protocol within bounds: memory, wake-ups, what is left behind, who has the socket.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test ends by panicking"
)]

mod rig;

use rig::{PATIENCE, Rig, Talk, eventually, text};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// A figure of `/proc/PID/status`.
fn figure(pid: i32, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.split_whitespace().find_map(|word| word.parse().ok()).unwrap()
}

fn shown(talk: &mut Talk<UnixStream>, row: &str) -> u64 {
    let said = talk.ask("status");
    let line = said.lines().find_map(|line| line.strip_prefix(row)).unwrap();
    line.split_whitespace().find_map(|word| word.parse().ok()).unwrap()
}

#[test]
fn questions_whose_answers_nobody_reads_wait_and_are_answered_later() {
    let rig = Rig::new();
    let (mut talk, pid) = (Talk::new(&rig), rig.kernel_pid());
    let before = figure(pid, "VmRSS:");
    // Each answer is a hundred times as long as its question.
    talk.stream.set_nonblocking(true).unwrap();
    let (mut sent, lines) = (0, b"help make process\n".repeat(4096));
    let deadline = Instant::now() + PATIENCE;
    let mut stuck = None;
    // Full for a second: the core has stopped reading.
    while stuck.is_none_or(|since: Instant| since.elapsed() < Duration::from_secs(1)) {
        assert!(Instant::now() < deadline, "the core goes on reading after {sent} bytes");
        match talk.stream.write(&lines[sent % lines.len()..]) {
            Ok(count) => (sent, stuck) = (sent + count, None),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                stuck.get_or_insert_with(Instant::now);
                std::thread::park_timeout(Duration::from_millis(5));
            }
            Err(error) => panic!("{error}"),
        }
    }
    let grown = figure(pid, "VmRSS:").saturating_sub(before);
    assert!(grown < 8 << 10, "{grown} KiB more");
    // The others are served meanwhile.
    assert_eq!(Talk::new(&rig).ask("get a"), "");
    talk.stream.set_nonblocking(false).unwrap();
    let asked = sent / b"help make process\n".len();
    let mut said = Vec::new();
    let answers = |said: &[u8]| said.windows(5).filter(|window| window == b"make ").count();
    let mut count = 0;
    while count < asked {
        let mut bytes = vec![0; 1 << 20];
        let got = talk.stream.read(&mut bytes).unwrap();
        said.extend_from_slice(&bytes[..got]);
        // Whole answers are counted and thrown away.
        let whole = said.windows(3).rposition(|window| window == b"\n> ").map_or(0, |at| at + 3);
        count += answers(&said[..whole]);
        said.drain(..whole);
    }
    assert_eq!(count, asked);
}

#[test]
fn a_watcher_that_reads_nothing_costs_one_batch() {
    let rig = Rig::new();
    let (mut talk, pid) = (Talk::new(&rig), rig.kernel_pid());
    let before = figure(pid, "VmRSS:");
    talk.ask("make process fast bufsize=1m /bin/sh -c head\\ -c\\ 60000000\\ /dev/zero;exec\\ sleep\\ 1000");
    talk.send("watch processes fast");
    let mut other = Talk::new(&rig);
    eventually("everything is written or dropped", || {
        let all = shown(&mut other, "lost") + shown(&mut other, "buffered");
        Some(()).filter(|()| all >= 60_000_000).ok_or(all)
    });
    let grown = figure(pid, "VmRSS:").saturating_sub(before);
    assert!(grown < 8 << 10, "{grown} KiB more");
    other.ask("signal fast KILL");
}

#[test]
fn what_is_dropped_is_counted() {
    let rig = Rig::new();
    let mut talk = Talk::new(&rig);
    talk.ask("make process o bufsize=64k /bin/sh -c head\\ -c\\ 1000000\\ /dev/zero");
    eventually("it has ended", || {
        let line = talk.ask("list processes");
        line.contains("running=False").then_some(()).ok_or(line)
    });
    let items = talk.watch("o");
    let heads = items.lines().filter(|line| line.trim_start_matches('\0').starts_with("out:o:"));
    let seen: u64 = heads.map(|line| line.rsplit(':').next().unwrap().parse::<u64>().unwrap()).sum();
    assert!((1..=64 << 10).contains(&seen), "{seen} bytes seen");
    assert_eq!(shown(&mut talk, "lost") + seen, 1_000_000);
}

#[test]
fn a_silent_watch_wakes_nobody() {
    let rig = Rig::new();
    let (mut talk, _idle, pid) = (Talk::new(&rig), Talk::new(&rig), rig.kernel_pid());
    talk.ask("make process quiet /bin/sh -c echo\\ begun;exec\\ sleep\\ 1000");
    talk.send("watch processes quiet");
    talk.until("] ");
    talk.send("");
    talk.stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    assert!(talk.stream.read(&mut [0]).is_err(), "there is nothing more to show");
    let before = figure(pid, "voluntary_ctxt_switches:");
    talk.stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    assert!(talk.stream.read(&mut [0]).is_err());
    let woken = figure(pid, "voluntary_ctxt_switches:") - before;
    assert!(woken <= 1, "{woken} wake-ups");
}

#[test]
fn a_socket_that_failed_leaves_nothing() {
    let rig = Rig::new();
    let mut talk = Talk::new(&rig);
    let fds = rig.open_fds();
    let path = rig.run.path().join("s");
    for _ in 0..3 {
        let wrong = talk.ask(&format!("make socket s type=dgram path={}", path.display()));
        assert_eq!(wrong, "Error: [Errno 95] Operation not supported");
        let wrong = talk.ask(&format!("make socket t path={}/s", path.display()));
        assert_eq!(wrong, "Error: Bind failed: [Errno 2] No such file or directory");
    }
    assert!(talk.ask(&format!("make socket s path={}", path.display())).starts_with("s family=unix"));
    assert_eq!(talk.ask("remove sockets"), "");
    assert_eq!((rig.open_fds(), path.exists()), (fds, false));
}

#[test]
fn a_socket_that_is_served_is_not_taken_over() {
    let mut rig = Rig { run: tempfile::tempdir().unwrap(), papa: None, groups: "on" };
    let path = rig.run.path().join("elsewhere");
    let path = path.to_str().unwrap().to_owned();
    rig.start_with(&["--instance", "default", "-u", &path]);
    let output = rig.command().args(["--instance", "other", "-u", &path]).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stderr).contains("something else accepts connections on this socket"));
    assert_eq!(Talk::new(&rig).ask("get a"), "");
}
