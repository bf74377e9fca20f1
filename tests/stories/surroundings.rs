//! What circusd has around it: discovery, the owner of its endpoint, syslog, virtualenvs, and its configuration in print.

use anyhow::{Context, Result, ensure};
use ringmaster_tests::daemon::Subject;
use ringmaster_tests::program::Program;
use ringmaster_tests::sandbox::Sandbox;
use ringmaster_tests::stack::{PATIENCE, Stack};
use ringmaster_tests::wait::wait_until;
use serde_json::{Value, json};
use std::fs;
use std::net::UdpSocket;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixDatagram;

const SLEEPER: &str = "[watcher:a]\ncmd = sleep 3600\n";

#[test]
fn who_asks_over_udp_is_told_the_endpoint() -> Result<()> {
    let mut stack = Stack::new("discovery", "", "")?;
    let port = stack.sandbox.port(4);
    let endpoint = stack.sandbox.endpoint();
    let circus = format!("multicast_endpoint = udp://237.219.251.97:{port}\n");
    let section = stack.sandbox.circus_section().replace("multicast_endpoint =\n", &circus);
    stack.sandbox.write("circus.ini", &format!("{section}{SLEEPER}"))?;
    stack.start()?;
    let client = UdpSocket::bind("127.0.0.1:0")?;
    client.set_read_timeout(Some(PATIENCE))?;
    for question in [b"\"\"".as_slice(), b"", b"garbage"] {
        client.send_to(question, ("127.0.0.1", port))?;
        let mut answer = [0; 200];
        let (length, _) = client.recv_from(&mut answer).with_context(|| stack.sandbox.logs())?;
        let answer = String::from_utf8_lossy(answer.get(..length).unwrap_or_default()).into_owned();
        ensure!(answer == format!("{{\"endpoint\": \"{endpoint}\"}}"), "{answer}");
    }
    stack.end()
}

#[test]
fn the_owner_of_the_endpoint_adds_only_what_runs_as_the_owner() -> Result<()> {
    if !rustix::process::getuid().is_root() {
        println!("only root can give files away");
        return Ok(());
    }
    let mut stack = Stack::new("owner", "", "")?;
    let path = stack.sandbox.work().join("ctl.sock");
    let endpoint = format!("ipc://{}", path.display());
    let text = format!(
        "[circus]\nendpoint = {endpoint}\npubsub_endpoint = {}\nmulticast_endpoint =\nendpoint_owner = nobody\n{SLEEPER}",
        stack.sandbox.pubsub_endpoint()
    );
    stack.sandbox.write("circus.ini", &text)?;
    stack.spawn()?;
    let nobody = wait_until(PATIENCE, "the endpoint is nobody's", || match fs::metadata(&path) {
        Ok(metadata) if metadata.uid() != 0 => Ok(metadata.uid()),
        other => Err(format!("{:?}", other.map(|metadata| metadata.uid()))),
    })?;
    ensure!(nobody == 65534, "{nobody}");
    let mut ask = |command: &str, properties: Value| stack.driver.call(&endpoint, command, &properties);
    let add =
        |options: Value| json!({"name": "x", "cmd": "sleep 3600", "options": options, "start": true, "waiting": true});
    let reason = |reply: &Value| reply.get("reason").and_then(Value::as_str).unwrap_or_default().to_owned();
    for options in [json!({}), json!({"uid": "root"}), json!({"uid": 65534})] {
        let reply = ask("add", add(options.clone()))?;
        ensure!(reason(&reply) == "uid does not match endpoint_owner", "{options}: {reply}");
    }
    let reply = ask("add", add(json!({"uid": "nobody", "gid": 0})))?;
    ensure!(reason(&reply).contains("'gid'"), "{reply}");
    let reply = ask("add", add(json!({"uid": "nobody"})))?;
    ensure!(reply.get("status") == Some(&json!("ok")), "{reply}");
    for (name, options, is_taken) in [
        ("a", json!({"cmd": "id"}), false),
        ("a", json!({"graceful_timeout": 1}), true),
        ("x", json!({"uid": "root"}), false),
        ("x", json!({"cmd": "sleep 3601"}), true),
        ("x", json!({"stdout_stream.filename": "/etc/cron.d/x"}), false),
    ] {
        let reply = ask("set", json!({"name": name, "options": options, "waiting": true}))?;
        ensure!((reply.get("status") == Some(&json!("ok"))) == is_taken, "{name} {options}: {reply}");
    }
    ask("quit", json!({"waiting": true}))?;
    let code = stack.daemon.take().context("it was started")?.wait(PATIENCE)?;
    ensure!(code == 0, "{code}");
    stack.sandbox.finish()
}

#[test]
fn log_lines_reach_syslog_and_where_a_logger_configuration_says() -> Result<()> {
    let mut stack = Stack::new("syslog", "", "")?;
    let path = stack.sandbox.work().join("log.sock");
    let daemon = UnixDatagram::bind(&path)?;
    daemon.set_read_timeout(Some(PATIENCE))?;
    stack.configure(&format!("logoutput = syslog://{}?local1", path.display()), SLEEPER)?;
    stack.start()?;
    let mut line = [0; 2000];
    let length = daemon.recv(&mut line)?;
    let text = String::from_utf8_lossy(line.get(..length).unwrap_or_default()).into_owned();
    // local1 is 17, info is 6.
    ensure!(text.starts_with("<142>") && text.contains(" circus[") && text.contains("[INFO] "), "{text}");
    stack.call("stop", &json!({"waiting": true}))?;
    stack.quit()?;
    drop(daemon);
    fs::remove_file(&path)?;

    let dict = json!({
        "version": 1,
        "formatters": {"f": {"format": "%(levelname)s:%(message)s"}},
        "handlers": {"h": {"class": "logging.FileHandler", "filename": "own.log", "formatter": "f"}},
        "root": {"level": "INFO", "handlers": ["h"]},
    });
    stack.sandbox.write("logging.json", &dict.to_string())?;
    stack.configure("loggerconfig = logging.json", SLEEPER)?;
    stack.start()?;
    let log = fs::read_to_string(stack.sandbox.work().join("own.log"))?;
    ensure!(log.lines().any(|line| line == "INFO:a started"), "{log}");
    stack.end()
}

#[test]
fn a_virtualenv_is_in_front_of_the_path() -> Result<()> {
    let mut stack = Stack::new("virtualenv", "", "")?;
    let venv = stack.sandbox.work().join("venv");
    let packages = venv.join("lib/python3.9/site-packages");
    fs::create_dir_all(&packages)?;
    fs::create_dir_all(venv.join("bin"))?;
    let program = venv.join("bin/venvprogram");
    fs::write(&program, "#!/bin/sh\necho \"$PYTHONPATH\" > python-path\numask > mask\nexec sleep 3600\n")?;
    fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let rest = format!("[watcher:v]\ncmd = venvprogram\ncopy_env = True\nvirtualenv = {}\n", venv.display());
    stack.configure("umask = 027", &rest)?;
    stack.start()?;
    let read = |name: &str| {
        let path = stack.sandbox.work().join(name);
        wait_until(PATIENCE, name, || match fs::read_to_string(&path) {
            Ok(text) if !text.is_empty() => Ok(text.trim().to_owned()),
            other => Err(format!("{other:?}")),
        })
    };
    let path = read("python-path")?;
    ensure!(path.split(':').next() == packages.to_str(), "{path}");
    ensure!(read("mask")? == "0027");
    stack.end()
}

#[test]
fn the_configuration_in_print_says_where_each_value_comes_from() -> Result<()> {
    let rest = "[watcher:a]\ncmd = sleep 3600\nmine = 1\n[env:a]\nCOLOUR = blue\n[watcher:gone]\ncmd = sleep 3600\n";
    let mut stack = Stack::new("print", "", rest)?;
    stack.start()?;
    stack.call("set", &json!({"name": "a", "options": {"graceful_timeout": 7}, "waiting": true}))?;
    stack.call("incr", &json!({"name": "a", "waiting": true}))?;
    stack.call("rm", &json!({"name": "gone", "waiting": true}))?;
    let print = |stack: &Stack| -> Result<String> {
        let program = Sandbox::program(Subject::Ringmaster, Program::Circusd)?;
        let output =
            stack.sandbox.command(program).args(["--print-config", "--pidfile", "x.pid", "circus.ini"]).output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let text = print(&stack)?;
    let ini = fs::read_to_string(stack.sandbox.work().join("circus.ini"))?;
    let line = |beginning: &str| ini.lines().position(|line| line.starts_with(beginning)).map_or(0, |index| index + 1);
    for (value, origin) in [
        ("cmd = sleep 3600", format!("circus.ini:{}", line("cmd"))),
        ("mine = 1", format!("circus.ini:{}", line("mine"))),
        ("COLOUR = blue", format!("circus.ini:{}", line("COLOUR"))),
        ("graceful_timeout = 7.0", "run time".to_owned()),
        ("numprocesses = 2", "run time".to_owned()),
        ("max_retry = 5", "default".to_owned()),
        ("pidfile = x.pid", "command line".to_owned()),
    ] {
        let found =
            text.lines().any(|line| line.split_once(" ; ").is_some_and(|(v, o)| v.trim() == value && o == origin));
        ensure!(found, "no line {value} with {origin} in:\n{text}");
    }
    ensure!(text.contains("; [watcher:gone] is removed at run time"), "{text}");
    // It is a configuration itself, which says the same.
    stack.sandbox.write("printed.ini", &text)?;
    let program = Sandbox::program(Subject::Ringmaster, Program::Circusd)?;
    let checked = stack.sandbox.command(program).args(["--check", "printed.ini"]).output()?;
    ensure!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
    ensure!(String::from_utf8_lossy(&checked.stdout).contains("a: 2 × sleep 3600"), "{checked:?}");
    stack.end()
}

#[test]
fn of_five_hundred_watchers_the_changed_one_restarts() -> Result<()> {
    let watchers = |changed: usize| -> String {
        (0..500).map(|n| format!("[watcher:w{n}]\ncmd = sleep {}\n", if n == changed { 3601 } else { 3600 })).collect()
    };
    let mut stack = Stack::new("many", "", &watchers(usize::MAX))?;
    stack.start()?;
    let pids =
        |stack: &mut Stack| -> Result<Vec<Vec<i32>>> { (0..500).map(|n| stack.pids(&format!("w{n}"))).collect() };
    let before = pids(&mut stack)?;
    ensure!(before.iter().all(|pids| pids.len() == 1));
    stack.configure("", &watchers(123))?;
    stack.call("reloadconfig", &json!({"waiting": true}))?;
    let after = pids(&mut stack)?;
    let changed: Vec<usize> = (0..500).filter(|n| before.get(*n) != after.get(*n)).collect();
    ensure!(changed == [123], "{changed:?}");
    ensure!(after.iter().all(|pids| pids.len() == 1));
    stack.end()
}
