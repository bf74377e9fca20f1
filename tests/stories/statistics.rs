//! Statistics: ours seen by Circus's own client and by our `circus-top`, and Circus's seen by ours.

use anyhow::{Context, Result, ensure};
use ringmaster_tests::daemon::Subject;
use ringmaster_tests::program::Program;
use ringmaster_tests::stack::{PATIENCE, Stack};
use ringmaster_tests::venv::Venv;
use ringmaster_tests::wait::wait_until;
use serde_json::{Value, json};
use std::net::TcpStream;

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

#[test]
fn our_circus_top_shows_a_real_circus() -> Result<()> {
    let (mut stack, endpoint) = configured("real-top", Subject::Circus)?;
    await_top(&mut stack, &endpoint)?;
    stack.end()
}
