//! What clients change while circusd runs: it outlives circusd, and `reloadconfig` goes back to the file.

use anyhow::{Context, Result, ensure};
use ringmaster_tests::stack::Stack;
use serde_json::{Value, json};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

const TWO: &str = "[watcher:a]\ncmd = sleep 3600\n[watcher:b]\ncmd = sleep 3600\n";

fn names(stack: &mut Stack) -> Result<Value> {
    let mut reply = stack.call("list", &json!({}))?;
    Ok(reply.get_mut("watchers").context("a list")?.take())
}

#[test]
fn changes_outlive_circusd_until_the_file_is_read_again() -> Result<()> {
    let mut stack = Stack::new("changes", "", TWO)?;
    stack.start()?;
    let original = stack.pids("a")?;
    stack.call("incr", &json!({"name": "a", "nb": 2, "waiting": true}))?;
    stack.call("set", &json!({"name": "a", "options": {"graceful_timeout": 7}, "waiting": true}))?;
    stack.call("add", &json!({"name": "New", "cmd": "sleep", "args": ["3600"], "start": true, "waiting": true}))?;
    stack.call("rm", &json!({"name": "b", "waiting": true}))?;
    let before = (stack.wids("a")?, stack.wids("new")?);

    stack.kill_daemon()?;
    stack.start()?;
    ensure!(names(&mut stack)? == json!(["a", "new"]));
    let after = (stack.wids("a")?, stack.wids("new")?);
    ensure!(before == after, "{before:?} became {after:?}");
    let options = stack.call("get", &json!({"name": "a", "keys": ["numprocesses", "graceful_timeout"]}))?;
    ensure!(options.get("options") == Some(&json!({"numprocesses": 3, "graceful_timeout": 7.0})), "{options}");

    stack.call("reloadconfig", &json!({"waiting": true}))?;
    ensure!(names(&mut stack)? == json!(["a", "b"]));
    let kept = stack.await_count("a", 1)?;
    ensure!(
        before.0.values().any(|pid| kept.contains(pid)),
        "{kept:?} are none of {before:?}, which began with {original:?}"
    );
    stack.kill_daemon()?;
    stack.start()?;
    ensure!(names(&mut stack)? == json!(["a", "b"]));
    ensure!(stack.pids("a")? == kept);
    stack.end()
}

#[test]
fn what_rm_leaves_running_is_nobodys_also_for_the_next_circusd() -> Result<()> {
    let mut stack = Stack::new("left", "", TWO)?;
    stack.start()?;
    let left = stack.pids("b")?;
    stack.call("rm", &json!({"name": "b", "nostop": true}))?;
    // What goes through the core afterwards shows that the core has noted it.
    stack.call("restart", &json!({"name": "a", "waiting": true}))?;
    stack.kill_daemon()?;
    stack.start()?;
    ensure!(names(&mut stack)? == json!(["a"]));
    // Its number is still taken at the core: the namesake starts all the same.
    stack.call("add", &json!({"name": "b", "cmd": "sleep 3600", "start": true, "waiting": true}))?;
    let new = stack.pids("b")?;
    ensure!(new.len() == 1 && new != left, "{new:?}, {left:?}");
    let alive = |pid: &i32| ringmaster_tests::processes::is_alive(*pid);
    ensure!(left.iter().all(alive));
    stack.quit()?;
    ensure!(left.iter().all(alive), "quit has stopped what was left to itself");
    for pid in left {
        ringmaster_tests::processes::signal(pid, rustix::process::Signal::KILL);
    }
    stack.end()
}

fn with_socket(port: u16) -> String {
    format!(
        "{TWO}[watcher:server]\ncmd = sleep 3600 $(circus.sockets.web)\nshell = True\nuse_sockets = True\n\
         [socket:web]\nhost = 127.0.0.1\nport = {port}\n"
    )
}

#[test]
fn a_socket_moves_with_those_who_hold_it_or_nothing_changes() -> Result<()> {
    let mut stack = Stack::new("sockets", "", "")?;
    let (first, second) = (stack.sandbox.port(3), stack.sandbox.port(4));
    stack.configure("", &with_socket(first))?;
    stack.start()?;
    let (a, server) = (stack.pids("a")?, stack.pids("server")?);

    stack.configure("", &with_socket(second))?;
    let occupied = TcpListener::bind((Ipv4Addr::LOCALHOST, second))?;
    let refused = stack.call("reloadconfig", &json!({"waiting": true}));
    ensure!(refused.as_ref().is_err_and(|error| error.to_string().contains("server error")), "{refused:?}");
    TcpStream::connect((Ipv4Addr::LOCALHOST, first))
        .with_context(|| format!("the old port is served again\n{}", stack.sandbox.logs()))?;
    drop(occupied);

    stack.await_count("server", 1)?;
    stack.call("reloadconfig", &json!({"waiting": true}))?;
    TcpStream::connect((Ipv4Addr::LOCALHOST, second)).context("the new port")?;
    ensure!(TcpStream::connect((Ipv4Addr::LOCALHOST, first)).is_err());
    ensure!(stack.pids("a")? == a && stack.pids("server")? != server);
    stack.end()
}

#[test]
fn processes_that_were_started_otherwise_than_the_file_says_now_are_named_and_left_alone() -> Result<()> {
    const FILE: &str = "[watcher:a]\ncmd = sleep 3600\nnumprocesses = 2\nuse_papa = True\n[watcher:b]\ncmd = sleep 3600\ncopy_env = True\n";
    let said = |stack: &Stack| -> Vec<String> {
        let log = stack.daemon.as_ref().map(|daemon| daemon.stderr()).unwrap_or_default();
        log.lines().filter(|line| line.contains("started with other options")).map(str::to_owned).collect()
    };
    let mut stack = Stack::new("outdated", "", FILE)?;
    stack.start()?;
    let before = (stack.pids("a")?, stack.pids("b")?);
    stack.kill_daemon()?;
    stack.configure("", &FILE.replacen("sleep 3600", "sleep 7200", 1))?;
    stack.start()?;
    ensure!((stack.pids("a")?, stack.pids("b")?) == before);
    let lines = said(&stack);
    let named =
        |line: &String| line.contains("2 processes of a ") && line.contains("(cmd)") && line.contains("restart a");
    ensure!(lines.len() == 1 && lines.iter().all(named), "{lines:?}");
    let (options, complained, code) = crate::upgrade::ctl(&stack, &["options", "a"])?;
    ensure!(code == 0 && options.contains("\n# cmd: was another when ["), "{options}{complained}");
    stack.call("restart", &json!({"name": "a", "waiting": true}))?;
    stack.kill_daemon()?;
    stack.start()?;
    ensure!(said(&stack).is_empty(), "{:?}", said(&stack));
    stack.end()
}
