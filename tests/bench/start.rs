//! Start of 500 processes: until the last child's first instruction, and processor time per child.

use crate::child::{await_records, milliseconds, now, program};
use crate::{Figure, Peer};
use anyhow::Result;
use ringmaster_tests::stack::Stack;
use rustix::process::{Signal, getpid};
use std::process::{Child, Command};
use std::time::Duration;

const COUNT: u32 = 500;

pub fn measure(peer: Peer) -> Result<Vec<Figure>> {
    let (wall, processor) = match peer.subject() {
        None => {
            let bare = Bare::start(COUNT)?;
            let measured = (bare.wall, bare.used);
            bare.end()?;
            measured
        }
        Some(subject) => {
            let mut stack = Stack::empty("bench-start", subject)?;
            let file = stack.sandbox.work().join("records");
            let command = format!("{} {}", program()?.display(), file.display());
            stack.configure("", &format!("[watcher:a]\ncmd = {command}\nnumprocesses = {COUNT}\n"))?;
            stack.driver.await_ready()?;
            let begin = now();
            stack.spawn()?;
            let last = await_records(&file, usize::try_from(COUNT)?)?.iter().map(|record| record.at).max();
            stack.await_answer()?;
            let used: Duration = stack.own_processes().iter().filter_map(|pid| exact_cpu(*pid)).sum();
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

/// Processor time of all threads of a process so far (proc(5), `schedstat`: exact, where `stat` counts ticks).
pub fn exact_cpu(pid: i32) -> Option<Duration> {
    let of = |task: std::fs::DirEntry| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        Some(Duration::from_nanos(text.split_whitespace().next()?.parse().ok()?))
    };
    Some(std::fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten().filter_map(of).sum())
}

/// posix_spawn in a loop.
pub struct Bare {
    children: Vec<Child>,
    /// Milliseconds until the last child's first instruction.
    pub wall: f64,
    /// Processor time of the loop.
    pub used: Duration,
}

impl Bare {
    /// Starts so many and waits for them.
    pub fn start(count: u32) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("records");
        let program = program()?;
        let own = getpid().as_raw_nonzero().get();
        let (begin, before) = (now(), exact_cpu(own).unwrap_or_default());
        let mut children = Vec::new();
        for _ in 0..count {
            children.push(Command::new(&program).arg(&file).spawn()?);
        }
        let used = exact_cpu(own).unwrap_or_default() - before;
        let last = await_records(&file, usize::try_from(count)?)?.iter().map(|record| record.at).max();
        Ok(Self { children, wall: milliseconds(begin, last.unwrap_or(begin)), used })
    }

    /// Kills all of them, then waits for each.
    pub fn end(mut self) -> Result<()> {
        for child in &self.children {
            ringmaster_tests::processes::signal(i32::try_from(child.id())?, Signal::KILL);
        }
        for child in &mut self.children {
            child.wait()?;
        }
        Ok(())
    }
}
