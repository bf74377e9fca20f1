//! How long nobody is served when a half of the core is replaced or dies, with 1,000 children.

use crate::status::Client;
use crate::{Figure, Peer};
use anyhow::{Context, Result, ensure};
use ringmaster_tests::daemon::Subject;
use ringmaster_tests::processes::signal;
use ringmaster_tests::program::Program;
use ringmaster_tests::stack::Stack;
use rustix::process::Signal;
use serde_json::Value;
use std::process::Command;
use std::time::{Duration, Instant};

const CHILDREN: usize = 1000;

/// Upgrades in one measurement: enough for a 99th percentile over five rounds.
const UPGRADES: usize = 20;

pub fn measure(peer: Peer) -> Result<Vec<Figure>> {
    // Nobody else can be replaced.
    if peer.subject() != Some(Subject::Ringmaster) {
        return Ok(Vec::new());
    }
    let mut stack = Stack::empty("bench-halves", Subject::Ringmaster)?;
    stack.configure("", &format!("[watcher:a]\ncmd = sleep 3600\nnumprocesses = {CHILDREN}\nuse_papa = True\n"))?;
    stack.start()?;
    let children = stack.await_count("a", CHILDREN)?;
    let core = Core::find(&stack)?;
    let mut pauses = (0..UPGRADES).map(|_| core.upgrade()).collect::<Result<Vec<_>>>()?;
    pauses.sort_by(f64::total_cmp);
    let kernel = core.death(&["kernel_pid"])?;
    let keeper = core.death(&["keeper_pid"])?;
    let both = core.death(&["keeper_pid", "kernel_pid"])?;
    let manager = manager_restart(&mut stack)?;
    ensure!(stack.await_count("a", CHILDREN)? == children, "the same children");
    stack.end()?;
    let part = |of: usize| pauses.get(UPGRADES * of / 100).copied().unwrap_or(f64::NAN);
    Ok(vec![
        Figure { name: "upgrade with 1,000 children, p50 ms", value: part(50) },
        Figure { name: "  slowest of twenty, ms", value: part(95) },
        Figure { name: "death of the kernel half: status after, ms", value: kernel },
        Figure { name: "death of the keeper: status after, ms", value: keeper },
        Figure { name: "death of both: status after, ms", value: both },
        Figure { name: "circusd killed and started: control after, ms", value: manager },
    ])
}

/// Milliseconds from the start of another circusd, after SIGKILL to the first, until it answers a client that has waited in the
/// socket, which the core keeps.
fn manager_restart(stack: &mut Stack) -> Result<f64> {
    stack.kill_daemon()?;
    let begin = Instant::now();
    stack.spawn()?;
    Client::connect(stack.sandbox.port(0))?.ask()?;
    Ok(begin.elapsed().as_secs_f64() * 1e3)
}

/// The core of a stack, driven by its own command.
struct Core {
    socket: std::path::PathBuf,
    papa: std::path::PathBuf,
}

impl Core {
    fn find(stack: &Stack) -> Result<Self> {
        let run = std::fs::read_dir(stack.sandbox.run())?.next().context("an instance")??;
        Ok(Self { socket: run.path().join("sock"), papa: Program::Papa.path()? })
    }

    fn run(&self, command: &str) -> Result<std::process::Output> {
        let mut papa = Command::new(&self.papa);
        Ok(papa.args([command, "--json", "-u"]).arg(&self.socket).output()?)
    }

    fn status(&self) -> Option<Value> {
        let output = self.run("status").ok().filter(|output| output.status.success())?;
        serde_json::from_slice(&output.stdout).ok()
    }

    /// Milliseconds without service, as the new core tells them.
    fn upgrade(&self) -> Result<f64> {
        let output = Command::new(&self.papa).arg("upgrade").arg(&self.papa).arg("-u").arg(&self.socket).output()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut words = said.split_whitespace().filter_map(|word| word.parse::<f64>().ok());
        Ok(words.next_back().with_context(|| format!("{output:?}"))? / 1000.0)
    }

    /// Kills these and gives milliseconds until a status is answered. Both are stopped first, so that none acts on the
    /// other's death.
    fn death(&self, halves: &[&str]) -> Result<f64> {
        let before = self.status().context("a core serves")?;
        let pids: Vec<i32> = halves.iter().filter_map(|half| before.get(half)?.as_i64()?.try_into().ok()).collect();
        for pid in &pids {
            signal(*pid, Signal::STOP);
        }
        let begin = Instant::now();
        for pid in &pids {
            signal(*pid, Signal::KILL);
        }
        let limit = Duration::from_secs(30);
        loop {
            let changed = |status: &Value| status.get("kernel_pid") != before.get("kernel_pid");
            if self.status().is_some_and(|status| changed(&status)) {
                return Ok(begin.elapsed().as_secs_f64() * 1e3);
            }
            ensure!(begin.elapsed() < limit, "no core serves after {limit:?}");
        }
    }
}
