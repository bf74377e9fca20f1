//! A hundred idle children cost nothing but a little memory.
#![forbid(unsafe_code)]

use anyhow::{Context, Result, ensure};
use ringmaster_tests::daemon::{Subject, subject};
use ringmaster_tests::processes;
use ringmaster_tests::scrape::Page;
use ringmaster_tests::stack::Stack;
use ringmaster_tests::wait::{pass, wait_until};
use std::fs;
use std::time::Duration;

/// How many children.
const CHILDREN: u64 = 100;

/// More than twice the default check_delay: a tick of that period would be seen.
const SPAN: Duration = Duration::from_secs(12);

/// Resident memory of the core without children, with rings untouched, and of the manager; and per child of each.
const CORE_KIB: u64 = 4 << 10;
const MANAGER_KIB: u64 = 20 << 10;
const PER_CHILD_KIB: u64 = 4;

/// Unoptimised programs are larger; the bounds are for the released ones.
const DEBUG_FACTOR: u64 = if cfg!(debug_assertions) { 3 } else { 1 };

#[test]
fn a_hundred_idle_children_cost_nothing() -> Result<()> {
    let rest = format!("[watcher:idle]\ncmd = sleep 3600\nnumprocesses = {CHILDREN}\n");
    let mut stack = Stack::empty("idle", subject())?;
    let port = stack.sandbox.port(2);
    // A door that nobody comes through costs nothing either; the real Circus has none.
    let metrics = format!("metrics_endpoint = http://127.0.0.1:{port}/metrics\n");
    stack.configure(if subject() == Subject::Ringmaster { &metrics } else { "" }, &rest)?;
    stack.start()?;
    stack.await_count("idle", usize::try_from(CHILDREN)?)?;
    if subject() == Subject::Ringmaster {
        Page::scrape(port, "")?;
    }
    let own = stack.own_processes();
    let (manager, cores) = own.split_first().context("circusd runs")?;
    let mut watched = vec![("circusd", *manager, MANAGER_KIB)];
    watched.extend(cores.iter().map(|pid| ("papa", *pid, CORE_KIB)));
    ensure!(watched.len() > 1 || subject() == Subject::Circus, "no core found");
    for (name, pid, bound) in &watched {
        let resident = processes::status_number(*pid, "VmRSS").context("VmRSS")?;
        let bound = (bound + PER_CHILD_KIB * CHILDREN) * DEBUG_FACTOR;
        println!("{name} {pid}: {resident} KiB resident, at most {bound}");
        ensure!(resident <= bound, "{name} has {resident} KiB, more than {bound}");
    }
    let pids: Vec<i32> = watched.iter().map(|(_, pid, _)| *pid).collect();
    // What the start still has to do, up to the end of its helper threads, is done when the counts rest for as long.
    wait_until(Duration::from_secs(60), "the start is over", || {
        let before = switches(&pids);
        pass(SPAN);
        let after = switches(&pids);
        if before == after { Ok(()) } else { Err(format!("{before:?}, then {after:?}")) }
    })?;
    let before = switches(&pids);
    pass(SPAN);
    let after = switches(&pids);
    println!("context switches of {pids:?}: {before:?}, {SPAN:?} later {after:?}");
    ensure!(before == after, "woken without a cause: {before:?}, then {after:?}");
    stack.end()
}

/// Voluntary and involuntary context switches of all threads of each process.
fn switches(pids: &[i32]) -> Vec<u64> {
    let of_thread = |text: String| -> u64 {
        let counts = text.lines().filter(|line| line.contains("ctxt_switches"));
        counts.filter_map(|line| line.rsplit('\t').next()?.trim().parse::<u64>().ok()).sum()
    };
    let of_process = |pid: &i32| -> u64 {
        let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        threads.filter_map(|thread| fs::read_to_string(thread.path().join("status")).ok()).map(of_thread).sum()
    };
    pids.iter().map(of_process).collect()
}
