//! Processes that die: replaced at once, with back-off when they die at once, and never half of a tree.

use anyhow::{Result, ensure};
use ringmaster_tests::processes::{is_alive, signal};
use ringmaster_tests::stack::Stack;
use ringmaster_tests::wait::{stays_true, wait_until};
use rustix::process::Signal;
use serde_json::json;
use std::fs;
use std::time::{Duration, Instant};

/// A fifth of the default check_delay, and a thousand times what it should take: a loaded machine passes, polling does
/// not.
const AT_ONCE: Duration = Duration::from_secs(1);

/// A process that has run this long did not die at once (DESIGN §3).
const LONG_ENOUGH: Duration = Duration::from_millis(1200);

#[test]
fn a_crashed_process_is_replaced_at_once() -> Result<()> {
    let mut stack = Stack::new("respawn", "check_delay = 5", "[watcher:a]\ncmd = sleep 3600\nnumprocesses = 3\n")?;
    stack.start()?;
    let mut slowest = Duration::ZERO;
    for _ in 0..5 {
        let before = stack.await_count("a", 3)?;
        stays_true(LONG_ENOUGH, "the processes run", || {
            if before.iter().all(|pid| is_alive(*pid)) { Ok(()) } else { Err(format!("{before:?}")) }
        })?;
        let begin = Instant::now();
        for pid in &before {
            signal(*pid, Signal::KILL);
        }
        wait_until(Duration::from_secs(20), "three new processes", || match stack.pids("a") {
            Ok(now) if now.len() == 3 && now.iter().all(|pid| !before.contains(pid)) => Ok(()),
            other => Err(format!("{other:?}")),
        })?;
        slowest = slowest.max(begin.elapsed());
    }
    println!("slowest replacement of three: {slowest:?}");
    ensure!(slowest < AT_ONCE, "replaced after {slowest:?}");
    stack.end()
}

/// A busy loop starts hundreds of processes in this time; back-off up to check_delay starts a few.
#[test]
fn a_program_that_dies_at_once_is_retried_with_back_off() -> Result<()> {
    let count = "/bin/sh -c \"echo >> starts\"";
    let rest = format!("[watcher:dies]\ncmd = {count}\n[watcher:well]\ncmd = sleep 3600\n");
    let mut stack = Stack::new("backoff", "check_delay = 1", &rest)?;
    stack.start()?;
    let path = stack.sandbox.work().join("starts");
    let starts = || fs::read(&path).map(|lines| lines.len()).unwrap_or(0);
    wait_until(Duration::from_secs(20), "five starts", || {
        let now = starts();
        if now >= 5 { Ok(()) } else { Err(format!("{now} starts")) }
    })?;
    let (begin, before) = (Instant::now(), starts());
    stays_true(Duration::from_secs(4), "few starts", || {
        // One a second is what check_delay allows; two more for the edges.
        let (limit, now) = (before + 6, starts());
        if now <= limit { Ok(()) } else { Err(format!("{} starts in {:?}", now - before, begin.elapsed())) }
    })?;
    ensure!(starts() > before, "it is not tried any more");
    ensure!(stack.pids("well")?.len() == 1, "the healthy neighbour suffers");
    stack.end()
}

#[test]
fn a_tree_is_killed_whole() -> Result<()> {
    let tree = crate::python("tree.py")?;
    let rest = format!("[watcher:tree]\ncmd = {tree} numbers\ngraceful_timeout = 0.5\n");
    let mut stack = Stack::new("tree", "", &rest)?;
    stack.start()?;
    let path = stack.sandbox.work().join("numbers");
    let numbers = wait_until(Duration::from_secs(20), "child and grandchild run", || {
        fs::read_to_string(&path).map_err(|error| error.to_string())
    })?;
    let descendants: Vec<i32> = numbers.lines().filter_map(|line| line.parse().ok()).collect();
    ensure!(descendants.len() == 2, "{numbers:?}");
    stack.call("stop", &json!({"name": "tree", "waiting": true}))?;
    wait_until(Duration::from_secs(5), "no descendant lives", || {
        let left: Vec<&i32> = descendants.iter().filter(|pid| is_alive(**pid)).collect();
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?} live")) }
    })?;
    stack.end()
}

#[test]
fn respawn_can_be_switched_off() -> Result<()> {
    let rest = "[watcher:once]\ncmd = sleep 0.3\nrespawn = False\n[watcher:other]\ncmd = sleep 3600\n";
    let mut stack = Stack::new("once", "check_delay = 0.5", rest)?;
    stack.start()?;
    wait_until(Duration::from_secs(20), "the watcher stops", || {
        match stack.call("status", &json!({"name": "once"})) {
            Ok(reply) if reply.get("status") == Some(&json!("stopped")) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })?;
    stack.end()
}

#[test]
fn a_stop_is_not_refused_while_processes_crash() -> Result<()> {
    let rest = "[watcher:dies]\ncmd = sleep 0.05\nnumprocesses = 5\n[watcher:a]\ncmd = sleep 3600\n";
    let mut stack = Stack::new("busy", "check_delay = 0.1", rest)?;
    stack.start()?;
    for _ in 0..10 {
        stack.call("stop", &json!({"name": "a", "waiting": true}))?;
        stack.call("start", &json!({"name": "a", "waiting": true}))?;
    }
    stack.end()
}
