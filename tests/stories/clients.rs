//! Programs of other people, unchanged from PyPI: Circus's client classes, its plugin base class, and chaussette.

use anyhow::{Context, Result, ensure};
use ringmaster_tests::stack::{PATIENCE, Stack};
use ringmaster_tests::venv::Venv;
use ringmaster_tests::wait::wait_until;
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Stdio};

fn client(stack: &Stack, what: &str) -> Result<Child> {
    let words = crate::python("clients.py")?;
    let (python, script) = words.split_once(' ').context("an interpreter and a script")?;
    let mut command = stack.sandbox.command(python);
    command.args([script, &stack.sandbox.endpoint(), &stack.sandbox.pubsub_endpoint(), what]);
    Ok(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?)
}

fn said(child: Child) -> Result<Value> {
    let output = child.wait_with_output()?;
    let (text, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{}: {error}", output.status);
    serde_json::from_str(text.trim()).with_context(|| format!("{text:?} {error}"))
}

#[test]
fn circuss_own_classes_drive_it() -> Result<()> {
    let mut stack = Stack::new("classes", "", "[watcher:a]\ncmd = sleep 3600\n")?;
    stack.start()?;
    ensure!(said(client(&stack, "async")?)? == json!(["ok", 1, "active"]));
    // The consumer sees what the plugin causes.
    let consumer = client(&stack, "consumer")?;
    let plugin = said(client(&stack, "plugin")?)?;
    ensure!(plugin == json!([["a"], true]), "{plugin}");
    let mut consumer = Some(consumer);
    wait_until(PATIENCE, "the consumer has seen a spawn and a reap", || {
        let ended = consumer.as_mut().map(|child| child.try_wait());
        if let Some(Ok(Some(_))) = ended {
            return Ok(());
        }
        let restarted = stack.call("restart", &json!({"name": "a", "waiting": true}));
        Err(format!("{restarted:?}"))
    })?;
    ensure!(said(consumer.take().context("it runs")?)? == json!(true));
    stack.end()
}

#[test]
fn chaussette_serves_on_a_socket_of_the_core() -> Result<()> {
    let mut stack = Stack::new("chaussette", "", "")?;
    let port = stack.sandbox.port(3);
    let chaussette = Venv::get()?.program("chaussette").display().to_string();
    let rest = format!(
        "[watcher:web]\ncmd = {chaussette} --fd $(circus.sockets.web)\nuse_sockets = True\nnumprocesses = 2\n\
         copy_env = True\n[socket:web]\nhost = 127.0.0.1\nport = {port}\n"
    );
    stack.configure("", &rest)?;
    stack.start()?;
    let get = || -> Result<String> {
        let mut connection = TcpStream::connect(("127.0.0.1", port))?;
        connection.set_read_timeout(Some(PATIENCE))?;
        connection.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer)?;
        ensure!(answer.contains("200 OK"), "{answer}");
        Ok(answer)
    };
    get().with_context(|| stack.sandbox.logs())?;
    stack.kill_daemon()?;
    get().context("without circusd")?;
    stack.start()?;
    stack.call("reload", &json!({"name": "web", "waiting": true}))?;
    get().context("after a reload")?;
    stack.end()
}

/// Commands of each client are twice as many; a lost reply would take its client's own minute and be told.
const ROUNDS: &str = "12";

#[test]
fn a_storm_of_commands_loses_no_reply() -> Result<()> {
    let watchers: String =
        (0..10).map(|n| format!("[watcher:w{n}]\ncmd = sleep 3600\ngraceful_timeout = 2\n")).collect();
    let crashing = "[watcher:crash]\ncmd = sleep 0.2\nnumprocesses = 5\n";
    let mut stack = Stack::new("storm", "check_delay = 0.5", &format!("{watchers}{crashing}"))?;
    stack.start()?;
    let words = crate::python("storm.py")?;
    let (python, script) = words.split_once(' ').context("an interpreter and a script")?;
    let output = stack.sandbox.command(python).args([script, &stack.sandbox.endpoint(), "50", ROUNDS]).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let found: Value = serde_json::from_str(text.trim())
        .with_context(|| format!("{text} {}", String::from_utf8_lossy(&output.stderr)))?;
    println!("50 clients, {ROUNDS} rounds: {found}");
    ensure!(found.get("problems") == Some(&json!([])), "{found}");
    ensure!(found.get("status") == Some(&json!(600)), "{found}");
    stack.end()
}
