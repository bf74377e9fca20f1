//! What a hundred idle children cost.

use crate::{Figure, Peer};
use anyhow::Result;
use ringmaster_tests::processes::{cpu, status_number};
use ringmaster_tests::stack::Stack;
use ringmaster_tests::wait::pass;
use std::time::Duration;

const CHILDREN: usize = 100;

/// Two periods of Circus's default check_delay.
const SPAN: Duration = Duration::from_secs(10);

pub fn measure(peer: Peer) -> Result<Vec<Figure>> {
    let names = ["idle with 100 children, resident KiB", "  context switches in 10 s", "  processor time in 10 s, ms"];
    let Some(subject) = peer.subject() else {
        // Doing nothing costs a bare loop nothing.
        return Ok(names.into_iter().map(|name| Figure { name, value: 0.0 }).collect());
    };
    let mut stack = Stack::empty("bench-idle", subject)?;
    stack.configure("", &format!("[watcher:a]\ncmd = sleep 3600\nnumprocesses = {CHILDREN}\n"))?;
    stack.start()?;
    stack.await_count("a", CHILDREN)?;
    pass(Duration::from_secs(2));
    let own = stack.own_processes();
    let sum = |key: &str| own.iter().filter_map(|pid| status_number(*pid, key)).sum::<u64>();
    let switches = || sum("voluntary_ctxt_switches") + sum("nonvoluntary_ctxt_switches");
    let used = || -> Duration { own.iter().filter_map(|pid| cpu(*pid)).sum() };
    let before = (switches(), used());
    pass(SPAN);
    let after = (switches(), used());
    let resident = sum("VmRSS");
    stack.end()?;
    let number = |count: u64| u32::try_from(count).map_or(f64::INFINITY, f64::from);
    let values = [number(resident), number(after.0 - before.0), (after.1 - before.1).as_secs_f64() * 1e3];
    Ok(names.into_iter().zip(values).map(|(name, value)| Figure { name, value }).collect())
}
