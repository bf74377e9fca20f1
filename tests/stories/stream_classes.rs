//! Stream classes in Python: they get every byte in order, whatever is killed; one that misbehaves concerns nobody else.

use crate::hooks::{PROMPT, said};
use anyhow::{Context as _, Result, ensure};
use ringmaster_tests::dice::Dice;
use ringmaster_tests::log_check;
use ringmaster_tests::processes::{self, is_alive};
use ringmaster_tests::stack::{PATIENCE, Stack};
use ringmaster_tests::venv::Venv;
use ringmaster_tests::wait::{pass, wait_until};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// How the commands of their workers end.
const WORKER: &str = "circusd-stream";

/// Services that write while workers and circusd are killed.
const WRITERS: usize = 3;

/// How often something is killed.
const BLOWS: u64 = 20;

/// The pids of the Pythons that run streams.
fn workers(stack: &Stack) -> Vec<i32> {
    let all = stack.sandbox.processes().into_iter();
    all.filter(|process| process.command.trim_end().ends_with(WORKER)).map(|process| process.pid).collect()
}

fn folder() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("python").display().to_string()
}

/// Waits until a file has this text, or what `read` makes of it.
fn await_text(path: &Path, wanted: &str) -> Result<()> {
    wait_until(PATIENCE, &format!("{} is complete", path.display()), || {
        let text = fs::read_to_string(path).unwrap_or_default();
        let end: String = text.chars().rev().take(200).collect::<Vec<_>>().into_iter().rev().collect();
        if text == wanted { Ok(()) } else { Err(format!("{} of {} bytes, {end:?}", text.len(), wanted.len())) }
    })
}

#[test]
fn a_redactor_gets_every_byte_in_order() -> Result<()> {
    let mut stack = Stack::new("redactor", "", "")?;
    let log = stack.sandbox.work().join("log");
    let text = format!(
        "[watcher:shop]\ncmd = sh -c 'seq -f \"token=hunter2 %.0f\" 0 39999; printf end; exec sleep 3600'\n\
         stdout_stream.class = streams_of_a_shop.Redactor\nstdout_stream.filename = {}\nstdout_stream.word = hunter2\n\
         [env:shop]\nPYTHONPATH = {}\n",
        log.display(),
        folder()
    );
    stack.configure("", &text)?;
    stack.start()?;
    let expected: String = (0..40_000).map(|number| format!("token=*** {number}\n")).collect();
    await_text(&log, &format!("{expected}end")).with_context(|| said(&stack))?;
    let [worker] = workers(&stack)[..] else { anyhow::bail!("{:?}", workers(&stack)) };
    // Other settings are another object; `stop` closes it, `start` makes one again.
    let other = stack.sandbox.work().join("other");
    let options = json!({"stdout_stream.filename": other.display().to_string()});
    stack.call("set", &json!({"name": "shop", "options": options}))?;
    stack.call("restart", &json!({"name": "shop", "waiting": true}))?;
    await_text(&other, &format!("{expected}end")).with_context(|| said(&stack))?;
    let ended =
        |pid: i32| wait_until(PATIENCE, "the worker ends", || if is_alive(pid) { Err("it lives") } else { Ok(()) });
    ended(worker)?;
    let [worker] = workers(&stack)[..] else { anyhow::bail!("{:?}", workers(&stack)) };
    stack.call("stop", &json!({"name": "shop", "waiting": true}))?;
    ended(worker)?;
    stack.end()
}

#[test]
fn no_line_is_lost_whoever_is_killed() -> Result<()> {
    let mut stack = Stack::new("redactor-load", "", "")?;
    let logs = stack.sandbox.work().join("logs");
    fs::create_dir(&logs)?;
    let mut text = String::new();
    for number in 0..WRITERS {
        let class = if number == 0 { "Redactor" } else { "Slow" };
        text.push_str(&format!(
            "[watcher:w{number}]\ncmd = {} w{number} 800\nuse_papa = True\n\
             stdout_stream.class = streams_of_a_shop.{class}\nstdout_stream.filename = {}\nstdout_stream.word = hunter2\n\
             [env:w{number}]\nPYTHONPATH = {}\n",
            crate::python("writer.py")?,
            logs.join(format!("w{number}")).display(),
            folder()
        ));
    }
    stack.configure("", &text)?;
    stack.start()?;
    let sizes =
        || (0..WRITERS).map(|number| fs::metadata(logs.join(format!("w{number}"))).map_or(0, |file| file.len()));
    let mut before: Vec<u64> = vec![0; WRITERS];
    let mut dice = Dice::new();
    let (mut struck, mut killed) = (0, 0);
    for blow in 0..BLOWS {
        // Whoever was struck is at work again: the next blow is to fall into a call.
        wait_until(PATIENCE, "every stream goes on", || {
            let now: Vec<u64> = sizes().collect();
            if now.iter().zip(&before).all(|(now, before)| now > before) {
                Ok(())
            } else {
                Err(format!("{before:?} {now:?}"))
            }
        })
        .with_context(|| said(&stack))?;
        pass(Duration::from_millis(dice.below(60)));
        if blow % 4 == 3 {
            stack.kill_daemon()?;
            killed += 1;
            before = sizes().collect();
            pass(Duration::from_millis(dice.below(100)));
            stack.start()?;
        } else {
            let workers = workers(&stack);
            struck += workers.iter().filter(|pid| processes::signal(**pid, Signal::KILL)).count();
            before = sizes().collect();
        }
    }
    stack.call("stop", &json!({"waiting": true}))?;
    wait_until(PATIENCE, "the last lines are there", || {
        let missing = |number: &usize| {
            let text = fs::read_to_string(logs.join(format!("w{number}"))).unwrap_or_default();
            !text.ends_with(":END\n")
        };
        let waited: Vec<usize> = (0..WRITERS).filter(missing).collect();
        if waited.is_empty() { Ok(()) } else { Err(format!("{waited:?}")) }
    })
    .with_context(|| said(&stack))?;
    stack.quit()?;
    let mut repeated = 0;
    for number in 0..WRITERS {
        let tally = log_check::check(&logs.join(format!("w{number}")), &format!("w{number}.out"))
            .with_context(|| said(&stack))?;
        println!("w{number}: {struck} workers and {killed} circusd killed: {tally:?}, seed {}", dice.seed);
        ensure!(tally.lost == 0, "lines are lost (seed {}): {tally:?}\n{}", dice.seed, said(&stack));
        ensure!(tally.lines > 100, "the writer has hardly written: {tally:?}");
        repeated += tally.repeated + tally.broken;
    }
    ensure!(repeated > 0, "nobody was struck within a call (seed {})", dice.seed);
    ensure!(struck > 0, "no worker was there");
    stack.sandbox.finish()
}

#[test]
fn a_class_that_hangs_or_raises_hinders_nobody() -> Result<()> {
    let mut stack = Stack::new("stuck", "", "")?;
    let work = stack.sandbox.work();
    let (go, stuck, free, raised) = (work.join("go"), work.join("stuck"), work.join("free"), work.join("raised"));
    let numbers = "cmd = sh -c 'seq 0 9999; exec sleep 3600'\n";
    let class = |name: &str, path: &Path| {
        let path = path.display();
        format!(
            "stdout_stream.class = streams_of_a_shop.{name}\nstdout_stream.filename = {path}\nstdout_stream.word = x\n"
        )
    };
    let text = format!(
        "[watcher:stuck]\n{numbers}hooks_timeout = 3\n{}stdout_stream.until = {}\n[watcher:raised]\n{numbers}{}\
         [watcher:free]\ncmd = {} free 100\nstdout_stream.filename = {}\n[env]\nPYTHONPATH = {}\n",
        class("Patient", &stuck),
        go.display(),
        class("Raiser", &raised),
        crate::python("writer.py")?,
        free.display(),
        folder()
    );
    stack.configure("", &text)?;
    stack.start()?;
    let told = "stuck: stdout_stream.class = streams_of_a_shop.Patient: it has not returned within 3 s (hooks_timeout)";
    wait_until(PATIENCE, "the call is given up", || {
        let log = said(&stack);
        if log.contains(told) { Ok(()) } else { Err(log) }
    })?;
    let size = || fs::metadata(&free).map_or(0, |file| file.len());
    let before = size();
    wait_until(PATIENCE, "the other log goes on", || if size() > before { Ok(()) } else { Err("no byte came") })?;
    let asked = Instant::now();
    let reply = stack.call("status", &json!({}))?;
    ensure!(asked.elapsed() < PROMPT, "status took {:?}", asked.elapsed());
    ensure!(reply.pointer("/statuses/stuck") == Some(&json!("active")), "{reply}");
    let expected: String = (0..10_000).map(|number| format!("{number}\n")).collect();
    await_text(&raised, &expected)?;
    let log = said(&stack);
    let raises = "raised: stdout_stream.class = streams_of_a_shop.Raiser: ";
    ensure!(log.contains(raises) && log.contains("counts as taken: ValueError: no such luck\nTraceback"), "{log}");
    ensure!(fs::read(&stuck)?.is_empty(), "it should have waited");
    fs::write(&go, "")?;
    await_text(&stuck, &expected).with_context(|| said(&stack))?;
    wait_until(PATIENCE, "that is told", || {
        let log = said(&stack);
        if log.contains("streams_of_a_shop.Patient: works again") { Ok(()) } else { Err(log) }
    })?;
    stack.end()
}

/// `quit` waits a second for a call, and then ends it. What it has not taken stays in the core.
#[test]
fn a_class_that_hangs_does_not_keep_circusd_from_ending() -> Result<()> {
    let mut stack = Stack::new("hung-end", "", "")?;
    let (log, never) = (stack.sandbox.work().join("log"), stack.sandbox.work().join("never"));
    let text = format!(
        "[watcher:stuck]\ncmd = sh -c 'echo x; exec sleep 3600'\nstdout_stream.class = streams_of_a_shop.Patient\n\
         stdout_stream.filename = {}\nstdout_stream.word = y\nstdout_stream.until = {}\n[env]\nPYTHONPATH = {}\n",
        log.display(),
        never.display(),
        folder()
    );
    stack.configure("", &text)?;
    stack.start()?;
    wait_until(PATIENCE, "the object is made", || if log.exists() { Ok(()) } else { Err(said(&stack)) })?;
    stack.call("stop", &json!({"waiting": true}))?;
    let began = Instant::now();
    stack.quit()?;
    // Five seconds is what logs on a disk in trouble have.
    ensure!(began.elapsed() < Duration::from_secs(4), "quit took {:?}", began.elapsed());
    wait_until(PATIENCE, "the worker ends", || if workers(&stack).is_empty() { Ok(()) } else { Err("it lives") })?;
    stack.sandbox.kill_all();
    Ok(())
}

#[test]
fn a_class_that_cannot_be_imported_leaves_out_its_watcher_and_says_why() -> Result<()> {
    let mut stack = Stack::new("no-class", "", "")?;
    let work = stack.sandbox.work();
    let log = work.join("log");
    let modules = work.join("modules");
    fs::create_dir(&modules)?;
    let text = format!(
        "[watcher:well]\ncmd = sleep 3600\n\
         [watcher:bad]\ncmd = sh -c 'echo hello; exec sleep 3600'\nuse_papa = True\nstdout_stream.class = later.Redactor\n\
         stdout_stream.filename = {}\nstdout_stream.word = x\n\
         [plugin:gone]\nuse = no_such_plugin.Plugin\n[env:bad]\nPYTHONPATH = {}\n",
        log.display(),
        modules.display()
    );
    stack.configure("", &text)?;
    stack.start()?;
    stack.await_count("well", 1)?;
    let told = said(&stack);
    let searched = format!("searched: {}, ", modules.display());
    let reason = "stdout_stream.class = later.Redactor: cannot import 'later.Redactor': ModuleNotFoundError: No module named 'later'";
    for parts in [
        ["circus.ini:", "[watcher:bad]", reason, &searched, "(this watcher is left out)"],
        [
            "circus.ini:",
            "[plugin:gone] use = ",
            "No module named 'no_such_plugin'",
            "searched: ",
            "(this plugin is left out)",
        ],
    ] {
        ensure!(told.lines().any(|line| parts.iter().all(|part| line.contains(part))), "{parts:?} is not in {told}");
    }
    let reply = stack.call("list", &json!({}))?;
    ensure!(reply.get("watchers") == Some(&json!(["well"])), "{reply}");

    // When it is there, the file that has not changed is as good as a new one.
    let module = modules.join("later.py");
    fs::copy(Path::new(&folder()).join("streams_of_a_shop.py"), &module)?;
    // But the plugin is still missing, and a file with a section that would be left out changes nothing.
    let refusals =
        |stack: &Stack| said(stack).matches("[plugin:gone] use = no_such_plugin.Plugin: cannot import").count();
    let at_start = refusals(&stack);
    ensure!(stack.call("reloadconfig", &json!({"waiting": true})).is_err(), "{}", said(&stack));
    ensure!(refusals(&stack) > at_start, "{}", said(&stack));
    stack.configure("", &text.replace("[plugin:gone]\nuse = no_such_plugin.Plugin\n", ""))?;
    stack.call("reloadconfig", &json!({"waiting": true}))?;
    let pids = stack.await_count("bad", 1)?;
    await_text(&log, "hello\n")?;

    // A module that breaks ends no process that runs: its output waits.
    stack.kill_daemon()?;
    fs::write(&module, "def f(:\n")?;
    stack.start()?;
    ensure!(stack.pids("bad")? == pids, "{}", said(&stack));
    wait_until(PATIENCE, "that its output waits is told", || {
        let told = said(&stack);
        let reason = "bad: stdout_stream.class = later.Redactor: cannot import 'later.Redactor': SyntaxError: ";
        if told.contains(reason) && told.contains("output waits in the core") { Ok(()) } else { Err(told) }
    })?;
    fs::copy(Path::new(&folder()).join("streams_of_a_shop.py"), &module)?;
    stack.call("restart", &json!({"name": "bad", "waiting": true}))?;
    await_text(&log, "hello\nhello\n").with_context(|| said(&stack))?;
    stack.end()
}

#[test]
fn a_class_on_the_base_of_circus_works_with_the_real_package() -> Result<()> {
    let python = Venv::get()?.program("python");
    let venv = python.parent().and_then(Path::parent).context("the folder of the environment")?;
    let mut stack = Stack::new("shouting", "", "")?;
    let log = stack.sandbox.work().join("log");
    let text = format!(
        "[watcher:w]\ncmd = sh -c 'echo one; echo two >&2; exec sleep 3600'\ncopy_env = True\nvirtualenv = {}\n\
         stdout_stream.class = streams_of_circus.Shouting\nstdout_stream.filename = {log}\nstdout_stream.time_format = at %Y\n\
         stderr_stream.class = streams_of_circus.Shouting\nstderr_stream.filename = {log}.err\n\
         [env:w]\nPYTHONPATH = {}\n",
        venv.display(),
        folder(),
        log = log.display()
    );
    stack.configure("", &text)?;
    stack.start()?;
    let pids = stack.await_count("w", 1)?;
    let pid = pids.first().context("a process")?;
    let found: Value = wait_until(PATIENCE, "both lines are there", || {
        let out = fs::read_to_string(&log).unwrap_or_default();
        let err = fs::read_to_string(log.with_extension("err")).unwrap_or_default();
        if out.ends_with('\n') && err.ends_with('\n') { Ok(json!([out, err])) } else { Err(said(&stack)) }
    })?;
    let out = found.get(0).and_then(Value::as_str).unwrap_or_default();
    ensure!(out.starts_with("at 2") && out.ends_with(&format!(" [{pid}] | ONE\n")), "{found}");
    ensure!(found.get(1) == Some(&json!("TWO\n")), "{found}");
    stack.end()
}
