//! A thousand processes, and as many as 20,000 open files allow (four for each, `kernel/src/limits.rs`): their start, what they
//! cost while nothing happens, their stop.

use crate::child::{await_records, milliseconds, now, program};
use crate::start::{Bare, exact_cpu};
use crate::{Figure, Peer};
use anyhow::{Context, Result};
use ringmaster_tests::processes::status_number;
use ringmaster_tests::stack::Stack;
use ringmaster_tests::wait::pass;
use serde_json::json;
use std::fs;
use std::time::{Duration, Instant};

/// How long nothing happens: one period of Circus's default check_delay.
const SPAN: Duration = Duration::from_secs(5);

/// What is measured at one number of processes, in the order of [`Figures`].
const NAMES: [(u32, [&str; 7]); 2] = [
    (
        1000,
        [
            "start of 1,000, ms",
            "  processor time per child, us",
            "  of it the core's, us",
            "  idle: proportional memory (PSS), KiB",
            "  of it the core's, KiB",
            "  idle: context switches in 5 s",
            "  stop of 1,000, ms",
        ],
    ),
    (
        4900,
        [
            "start of 4,900, ms",
            "  processor time per child, us",
            "  of it the core's, us",
            "  idle: proportional memory (PSS), KiB",
            "  of it the core's, KiB",
            "  idle: context switches in 5 s",
            "  stop of 4,900, ms",
        ],
    ),
];

type Figures = [f64; 7];

pub fn measure(peer: Peer) -> Result<Vec<Figure>> {
    let mut all = Vec::new();
    for (count, names) in NAMES {
        // Circus does not come up with 4,900 within the minute that is waited.
        if peer == Peer::Circus && count > 1000 {
            continue;
        }
        let values = match peer.subject() {
            None => bare(count)?,
            Some(_) => stack(peer, count)?,
        };
        all.extend(names.into_iter().zip(values).map(|(name, value)| Figure { name, value }));
    }
    Ok(all)
}

/// Doing nothing costs a bare loop nothing, and it is its own core.
fn bare(count: u32) -> Result<Figures> {
    let bare = Bare::start(count)?;
    let (wall, used) = (bare.wall, micros(bare.used, count));
    let begin = Instant::now();
    bare.end()?;
    Ok([wall, used, used, 0.0, 0.0, 0.0, begin.elapsed().as_secs_f64() * 1e3])
}

fn stack(peer: Peer, count: u32) -> Result<Figures> {
    let mut stack = Stack::empty("bench-many", peer.subject().context("a daemon")?)?;
    let file = stack.sandbox.work().join("records");
    let command = format!("{} {}", program()?.display(), file.display());
    stack.configure("", &format!("[watcher:a]\ncmd = {command}\nnumprocesses = {count}\n"))?;
    stack.driver.await_ready()?;
    let begin = now();
    stack.spawn()?;
    let last = await_records(&file, usize::try_from(count)?)?.iter().map(|record| record.at).max();
    stack.await_answer()?;
    let own = stack.own_processes();
    let core: Vec<i32> = own.iter().copied().filter(|pid| is_core(*pid)).collect();
    let used = |pids: &[i32]| -> Duration { pids.iter().filter_map(|pid| exact_cpu(*pid)).sum() };
    let (all_used, core_used) = (micros(used(&own), count), micros(used(&core), count));
    pass(Duration::from_secs(2));
    let before = switches(&own);
    pass(SPAN);
    let switched = switches(&own) - before;
    let memory = |pids: &[i32]| number(pids.iter().filter_map(|pid| pss(*pid)).sum());
    let (all_memory, core_memory) = (memory(&own), memory(&core));
    let stopping = Instant::now();
    stack.call("stop", &json!({"waiting": true}))?;
    let stopped = stopping.elapsed().as_secs_f64() * 1e3;
    stack.end()?;
    let wall = milliseconds(begin, last.unwrap_or(begin));
    Ok([wall, all_used, core_used, all_memory, core_memory, number(switched), stopped])
}

fn micros(used: Duration, count: u32) -> f64 {
    used.as_secs_f64() * 1e6 / f64::from(count)
}

fn number(count: u64) -> f64 {
    u32::try_from(count).map_or(f64::INFINITY, f64::from)
}

fn is_core(pid: i32) -> bool {
    fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe.file_name().is_some_and(|name| name == "papa"))
}

fn switches(pids: &[i32]) -> u64 {
    let of = |key| pids.iter().filter_map(|pid| status_number(*pid, key)).sum::<u64>();
    of("voluntary_ctxt_switches") + of("nonvoluntary_ctxt_switches")
}

/// KiB of memory, what is shared divided by those who share it (proc(5), `smaps_rollup`).
fn pss(pid: i32) -> Option<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    line.split_whitespace().next()?.parse().ok()
}
