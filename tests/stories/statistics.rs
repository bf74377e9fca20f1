//! Statistics: ours seen by Circus's own client and by our `circus-top`, and Circus's seen by ours.

use anyhow::{Context, Result, ensure};
use ringmaster_tests::daemon::Subject;
use ringmaster_tests::program::Program;
use ringmaster_tests::stack::{PATIENCE, Stack};
use ringmaster_tests::terminal::Terminal;
use ringmaster_tests::venv::Venv;
use ringmaster_tests::wait::wait_until;
use serde_json::{Value, json};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;

/// One table of our `circus-top`.
fn top(stack: &Stack, endpoint: &str) -> Result<Value> {
    let mut command = stack.sandbox.command(Program::CircusTop.path()?);
    let output = command.args(["--endpoint", endpoint, "--once", "--json"]).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "{text} {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_str(&text).context(text)
}

/// Waits until `circus-top` shows exactly these processes of `alpha`, and what it shows then.
fn await_top(stack: &mut Stack, endpoint: &str) -> Result<Value> {
    let pids = stack.await_count("alpha", 2)?;
    let shown = wait_until(PATIENCE, "circus-top shows the processes of alpha", || {
        let table = top(stack, endpoint).map_err(|error| format!("{error:#}"))?;
        let all = table.pointer("/watchers/alpha/processes").and_then(Value::as_array);
        let shown = all.into_iter().flatten().filter_map(|process| process.get("pid")?.as_i64());
        let shown: Vec<i64> = shown.collect();
        let all_there = pids.iter().all(|pid| shown.contains(&i64::from(*pid))) && shown.len() == pids.len();
        if all_there { Ok(table) } else { Err(table.to_string()) }
    });
    shown.with_context(|| stack.sandbox.logs())
}

fn configured(name: &str, subject: Subject) -> Result<(Stack, String)> {
    let mut stack = Stack::empty(name, subject)?;
    let endpoint = format!("tcp://127.0.0.1:{}", stack.sandbox.port(2));
    let circus = format!("statsd = True\nstats_endpoint = {endpoint}\n");
    let web = stack.sandbox.port(3);
    let rest =
        format!("[watcher:alpha]\ncmd = sleep 3600\nnumprocesses = 2\n[socket:web]\nhost = 127.0.0.1\nport = {web}\n");
    stack.configure(&circus, &rest)?;
    stack.start()?;
    Ok((stack, endpoint))
}

#[test]
fn our_statistics_reach_circuss_client_and_our_circus_top() -> Result<()> {
    let (mut stack, endpoint) = configured("statistics", Subject::Ringmaster)?;
    let list = stack.call("list", &json!({}))?;
    ensure!(list.get("watchers") == Some(&json!(["alpha", "circusd-stats"])), "{list}");
    // A connection that nobody accepts is what `reads` counts.
    let _waiting = TcpStream::connect(("127.0.0.1", stack.sandbox.port(3)))?;
    let table = await_top(&mut stack, &endpoint)?;
    let names: Vec<&str> = table
        .pointer("/watchers/circus/processes")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|process| process.get("name")?.as_str())
        .collect();
    ensure!(names.contains(&"circusd") && names.contains(&"circusd-stats"), "{table}");
    let reads = table.pointer("/sockets/0/reads").and_then(Value::as_u64);
    ensure!(reads.is_some_and(|reads| reads > 0), "{table}");
    let python = Venv::get()?.program("python");
    let script = crate::python("statistics.py")?;
    let script = script.split_once(' ').context("a script")?.1.to_owned();
    let output = stack.sandbox.command(python).args([&script, &endpoint]).output()?;
    let said: Value =
        serde_json::from_slice(&output.stdout).with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    let pids = stack.pids("alpha")?;
    let aggregate = said.get("aggregate").and_then(Value::as_array).context("an aggregate")?;
    ensure!(pids.iter().all(|pid| aggregate.contains(&json!(pid))), "{said} {pids:?}");
    ensure!(said.get("top") == Some(&json!(true)), "{said}");
    stack.end()
}

/// The numbers of processes in a picture, in its order.
fn listed(picture: &[String]) -> Vec<i32> {
    picture.iter().filter_map(|line| line.split_whitespace().next()?.parse().ok()).collect()
}

#[test]
fn circus_top_is_sorted_and_chosen_by_keys_and_follows_the_size_of_its_terminal() -> Result<()> {
    let (mut stack, endpoint) = configured("top-keys", Subject::Ringmaster)?;
    await_top(&mut stack, &endpoint)?;
    let mut pids = stack.pids("alpha")?;
    pids.sort_unstable();
    let program = Program::CircusTop.path()?;
    let mut top = Terminal::sized(&stack.sandbox, (30, 80), &program, &["--endpoint", &endpoint])?;
    let whole = top.picture("(circusd-stats)")?;
    for text in ["Circus Top", "alpha", "CPU (%) v", "sockets", "127.0.0.1:", "q quit"] {
        ensure!(whole.iter().any(|line| line.contains(text)), "{text:?} is not in {whole:#?}");
    }
    ensure!(whole.len() <= 30 && whole.last().is_some_and(|line| line.contains("q quit")), "{whole:#?}");
    top.keys("w")?;
    ensure!(listed(&top.picture("Circus Top   alpha")?).len() == 2, "alpha alone has two processes");
    top.keys("p")?;
    let alone = top.picture("PID v")?;
    ensure!(listed(&alone) == pids && !alone.iter().any(|line| line.contains("sockets")), "{alone:#?}");
    top.keys("r")?;
    pids.reverse();
    let reversed = top.picture("PID ^")?;
    ensure!(listed(&reversed) == pids, "{reversed:#?}");
    // circus, circusd-stats, and all again.
    top.keys("www")?;
    top.picture("sockets")?;
    top.resize(9, 40)?;
    let small = wait_until(PATIENCE, "the picture fits into 9 lines of 40 columns", || {
        let picture = top.picture("Circus Top").map_err(|error| format!("{error:#}"))?;
        let fits = picture.len() <= 9 && picture.iter().all(|line| line.chars().count() <= 40);
        if fits { Ok(picture) } else { Err(format!("{picture:#?}")) }
    })?;
    ensure!(small.iter().any(|line| line.contains("alpha")), "{small:#?}");
    // What does not fit is below.
    top.keys("    ")?;
    top.picture("(sum)")?;
    top.keys("q")?;
    let (_, status) = top.end()?;
    ensure!(status == 0, "circus-top ends with {status}");
    stack.end()
}

/// An ssh that logs in nowhere: its near end is the socket of the statistics.
const SSH: &str = r#"#!/bin/sh
echo "$@" > "$TEST/arguments"
while [ "$1" != -L ]; do shift; done
ln -s "$TEST/stats" "${2%%:*}"
exec sleep 600
"#;

#[test]
fn circus_top_reaches_statistics_through_ssh() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let place = folder.path().join("stats");
    let mut stack = Stack::empty("top-ssh", Subject::Ringmaster)?;
    let circus = format!("statsd = True\nstats_endpoint = ipc://{}\n", place.display());
    stack.configure(&circus, "[watcher:alpha]\ncmd = sleep 3600\n")?;
    stack.start()?;
    let ssh = folder.path().join("ssh");
    std::fs::write(&ssh, SSH)?;
    std::fs::set_permissions(&ssh, std::fs::Permissions::from_mode(0o755))?;
    std::fs::create_dir(folder.path().join("run"))?;
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH")?);
    let pids = stack.await_count("alpha", 1)?;
    let shown = wait_until(PATIENCE, "circus-top shows alpha", || {
        let mut command = stack.sandbox.command(Program::CircusTop.path().map_err(|error| error.to_string())?);
        command.env("PATH", &path).env("TEST", folder.path()).env("XDG_RUNTIME_DIR", folder.path().join("run"));
        command.args(["--ssh", "ann@db1:2222", "--endpoint", "tcp://127.0.0.1:5999", "--once", "--json"]);
        let output = command.output().map_err(|error| error.to_string())?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let is_there = text.contains(&format!("\"pid\":{}", pids.first().unwrap_or(&0)));
        if is_there { Ok(text) } else { Err(format!("{text} {}", String::from_utf8_lossy(&output.stderr))) }
    })?;
    ensure!(shown.contains("\"alpha\""), "{shown}");
    let said = std::fs::read_to_string(folder.path().join("arguments"))?;
    ensure!(said.contains("127.0.0.1:5999") && said.contains("ann@db1"), "{said}");
    ensure!(std::fs::read_dir(folder.path().join("run"))?.next().is_none(), "the tunnel is left");
    stack.end()
}

#[test]
fn our_circus_top_shows_a_real_circus() -> Result<()> {
    let (mut stack, endpoint) = configured("real-top", Subject::Circus)?;
    await_top(&mut stack, &endpoint)?;
    stack.end()
}
