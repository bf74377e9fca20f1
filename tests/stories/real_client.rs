//! People's existing tools drive it unchanged: the real `circusctl` 0.19 and `circus.client`.

use anyhow::{Context, Result, ensure};
use ringmaster_tests::daemon::{exit_code, subject};
use ringmaster_tests::stack::Stack;
use ringmaster_tests::venv::Venv;
use serde_json::{Value, json};

const WATCHERS: &str = "[watcher:alpha]\ncmd = sleep 3600\nnumprocesses = 2\n[watcher:idle]\ncmd = sleep 3600\n\
                        autostart = False\n[socket:web]\nhost = 127.0.0.1\nport = 0\n";

/// Runs the real `circusctl` and gives what it wrote on standard output; its exit status must be `status`.
fn circusctl(stack: &Stack, status: i32, words: &[&str]) -> Result<String> {
    let output = stack
        .sandbox
        .command(Venv::get()?.program("circusctl"))
        .args(["--endpoint", &stack.sandbox.endpoint()])
        .args(words)
        .output()?;
    let code = exit_code(output.status);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(code == status, "circusctl {words:?} ended with {code}: {error}");
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[test]
fn the_real_circusctl_drives_it() -> Result<()> {
    let mut stack = Stack::new("ctl", "", WATCHERS)?;
    stack.start()?;
    for (words, answer) in [
        (vec!["list"], "alpha,idle"),
        (vec!["status"], "alpha: active\nidle: stopped"),
        (vec!["incr", "alpha", "--waiting"], "3"),
        (vec!["decr", "alpha", "2", "--waiting"], "1"),
        (vec!["stop", "alpha", "--waiting"], "ok"),
        (vec!["status", "alpha"], "stopped"),
        (vec!["start", "alpha", "--waiting"], "ok"),
        (vec!["restart", "alpha", "--waiting"], "ok"),
        (vec!["signal", "alpha", "0"], "ok"),
        (vec!["numprocesses", "alpha"], "1"),
        (vec!["get", "alpha", "cmd"], "cmd: sleep 3600"),
    ] {
        let found = circusctl(&stack, 0, &words)?;
        ensure!(found == answer, "circusctl {words:?}: {found:?}, not {answer:?}");
    }
    let stats = circusctl(&stack, 0, &["stats", "alpha"])?;
    ensure!(stats.contains("sleep"), "{stats}");
    let options = circusctl(&stack, 0, &["options", "alpha"])?;
    ensure!(options.contains("numprocesses: 1"), "{options}");
    circusctl(&stack, 3, &["start", "nosuch"])?;
    circusctl(&stack, 0, &["quit", "--waiting"])?;
    let code = stack.daemon.take().context("circusd runs")?.wait(ringmaster_tests::stack::PATIENCE)?;
    ensure!(code == 0, "circusd ended with {code}");
    stack.sandbox.finish()
}

#[test]
fn the_real_client_drives_it() -> Result<()> {
    let mut stack = Stack::new("client", "", WATCHERS)?;
    stack.start()?;
    let alpha = |more: Value| -> Value {
        let mut properties = json!({"name": "alpha", "waiting": true});
        if let (Some(all), Some(more)) = (properties.as_object_mut(), more.as_object()) {
            all.extend(more.clone());
        }
        properties
    };
    let steps = [
        ("incr", alpha(json!({"nb": 2})), "numprocesses", json!(4)),
        ("decr", alpha(json!({"nb": 3})), "numprocesses", json!(1)),
        ("stop", alpha(json!({})), "info", Value::Null),
        ("status", json!({"name": "alpha"}), "status", json!("stopped")),
        ("start", alpha(json!({})), "status", json!("ok")),
        ("signal", alpha(json!({"signum": "TERM"})), "status", json!("ok")),
    ];
    for (command, properties, key, wanted) in steps {
        let reply = stack.call(command, &properties)?;
        ensure!(reply.get(key) == Some(&wanted), "{command} {properties}: {reply}");
    }
    stack.await_count("alpha", 1)?;
    let restarted = stack.call("restart", &alpha(json!({})))?;
    let started = restarted.pointer("/info/started").and_then(Value::as_array).map(Vec::len);
    ensure!(started == Some(1), "{restarted}");
    let stats = stack.call("stats", &json!({}))?;
    ensure!(stats.pointer("/infos/alpha").is_some(), "{stats}");
    let options = stack.call("options", &json!({"name": "alpha"}))?;
    ensure!(options.pointer("/options/cmd") == Some(&json!("sleep 3600")), "{options}");
    println!("driven: {:?}", subject());
    stack.end()
}

#[test]
fn events_reach_a_subscriber_in_order() -> Result<()> {
    let mut stack = Stack::new("events", "", "[watcher:a]\ncmd = sleep 3600\n")?;
    let pubsub = stack.sandbox.pubsub_endpoint();
    stack.start()?;
    stack.driver.subscribe(&pubsub)?;
    // A subscription takes a moment to arrive; a restart later its events must be complete.
    ringmaster_tests::wait::wait_until(ringmaster_tests::stack::PATIENCE, "a first event", || {
        stack.call("restart", &json!({"name": "a", "waiting": true})).map_err(|error| error.to_string())?;
        let events = stack.driver.events(std::time::Duration::from_millis(300), Some(5));
        events
            .map_err(|error| error.to_string())
            .and_then(|events| if events.len() >= 5 { Ok(()) } else { Err(format!("{events:?}")) })
    })?;
    stack.driver.events(std::time::Duration::from_millis(300), None)?;
    stack.call("stop", &json!({"name": "a", "waiting": true}))?;
    let events = stack.driver.events(std::time::Duration::from_secs(5), Some(3))?;
    let topics: Vec<&str> = events.iter().map(|event| event.topic.as_str()).collect();
    ensure!(topics == ["watcher.a.kill", "watcher.a.reap", "watcher.a.stop"], "{topics:?}");
    stack.end()
}
