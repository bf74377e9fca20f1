//! Every point of a hook with every way to misbehave has its documented effect, and circusd answers all the while. And the
//! hooks that Circus's examples have for uWSGI.

use crate::hooks::{said, status};
use anyhow::{Context as _, Result, bail, ensure};
use ringmaster_tests::driver::Driver;
use ringmaster_tests::processes::{self, is_alive};
use ringmaster_tests::stack::{PATIENCE, Stack};
use ringmaster_tests::wait::wait_until;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// What a hook may take here.
const HOOKS_TIMEOUT: f64 = 1.0;

/// How long an answer may take: half of what a hook may, so that an answer that waits for a hook is found. It takes under a millisecond
/// when nobody else wants the processors.
const PROMPT: f64 = 0.5;

/// What is said of a hook that was in the Python when that ended.
const PYTHON_ENDED: &str = "has ended (exit status: 3)";

/// How often a watcher lives whose hook was in that Python.
const LIVES: usize = 5;

/// Names of hooks in `hooks_of_a_shop.py`, and what each has to say in the log.
const MISDEEDS: &[(&str, &str)] = &[
    ("hangs", "has not answered within 1 s"),
    ("raises", "no such luck"),
    ("exits", PYTHON_ENDED),
    ("leaves", "failed: 4"),
    ("says_no", ""),
];

/// What the manual says that comes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    /// The watcher is stopped, or stays so.
    Stopped,
    /// False: the signal is not sent. A failure: it is.
    Held,
    /// `signal` works all the same.
    Signalled,
    /// `stop` works all the same.
    StoppedOnDemand,
    /// A process that ends is replaced all the same.
    Replaced,
    /// False: nothing. A failure is the answer to `stats`.
    Answered,
}

/// The table of the manual.
const POINTS: &[(&str, Effect)] = &[
    ("before_start", Effect::Stopped),
    ("after_start", Effect::Stopped),
    ("before_spawn", Effect::Stopped),
    ("after_spawn", Effect::Stopped),
    ("before_signal", Effect::Held),
    ("after_signal", Effect::Signalled),
    ("before_stop", Effect::StoppedOnDemand),
    ("after_stop", Effect::StoppedOnDemand),
    ("before_reap", Effect::Replaced),
    ("after_reap", Effect::Replaced),
    ("extended_stats", Effect::Answered),
];

fn folder() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("python").display().to_string()
}

fn name(point: &str, misdeed: &str) -> String {
    format!("{point}-{misdeed}")
}

/// Asks circusd something over and over, and gives how long each answer took, in seconds.
fn prober(stack: &Stack, over: &Arc<AtomicBool>) -> Result<JoinHandle<Result<Vec<f64>>>> {
    let (mut driver, endpoint, over) = (Driver::start()?, stack.sandbox.endpoint(), Arc::clone(over));
    Ok(std::thread::spawn(move || {
        let mut times = Vec::new();
        while !over.load(Ordering::Relaxed) {
            times.extend(driver.round_trips(&endpoint, 20)?);
        }
        Ok(times)
    }))
}

#[test]
fn every_misdeed_at_every_point_has_its_documented_effect_and_circusd_answers() -> Result<()> {
    let mut stack = Stack::new("points", "", "")?;
    let mut text = format!("[env]\nPYTHONPATH = {}\n", folder());
    for (point, _) in POINTS {
        for (misdeed, _) in MISDEEDS {
            text.push_str(&format!(
                "[watcher:{}]\ncmd = sleep 3600\nautostart = False\ngraceful_timeout = 0.2\nhooks.{point} = hooks_of_a_shop.{misdeed}\n",
                name(point, misdeed)
            ));
        }
    }
    stack.configure(&format!("hooks_timeout = {HOOKS_TIMEOUT}"), &text)?;
    stack.start()?;
    let over = Arc::new(AtomicBool::new(false));
    let prober = prober(&stack, &over)?;
    let outcome = (|| -> Result<()> {
        for (point, effect) in POINTS {
            for (misdeed, says) in MISDEEDS {
                let name = name(point, misdeed);
                let beginning = format!("Hook '{point}' of {name} failed: ");
                let says_so =
                    |log: &str, says: &str| log.lines().any(|line| line.contains(&beginning) && line.contains(says));
                // All hooks share one Python. One that ends it takes with it what others have there at that moment, also when its
                // watcher has been stopped already: those live again.
                for _ in 0..LIVES {
                    live(&mut stack, &name, *effect, *misdeed == "says_no")
                        .with_context(|| format!("{name}\n{}", said(&stack)))?;
                    if *misdeed != "says_no" && *effect != Effect::Answered {
                        wait_until(PATIENCE, "the failure is in the log", || {
                            let log = said(&stack);
                            let any = says_so(&log, says) || says_so(&log, PYTHON_ENDED);
                            if any { Ok(()) } else { Err(log) }
                        })?;
                    }
                    if says_so(&said(&stack), says) || !says_so(&said(&stack), PYTHON_ENDED) {
                        break;
                    }
                }
                let log = said(&stack);
                let as_it_does = *effect == Effect::Answered || says_so(&log, says) != (*misdeed == "says_no");
                ensure!(as_it_does, "{name}: every failure is told as what it is, and to say no is none\n{log}");
            }
        }
        Ok(())
    })();
    over.store(true, Ordering::Relaxed);
    let mut times = prober.join().ok().context("the prober")??;
    outcome?;
    times.sort_by(f64::total_cmp);
    let at = |percent: usize| times.get(times.len() * percent / 100).copied().unwrap_or_default() * 1000.0;
    let worst = times.last().copied().unwrap_or_default();
    println!("{} answers: median {:.2} ms, p99 {:.2} ms, worst {:.1} ms", times.len(), at(50), at(99), worst * 1000.0);
    ensure!(times.len() > 100 && worst < PROMPT, "the worst answer took {worst} s");
    stack.end()
}

/// One watcher's life, as far as its hook is concerned.
fn live(stack: &mut Stack, name: &str, effect: Effect, says_no: bool) -> Result<()> {
    stack.call("start", &json!({"name": name, "waiting": true}))?;
    if effect == Effect::Stopped {
        ensure!(status(stack, name)? == "stopped");
        return stack.await_count(name, 0).map(drop);
    }
    ensure!(status(stack, name)? == "active");
    let pids = stack.await_count(name, 1)?;
    let first = *pids.first().context("a process")?;
    match effect {
        Effect::Stopped | Effect::StoppedOnDemand => {}
        Effect::Held | Effect::Signalled => {
            stack.call("signal", &json!({"name": name, "signum": "usr1"}))?;
            if !(effect == Effect::Held && says_no) {
                await_another(stack, name, first)?;
                ensure!(end_of(stack, first)? == json!(-10), "it did not end by SIGUSR1");
            }
        }
        Effect::Replaced => {
            processes::signal(first, Signal::KILL);
            await_another(stack, name, first)?;
            ensure!(end_of(stack, first)? == json!(-9));
        }
        Effect::Answered => {
            let reply = stack.call("stats", &json!({"name": name, "extended": true}));
            ensure!(reply.is_ok() == says_no, "{reply:?}");
            if let Err(error) = reply {
                ensure!(error.to_string().contains("\"errno\":3"), "{error}");
            }
        }
    }
    let last = stack.pids(name)?;
    stack.call("stop", &json!({"name": name, "waiting": true}))?;
    ensure!(status(stack, name)? == "stopped" && last.iter().all(|pid| !is_alive(*pid)), "it is not stopped");
    if effect == Effect::Held && says_no {
        // Neither SIGUSR1 nor SIGTERM was sent; nobody can forbid SIGKILL.
        ensure!(last == [first] && end_of(stack, first)? == json!(-9), "{:?}", end_of(stack, first));
    }
    Ok(())
}

fn await_another(stack: &mut Stack, name: &str, old: i32) -> Result<()> {
    wait_until(PATIENCE, &format!("{name} has another process than {old}"), || match stack.pids(name) {
        Ok(pids) if pids.len() == 1 && pids != [old] => Ok(()),
        other => Err(format!("{other:?}")),
    })
}

/// The exit code of a process, by its event.
fn end_of(stack: &mut Stack, pid: i32) -> Result<Value> {
    wait_until(PATIENCE, &format!("the end of {pid} is told"), || {
        let reply = stack.call("events", &json!({"since": 0})).map_err(|error| error.to_string())?;
        let events = reply.get("events").and_then(Value::as_array).cloned().unwrap_or_default();
        let mut reaps = events.iter().filter_map(|event| event.get("event"));
        let reap =
            reaps.find(|event| event.get("process_pid") == Some(&json!(pid)) && event.get("exit_code").is_some());
        reap.and_then(|event| event.get("exit_code")).cloned().ok_or_else(|| format!("{} events", events.len()))
    })
}

#[test]
fn the_hooks_of_circus_for_uwsgi() -> Result<()> {
    let mut stack = Stack::new("uwsgi", "", "")?;
    let port = stack.sandbox.port(3);
    let text = format!(
        "[watcher:uwsgi]\ncmd = {} {port} 3\nstop_signal = SIGTERM\nhooks.after_spawn = hooks_of_uwsgi.children_started\n\
         hooks.before_signal = hooks_of_uwsgi.clean_stop\nhooks.extended_stats = hooks_of_uwsgi.extended_stats\n\
         [env:uwsgi]\nPYTHONPATH = {}\nSTATS = {port}\nCHILDREN = 3\n",
        crate::python("uwsgi_like.py")?,
        folder()
    );
    stack.configure("", &text)?;
    stack.start()?;
    let pid = *stack.await_count("uwsgi", 1)?.first().context("a process")?;
    let children = |stack: &mut Stack| -> Result<Vec<i64>> {
        let reply = stack.call("stats", &json!({"name": "uwsgi", "extended": true}))?;
        let info = reply.pointer(&format!("/info/{pid}")).with_context(|| reply.to_string())?;
        ensure!(info.get("uwsgi") == Some(&json!("like")) && info.get("cpu").is_some(), "{info}");
        let children = info.get("children").and_then(Value::as_array).with_context(|| info.to_string())?;
        Ok(children.iter().filter_map(Value::as_i64).collect())
    };
    let before = children(&mut stack).with_context(|| said(&stack))?;
    ensure!(before.len() == 3, "after_spawn has waited for all three: {before:?}");
    stack.call("signal", &json!({"name": "uwsgi", "signum": "quit"}))?;
    let after = wait_until(PATIENCE, "one child has gone", || match children(&mut stack) {
        Ok(children) if children.len() == 2 => Ok(children),
        other => Err(format!("{other:?}")),
    })?;
    ensure!(before.starts_with(&after) && stack.pids("uwsgi")? == [pid], "{before:?} {after:?}");
    stack.call("stop", &json!({"name": "uwsgi", "waiting": true}))?;
    ensure!(!is_alive(pid) && end_of(&mut stack, pid)? == json!(0), "SIGTERM was let pass, and it has ended in order");
    match children(&mut stack) {
        Ok(_) => bail!("it is gone"),
        Err(_) => stack.end(),
    }
}
