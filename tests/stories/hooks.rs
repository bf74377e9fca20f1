//! Hooks with a real Python and real programs: those that do their work, and those that misbehave.

use anyhow::{Context as _, Result, ensure};
use ringmaster_tests::processes::is_alive;
use ringmaster_tests::stack::{PATIENCE, Stack};
use ringmaster_tests::wait::wait_until;
use serde_json::{Value, json};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long `status` may take while hooks hang. It takes under a millisecond; other tests share the machine.
pub const PROMPT: Duration = Duration::from_secs(1);

const WATCHERS: &str = "\
[watcher:other]
cmd = sleep 3600

[watcher:shop]
cmd = sleep 3600
autostart = False
hooks.before_start = hooks_of_a_shop.check_redis
hooks.after_spawn = hooks_of_a_shop.children_started
hooks.before_signal = hooks_of_a_shop:children_signal
hooks.extended_stats = hooks_of_a_shop.extended_stats
hooks.after_start = hooks_of_a_shop.more_of_other

[env:shop]
REDIS = 127.0.0.1:REDIS_PORT
PYTHONPATH = HOOKS
";

fn watcher(name: &str, lines: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("python");
    format!(
        "[watcher:{name}]\ncmd = sleep 3600\nautostart = False\n{lines}\n[env:{name}]\nPYTHONPATH = {}\n",
        folder.display()
    )
}

fn start(stack: &mut Stack, name: &str) -> Result<Value> {
    stack.call("start", &json!({"name": name, "waiting": true}))
}

pub fn status(stack: &mut Stack, name: &str) -> Result<String> {
    let reply = stack.call("status", &json!({"name": name}))?;
    Ok(reply.get("status").and_then(Value::as_str).context("a status")?.to_owned())
}

/// What circusd has logged.
pub fn said(stack: &Stack) -> String {
    let daemon = stack.daemon.as_ref().map(|daemon| daemon.stderr() + &daemon.stdout()).unwrap_or_default();
    daemon + &stack.sandbox.logs()
}

#[test]
fn hooks_of_circus_do_their_work() -> Result<()> {
    let mut stack = Stack::new("hooks", "", "")?;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("python");
    let port = stack.sandbox.port(3);
    let text = WATCHERS.replace("REDIS_PORT", &port.to_string()).replace("HOOKS", &folder.display().to_string());
    stack.configure("", &text)?;
    stack.start()?;
    start(&mut stack, "shop")?;
    ensure!(status(&mut stack, "shop")? == "stopped", "nobody serves on the port yet");

    let server = TcpListener::bind(("127.0.0.1", port))?;
    let redis = std::thread::spawn(move || -> std::io::Result<()> {
        let (mut client, _) = server.accept()?;
        let mut ping = [0; 6];
        client.read_exact(&mut ping)?;
        client.write_all(if &ping == b"PING\r\n" { b"+PONG\r\n" } else { b"-ERR\r\n" })
    });
    start(&mut stack, "shop")?;
    redis.join().ok().context("the server")??;
    ensure!(status(&mut stack, "shop")? == "active", "{}", said(&stack));
    let pids = stack.await_count("shop", 1)?;
    let others = stack.await_count("other", 2)?;

    let pid = *pids.first().context("a process")?;
    let reply = stack.call("stats", &json!({"name": "shop", "extended": true}))?;
    let info = reply.pointer(&format!("/info/{pid}")).with_context(|| reply.to_string())?;
    ensure!(info.get("born") == Some(&json!(0)), "{info}");
    ensure!(info.get("others") == Some(&json!(others)), "{info}");
    ensure!(info.get("cmd") == Some(&json!("sleep 3600")), "{info}");
    ensure!(info.get("endpoint") == Some(&json!(stack.sandbox.endpoint())), "{info}");
    let reply = stack.call("stats", &json!({"name": "shop", "process": pid, "extended": true}))?;
    ensure!(reply.pointer("/info/born") == Some(&json!(0)), "{reply}");

    // SIGUSR1 would end it; SIGTERM, which the hook lets pass, does.
    stack.call("signal", &json!({"name": "shop", "signum": "usr1"}))?;
    stack.call("stats", &json!({"name": "shop", "extended": true}))?;
    ensure!(is_alive(pid) && stack.pids("shop")? == [pid], "before_signal has said no");
    stack.call("signal", &json!({"name": "shop", "signum": "term"}))?;
    wait_until(PATIENCE, "another process", || match stack.pids("shop") {
        Ok(pids) if pids.len() == 1 && pids != [pid] => Ok(()),
        other => Err(format!("{other:?}")),
    })?;
    let options = json!({"hooks.before_start": "hooks_of_a_shop.says_no"});
    stack.call("set", &json!({"name": "shop", "options": options}))?;
    stack.call("restart", &json!({"name": "shop", "waiting": true}))?;
    ensure!(status(&mut stack, "shop")? == "stopped", "set has changed the hook");
    stack.end()
}

#[test]
fn hooks_that_misbehave_are_failed_hooks() -> Result<()> {
    let hook = |point: &str, name: &str| format!("hooks_timeout = 2\nhooks.{point} = hooks_of_a_shop.{name}\n");
    let text = [
        watcher("well", &hook("before_start", "says_no,True")),
        watcher("hangs", &hook("before_start", "hangs")),
        watcher("patient", &hook("before_signal", "hangs")),
        watcher("raises", &hook("after_start", "raises")),
        watcher("ignores", &hook("after_start", "raises,True")),
        watcher("exits", &hook("before_start", "exits")),
        watcher("missing", "hooks.before_start = hooks_of_a_shop.nowhere\n"),
        watcher("nowhere", "hooks.before_start = no_such_package.module.hook\n"),
    ]
    .concat();
    let mut stack = Stack::new("bad-hooks", "", &text)?;
    stack.start()?;
    stack.call("start", &json!({"name": "hangs"}))?;
    for name in ["raises", "exits", "missing", "nowhere", "well"] {
        start(&mut stack, name)?;
        let asked = Instant::now();
        ensure!(status(&mut stack, name)? == "stopped", "{name}");
        ensure!(asked.elapsed() < PROMPT, "status took {:?}", asked.elapsed());
    }
    for name in ["ignores", "patient"] {
        start(&mut stack, name)?;
        ensure!(status(&mut stack, name)? == "active", "{name}");
    }
    stack.call("stop", &json!({"name": "patient", "waiting": true}))?;
    let log = wait_until(PATIENCE, "the hook that hangs", || {
        let log = said(&stack);
        if log.contains("has not answered within 2 s") { Ok(log) } else { Err(log) }
    })?;
    ensure!(status(&mut stack, "hangs")? == "stopped");
    for words in [
        "'after_start' of raises failed: no such luck",
        "cannot import 'hooks_of_a_shop.nowhere': AttributeError",
        "cannot import 'no_such_package.module.hook': ModuleNotFoundError: No module named 'no_such_package'; searched: ",
        "'before_start' of exits failed: the Python that runs the hooks has ended (exit status: 3)",
    ] {
        ensure!(log.contains(words), "{words:?} is not in {log}");
    }
    stack.end()
}

#[test]
fn a_program_is_a_hook() -> Result<()> {
    let mut stack = Stack::new("exec-hooks", "hooks_timeout = 20", "")?;
    let work = stack.sandbox.work();
    let facts = work.join("facts");
    let script = stack.sandbox.write(
        "hook.sh",
        "env | grep '^CIRCUS_' | sort > \"$2.new\"; mv \"$2.new\" \"$2\"\n\
         test \"$CIRCUS_HOOK\" != extended_stats || echo '{\"answer\": '$CIRCUS_PID'}'\nexit $1\n",
    )?;
    let exec = |status: i32| format!("exec:sh {} {status} {}", script.display(), facts.display());
    let lines = format!(
        "[watcher:good]\ncmd = sleep 3600\nautostart = False\nhooks.after_spawn = {}\nhooks.extended_stats = {}\n\
         [watcher:bad]\ncmd = sleep 3600\nautostart = False\nhooks.before_start = {}\n\
         [watcher:late]\ncmd = sleep 3600\nautostart = False\nhooks_timeout = 0.1\n\
         hooks.before_start = exec:sh -c \"sleep 3600; true\"\n",
        exec(0),
        exec(0),
        exec(1)
    );
    stack.configure("hooks_timeout = 20", &lines)?;
    stack.start()?;
    start(&mut stack, "good")?;
    let pids = stack.await_count("good", 1)?;
    let pid = *pids.first().context("a process")?;
    let told = fs::read_to_string(&facts)?;
    for line in ["CIRCUS_HOOK=after_spawn".to_owned(), "CIRCUS_WATCHER=good".to_owned(), format!("CIRCUS_PID={pid}")] {
        ensure!(told.lines().any(|told| told == line), "{line} is not in {told}");
    }
    let reply = stack.call("stats", &json!({"name": "good", "extended": true}))?;
    ensure!(reply.pointer(&format!("/info/{pid}/answer")) == Some(&json!(pid)), "{reply}");
    for name in ["bad", "late"] {
        start(&mut stack, name)?;
        ensure!(status(&mut stack, name)? == "stopped", "{name}");
    }
    stack.end()
}
