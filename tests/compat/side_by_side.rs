//! Where ours differs from Circus's one lock for everything: commands on different watchers run side by side, commands
//! on one watcher wait for each other, and only what truly excludes each other is refused.

use anyhow::{Result, ensure};
use ringmaster_tests::stack::Stack;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Ignores its stop signal for this long.
const STUBBORN: Duration = Duration::from_secs(3);

fn stack(name: &str) -> Result<Stack> {
    let rest = format!(
        "[watcher:hold]\ncmd = /bin/sh -c \"trap '' TERM; while true; do sleep 1; done\"\ngraceful_timeout = {}\n\
         [watcher:alpha]\ncmd = sleep 3600\n",
        STUBBORN.as_secs()
    );
    let mut stack = Stack::new(name, "", &rest)?;
    stack.start()?;
    Ok(stack)
}

fn is_ok(reply: &Value) -> bool {
    reply.get("status") == Some(&json!("ok"))
}

#[test]
fn a_slow_stop_of_one_watcher_hinders_no_other() -> Result<()> {
    let mut stack = stack("beside")?;
    stack.call("stop", &json!({"name": "hold"}))?;
    let begin = Instant::now();
    for (command, more) in [("incr", json!(2)), ("decr", json!(1)), ("restart", Value::Null), ("stop", Value::Null)] {
        let mut properties = json!({"name": "alpha", "waiting": true});
        if !more.is_null() {
            properties = json!({"name": "alpha", "waiting": true, "nb": more});
        }
        let reply = stack.call(command, &properties)?;
        ensure!(is_ok(&reply), "{command}: {reply}");
    }
    ensure!(begin.elapsed() < STUBBORN, "alpha waited for hold: {:?}", begin.elapsed());
    let status = stack.call("status", &json!({"name": "hold"}))?;
    ensure!(status.get("status") == Some(&json!("stopping")), "{status}");
    stack.end()
}

#[test]
fn commands_on_one_watcher_wait_for_each_other() -> Result<()> {
    let mut stack = stack("queue")?;
    let before = stack.pids("hold")?;
    stack.call("stop", &json!({"name": "hold"}))?;
    let reply = stack.call("start", &json!({"name": "hold", "waiting": true}))?;
    ensure!(is_ok(&reply), "{reply}");
    let after = stack.pids("hold")?;
    ensure!(after.len() == 1 && after != before, "{before:?} became {after:?}");
    stack.end()
}

#[test]
fn a_command_during_quit_is_refused_and_says_why() -> Result<()> {
    let mut stack = stack("quitting")?;
    stack.call("quit", &json!({}))?;
    let endpoint = stack.sandbox.endpoint();
    let reply = stack.driver.call(&endpoint, "start", &json!({"name": "alpha"}))?;
    let reason = reply.get("reason").and_then(Value::as_str).unwrap_or_default();
    ensure!(reason == "arbiter is already running arbiter_stop command", "{reply}");
    ensure!(reply.get("errno") == Some(&json!(5)), "{reply}");
    if let Some(mut daemon) = stack.daemon.take() {
        let code = daemon.wait(ringmaster_tests::stack::PATIENCE)?;
        ensure!(code == 0, "ended with {code}");
    }
    stack.sandbox.finish()
}
