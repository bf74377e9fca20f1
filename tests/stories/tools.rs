//! What circusctl has beyond Circus's: `tail` from the core's rings, and `drill`.

use crate::upgrade::ctl;
use anyhow::{Context, Result, ensure};
use ringmaster_tests::daemon::subject;
use ringmaster_tests::program::Program;
use ringmaster_tests::sandbox::Sandbox;
use ringmaster_tests::stack::{PATIENCE, Stack};
use ringmaster_tests::wait::wait_until;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::process::Stdio;

#[test]
fn tail_shows_what_is_in_the_rings_also_without_circusd() -> Result<()> {
    let watchers = "[watcher:w]\ncmd = sh -c 'for i in 1 2 3 4 5; do echo line $i; done; echo oops >&2; sleep 3600'\n\
                    stdout_stream.class = QueueStream\nstderr_stream.class = QueueStream\n\
                    [watcher:silent]\ncmd = sleep 3600\n";
    let mut stack = Stack::new("tail", "", watchers)?;
    stack.start()?;
    wait_until(PATIENCE, "everything is in the rings", || {
        let (said, complained, _) = ctl(&stack, &["tail", "w"]).map_err(|error| error.to_string())?;
        if said.lines().count() == 6 { Ok(()) } else { Err(format!("{said}{complained}")) }
    })?;
    stack.kill_daemon()?;
    let (said, complained, code) = ctl(&stack, &["tail", "-n", "2", "w", "stdout"])?;
    ensure!((said.as_str(), code) == ("line 4\nline 5\n", 0), "{said}{complained}");
    let (said, ..) = ctl(&stack, &["tail", "--time", "W", "stderr"])?;
    ensure!(said.ends_with(" oops\n") && said.starts_with("20"), "{said}");
    let (_, complained, code) = ctl(&stack, &["tail", "silent"])?;
    ensure!(code == 1 && complained.contains("is not captured"), "{complained}");
    let (_, complained, code) = ctl(&stack, &["tail", "nobody"])?;
    ensure!(code == 1 && complained.contains("no process of a watcher 'nobody'"), "{complained}");
    stack.end()
}

#[test]
fn tail_follows_what_comes_and_who_comes() -> Result<()> {
    let watchers =
        "[watcher:w]\ncmd = sh -c 'read go < go; echo gone on; sleep 3600'\nstdout_stream.class = QueueStream\n";
    let mut stack = Stack::new("follow", "", watchers)?;
    rustix::fs::mknodat(
        rustix::fs::CWD,
        stack.sandbox.work().join("go"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RWXU,
        0,
    )?;
    stack.start()?;
    let mut child = stack
        .sandbox
        .command(Sandbox::program(subject(), Program::Circusctl)?)
        .args(["--endpoint", &stack.sandbox.endpoint(), "tail", "-f", "w"])
        .stdout(Stdio::piped())
        .spawn()?;
    let mut lines = BufReader::new(child.stdout.take().context("a pipe was asked for")?).lines();
    for round in 0..2 {
        std::fs::write(stack.sandbox.work().join("go"), "go\n")?;
        let line = lines.next().context("a line")??;
        ensure!(line.ends_with("gone on"), "{line}");
        if round == 0 {
            // The next line is written by the process that replaces the first.
            stack.call("restart", &json!({"name": "w", "waiting": true}))?;
        }
    }
    child.kill()?;
    child.wait()?;
    stack.end()
}

#[test]
fn the_drill_of_a_sound_stack_is_clean() -> Result<()> {
    let mut stack = Stack::new("drill", "", "")?;
    let port = stack.sandbox.port(3);
    stack.configure(
        "",
        &format!(
            "[watcher:web]\ncmd = sleep 3600\nshell = True\nuse_sockets = True\nnumprocesses = 3\n\
             stdout_stream.class = FileStream\nstdout_stream.filename = web.log\n[socket:web]\nhost = 127.0.0.1\nport = {port}\n"
        ),
    )?;
    stack.start()?;
    let before = stack.pids("web")?;
    let (said, complained, code) = ctl(&stack, &["--json", "drill"])?;
    let receipt: Value = serde_json::from_str(&said).with_context(|| format!("{said}{complained}"))?;
    ensure!(code == 0 && receipt.get("clean") == Some(&json!(true)), "{receipt}{complained}");
    ensure!(receipt.get("processes_unchanged") == Some(&json!(3)), "{receipt}");
    ensure!(receipt.get("connections").and_then(Value::as_u64).is_some_and(|count| count > 0), "{receipt}");
    ensure!(complained.contains("nobody looks after it"), "{complained}");
    let mut killed = stack.daemon.take().context("it was started")?;
    ensure!(killed.wait(PATIENCE)? == -9);
    ensure!(stack.pids("web")? == before);
    // Both halves were killed in a row: the output of all is taken all the same, or the core would keep them.
    let (said, ..) = ctl(&stack, &["stop", "--waiting"])?;
    ensure!(said == "ok\n", "{said}");
    ctl(&stack, &["quit", "--waiting"])?;
    stack.sandbox.finish()
}

#[test]
fn a_drill_without_a_circusd_kills_nobody() -> Result<()> {
    let mut stack = Stack::new("nodrill", "", "[watcher:a]\ncmd = sleep 3600\nuse_papa = True\n")?;
    stack.start()?;
    stack.quit()?;
    let (said, complained, code) = ctl(&stack, &["drill"])?;
    ensure!(code == 1 && complained.contains("cannot reach circusd"), "{said}{complained}");
    stack.end()
}
