//! From a child's death to the first instruction of its replacement.

use crate::child::{await_records, milliseconds, now, program, records};
use crate::{Figure, Peer, median};
use anyhow::{Context, Result};
use ringmaster_tests::processes::signal;
use ringmaster_tests::stack::Stack;
use ringmaster_tests::wait::pass;
use rustix::process::Signal;
use std::process::Command;
use std::time::Duration;

/// Children beside each other.
const CHILDREN: usize = 20;

/// A child that has lived longer than this did not die at once, and is replaced without back-off.
const LIFE: Duration = Duration::from_millis(1100);

/// Deaths of one round, and the time between two: together Circus's default check_delay, so that its latency is sampled
/// over the whole period.
const DEATHS: usize = 10;
const BETWEEN: Duration = Duration::from_millis(500);

pub fn measure(peer: Peer) -> Result<Vec<Figure>> {
    let times = match peer.subject() {
        None => bare()?,
        Some(subject) => {
            let mut stack = Stack::empty("bench-respawn", subject)?;
            let file = stack.sandbox.work().join("records");
            let command = format!("{} {}", program()?.display(), file.display());
            stack.configure("", &format!("[watcher:a]\ncmd = {command}\nnumprocesses = {CHILDREN}\n"))?;
            stack.start()?;
            let first = await_records(&file, CHILDREN)?;
            // All of the first generation are old enough before the first dies.
            pass(LIFE);
            let mut deaths = Vec::new();
            for victim in first.iter().take(DEATHS) {
                deaths.push(now());
                signal(victim.pid, Signal::KILL);
                pass(BETWEEN);
            }
            let all = await_records(&file, CHILDREN + DEATHS)?;
            let replacements = all.iter().skip(CHILDREN).map(|record| record.at);
            let times = deaths.into_iter().zip(replacements).map(|(death, life)| milliseconds(death, life)).collect();
            stack.end()?;
            times
        }
    };
    let value = median(&times).context("deaths")?;
    Ok(vec![Figure { name: "death to replacement, ms", value }])
}

/// Wait for the death, spawn.
fn bare() -> Result<Vec<f64>> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("records");
    let program = program()?;
    let mut times = Vec::new();
    let mut child = Command::new(&program).arg(&file).spawn()?;
    for round in 0..DEATHS {
        await_records(&file, round + 1)?;
        let death = now();
        signal(i32::try_from(child.id())?, Signal::KILL);
        child.wait()?;
        child = Command::new(&program).arg(&file).spawn()?;
        await_records(&file, round + 2)?;
        times.push(milliseconds(death, records(&file).last().context("a record")?.at));
    }
    signal(i32::try_from(child.id())?, Signal::KILL);
    child.wait()?;
    Ok(times)
}
