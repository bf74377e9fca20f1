//! What it costs to look at 1,000 processes once a second, and what asking costs meanwhile.

use crate::{Figure, Peer, median};
use anyhow::{Context, Result, ensure};
use ringmaster_tests::processes::cpu;
use ringmaster_tests::program::Program;
use ringmaster_tests::sandbox::Sandbox;
use ringmaster_tests::stack::Stack;
use ringmaster_tests::terminal::Terminal;
use ringmaster_tests::wait::{pass, wait_until};
use serde_json::{Value, json};
use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const CHILDREN: usize = 1000;

/// Seconds over which processor time is counted.
const SPAN: Duration = Duration::from_secs(5);

/// Questions of each kind.
const QUESTIONS: usize = 5;

const NAMES: [&str; 6] = [
    "1,000 processes: one core, % for statistics",
    "  one core, % for circus-top",
    "  stats of all, ms",
    "  dstats, ms",
    "  status meanwhile, ms",
    "  circus-top: first picture after, ms",
];

pub fn measure(peer: Peer) -> Result<Vec<Figure>> {
    let Some(subject) = peer.subject() else {
        return Ok(vec![Figure { name: NAMES[0], value: bare()? * 1e2 }]);
    };
    let mut stack = Stack::empty("bench-sampling", subject)?;
    let endpoint = format!("tcp://127.0.0.1:{}", stack.sandbox.port(2));
    let circus = format!("statsd = True\nstats_endpoint = {endpoint}\n");
    stack.configure(&circus, &format!("[watcher:a]\ncmd = sleep 3600\nnumprocesses = {CHILDREN}\n"))?;
    stack.start()?;
    stack.await_count("a", CHILDREN)?;
    let publisher = *stack.pids("circusd-stats")?.first().context("circusd-stats runs")?;
    let program = Sandbox::program(subject, Program::CircusTop)?;
    let picture = first_picture(&stack, &program, &endpoint)?;
    let mut viewer = Viewer::start(&stack, &program.display().to_string(), &endpoint)?;
    let top = viewer.pid()?;
    // Both have seen all and are at rest.
    pass(Duration::from_secs(3));
    let used = || (cpu(publisher).unwrap_or_default(), cpu(top).unwrap_or_default());
    let before = used();
    pass(SPAN);
    let after = used();
    let percent = |used: Duration| used.as_secs_f64() / SPAN.as_secs_f64() * 1e2;
    let (status, dstats, stats) = (ask(&mut stack, "status")?, ask(&mut stack, "dstats")?, ask(&mut stack, "stats")?);
    let values = [percent(after.0 - before.0), percent(after.1 - before.1), stats, dstats, status, picture];
    viewer.end()?;
    // One that is still busy with a question whose asker has given up is waited for.
    wait_until(Duration::from_secs(60), "circusd answers", || {
        stack.call("numwatchers", &json!({})).map(drop).map_err(|error| format!("{error:#}"))
    })?;
    stack.end()?;
    Ok(NAMES.into_iter().zip(values).map(|(name, value)| Figure { name, value }).collect())
}

/// Milliseconds of one question; without end when it is not answered within the limit of the client.
fn ask(stack: &mut Stack, command: &str) -> Result<f64> {
    let mut times = Vec::new();
    for _ in 0..QUESTIONS {
        let begin = Instant::now();
        let Ok(reply) = stack.call(command, &json!({})) else {
            return Ok(f64::INFINITY);
        };
        times.push(begin.elapsed().as_secs_f64() * 1e3);
        let infos = reply.pointer("/infos/a").and_then(Value::as_object).map_or(0, serde_json::Map::len);
        ensure!(command != "stats" || infos == CHILDREN, "{infos} processes in {command}");
    }
    median(&times).context("questions")
}

/// Milliseconds from the start of `circus-top` to a picture with its own circusd in it.
fn first_picture(stack: &Stack, program: &std::path::Path, endpoint: &str) -> Result<f64> {
    let begin = Instant::now();
    let mut terminal = Terminal::sized(&stack.sandbox, (40, 80), program, &["--endpoint", endpoint])?;
    terminal.see_all(&["(circusd)", "(sum)"])?;
    let took = begin.elapsed().as_secs_f64() * 1e3;
    terminal.keys("\x03")?;
    terminal.end()?;
    Ok(took)
}

/// A `circus-top` on a terminal that script(1) gives it, and whose pictures nobody keeps.
struct Viewer {
    script: Child,
    endpoint: String,
}

impl Viewer {
    fn start(stack: &Stack, program: &str, endpoint: &str) -> Result<Self> {
        let mut command = stack.sandbox.command("script");
        let line = format!("exec {program} --endpoint {endpoint}");
        command.args(["--quiet", "--flush", "--command", &line, "/dev/null"]).env("TERM", "xterm");
        let script = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().context("script(1) is needed")?;
        Ok(Self { script, endpoint: endpoint.to_owned() })
    }

    /// The process of circus-top itself.
    fn pid(&self) -> Result<i32> {
        let parent = self.script.id();
        wait_until(Duration::from_secs(10), "circus-top runs", || {
            let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
            let pid = children.split_whitespace().next().and_then(|pid| pid.parse::<i32>().ok()).ok_or("no child")?;
            let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let is_it = line.contains("circus-top") && line.contains(&self.endpoint) && !line.contains("exec ");
            if is_it { Ok(pid) } else { Err(line) }
        })
    }

    fn end(&mut self) -> Result<()> {
        let killed = Command::new("kill").arg(self.pid()?.to_string()).status()?;
        ensure!(killed.success(), "circus-top cannot be ended");
        self.script.wait()?;
        Ok(())
    }
}

/// The share of a core of a loop that opens, reads and closes `stat` and `statm` of 1,000 processes once a second.
fn bare() -> Result<f64> {
    let children: Result<Vec<Child>, _> = (0..CHILDREN).map(|_| Command::new("sleep").arg("3600").spawn()).collect();
    let mut children = children?;
    let own = i32::try_from(std::process::id())?;
    let before = cpu(own).unwrap_or_default();
    let rounds = 10;
    for _ in 0..rounds {
        for child in &children {
            for file in ["stat", "statm"] {
                fs::read(format!("/proc/{}/{file}", child.id()))?;
            }
        }
    }
    let used = cpu(own).unwrap_or_default() - before;
    for child in &mut children {
        child.kill()?;
        child.wait()?;
    }
    Ok(used.as_secs_f64() / f64::from(rounds))
}
