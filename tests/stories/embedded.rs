//! circusd inside of another program: the example of the manual, run.

use anyhow::{Context, Result, ensure};
use ringmaster_tests::daemon::{Daemon, Subject};
use ringmaster_tests::program::Program;
use ringmaster_tests::stack::{PATIENCE, Stack};
use ringmaster_tests::wait::wait_until;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::io::PipeWriter;

const WATCHERS: &str = "[watcher:a]\ncmd = sleep 3600\n[watcher:b]\ncmd = sleep 3600\nautostart = False\n";

/// The example as the stack's daemon, which reads its input from a pipe that stays open.
fn embedded(name: &str) -> Result<(Stack, PipeWriter)> {
    let mut stack = Stack::empty(name, Subject::Ringmaster)?;
    stack.configure("", WATCHERS)?;
    let (reader, writer) = std::io::pipe()?;
    let mut command = stack.sandbox.command(Program::Embedded.path()?);
    command.stdin(reader);
    stack.daemon = Some(stack.sandbox.start_command(command, &["circus.ini"])?);
    stack.await_answer()?;
    Ok((stack, writer))
}

/// What it has said, once it has said all.
fn said(stack: &Stack) -> Result<Vec<String>> {
    wait_until(PATIENCE, "the example has said its three lines", || {
        let text = stack.daemon.as_ref().map(Daemon::stdout).unwrap_or_default();
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        if lines.len() == 3 { Ok(lines) } else { Err(format!("{text}{}", stack.sandbox.logs())) }
    })
}

#[test]
fn the_example_runs_watchers_and_ends_them() -> Result<()> {
    let (mut stack, input) = embedded("embedded")?;
    let lines = said(&stack)?;
    let (topic, event) = lines[0].split_once(' ').context("an event")?;
    let event: Value = serde_json::from_str(event)?;
    let pids = stack.await_count("a", 2)?;
    let pid = event.get("process_pid").and_then(Value::as_i64).context("a pid")?;
    ensure!(topic == "watcher.a.spawn" && pids.iter().any(|known| i64::from(*known) == pid), "{lines:?} {pids:?}");
    let status: Value = serde_json::from_str(&lines[1])?;
    ensure!(status.get("statuses") == Some(&json!({"a": "active", "b": "stopped"})), "{status}");
    ensure!(
        lines[2].starts_with("'upgrade' is refused: ") && lines[2].contains("part of another program"),
        "{lines:?}"
    );
    // The end of its input ends it, and its services with it.
    drop(input);
    let mut daemon = stack.daemon.take().context("it was started")?;
    let code = daemon.wait(PATIENCE)?;
    ensure!(code == 0, "it ended with {code}\n{}", stack.sandbox.logs());
    stack.sandbox.finish()
}

/// A program that dies is to its services what a killed circusd is.
#[test]
fn a_circusd_takes_over_from_a_program_that_was_killed() -> Result<()> {
    let (mut stack, _input) = embedded("embedded-killed")?;
    said(&stack)?;
    let before = stack.await_count("a", 2)?;
    let mut daemon = stack.daemon.take().context("it was started")?;
    daemon.signal(Signal::KILL)?;
    ensure!(daemon.wait(PATIENCE)? == -9);
    stack.start()?;
    ensure!(stack.await_count("a", 2)? == before, "other processes than {before:?}");
    stack.end()
}
