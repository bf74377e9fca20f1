//! Start of 500 processes: until the last child's first instruction, and processor time per child.

use crate::child::{await_records, milliseconds, now, program};
use crate::{Figure, Peer};
use anyhow::Result;
use ringmaster_tests::processes::cpu;
use ringmaster_tests::stack::Stack;
use rustix::process::{Signal, getpid};
use std::process::{Child, Command};
use std::time::Duration;

const COUNT: u32 = 500;

pub fn measure(peer: Peer) -> Result<Vec<Figure>> {
    let (wall, processor) = match peer.subject() {
        None => bare()?,
        Some(subject) => {
            let mut stack = Stack::empty("bench-start", subject)?;
            let file = stack.sandbox.work().join("records");
            let command = format!("{} {}", program()?.display(), file.display());
            stack.configure("", &format!("[watcher:a]\ncmd = {command}\nnumprocesses = {COUNT}\n"))?;
            let begin = now();
            stack.spawn()?;
            let last = await_records(&file, usize::try_from(COUNT)?)?.iter().map(|record| record.at).max();
            stack.await_answer()?;
            let used: Duration = stack.own_processes().iter().filter_map(|pid| cpu(*pid)).sum();
            stack.end()?;
            (milliseconds(begin, last.unwrap_or(begin)), used)
        }
    };
    let per_child = processor.as_secs_f64() * 1e6 / f64::from(COUNT);
    Ok(vec![
        Figure { name: "start of 500, ms", value: wall },
        Figure { name: "  processor time per child, us", value: per_child },
    ])
}

/// posix_spawn in a loop.
fn bare() -> Result<(f64, Duration)> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("records");
    let program = program()?;
    let own = getpid().as_raw_nonzero().get();
    let (begin, before) = (now(), cpu(own).unwrap_or_default());
    let mut children = Vec::new();
    for _ in 0..COUNT {
        children.push(Command::new(&program).arg(&file).spawn()?);
    }
    let used = cpu(own).unwrap_or_default() - before;
    let last = await_records(&file, usize::try_from(COUNT)?)?.iter().map(|record| record.at).max();
    end_all(children)?;
    Ok((milliseconds(begin, last.unwrap_or(begin)), used))
}

fn end_all(children: Vec<Child>) -> Result<()> {
    for mut child in children {
        ringmaster_tests::processes::signal(i32::try_from(child.id())?, Signal::KILL);
        child.wait()?;
    }
    Ok(())
}
