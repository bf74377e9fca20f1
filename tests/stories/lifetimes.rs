//! Who outlives whom: persistent and leased services, through quit and crash of circusd.

use anyhow::{Result, ensure};
use ringmaster_tests::processes::is_alive;
use ringmaster_tests::stack::Stack;
use ringmaster_tests::wait::wait_until;
use serde_json::json;
use std::fs;
use std::time::Duration;

/// The time that leased services live on without a manager, and what a busy machine adds.
const GRACE: Duration = Duration::from_secs(30 + 20);

fn two_kinds() -> Result<String> {
    let writer = crate::python("writer.py")?;
    Ok(format!(
        "[watcher:kept]\ncmd = {writer} kept 50\nnumprocesses = 2\nuse_papa = True\n\
         stdout_stream.class = FileStream\nstdout_stream.filename = kept.log\n\
         [watcher:leased]\ncmd = {writer} leased 50\nnumprocesses = 2\n\
         stdout_stream.class = FileStream\nstdout_stream.filename = leased.log\n"
    ))
}

#[test]
fn quit_leaves_persistent_services_and_the_next_circusd_takes_them_back() -> Result<()> {
    let mut stack = Stack::new("quit", "", &two_kinds()?)?;
    stack.start()?;
    let (kept, leased) = (stack.wids("kept")?, stack.wids("leased")?);
    stack.quit()?;
    all_end(&leased.values().copied().collect::<Vec<_>>(), Duration::from_secs(10))?;
    ensure!(kept.values().all(|pid| is_alive(*pid)), "{kept:?} were stopped by quit");
    stack.start()?;
    let again = stack.wids("kept")?;
    ensure!(kept == again, "{kept:?} became {again:?}");
    let new = stack.wids("leased")?;
    ensure!(new.len() == 2, "{new:?}");
    log_grows(&stack, "kept.log")?;
    stack.end()
}

#[test]
fn a_crash_of_circusd_stops_nothing_and_the_next_one_takes_all_back() -> Result<()> {
    let mut stack = Stack::new("crash", "", &two_kinds()?)?;
    stack.start()?;
    let before = (stack.wids("kept")?, stack.wids("leased")?);
    stack.kill_daemon()?;
    stack.start()?;
    let after = (stack.wids("kept")?, stack.wids("leased")?);
    ensure!(before == after, "{before:?} became {after:?}");
    log_grows(&stack, "kept.log")?;
    log_grows(&stack, "leased.log")?;
    stack.end()
}

#[test]
fn leased_services_end_when_no_manager_comes_back() -> Result<()> {
    let mut stack = Stack::new("grace", "", &two_kinds()?)?;
    stack.start()?;
    let (kept, leased) = (stack.pids("kept")?, stack.pids("leased")?);
    stack.kill_daemon()?;
    ensure!(leased.iter().all(|pid| is_alive(*pid)), "stopped without any grace");
    all_end(&leased, GRACE)?;
    ensure!(kept.iter().all(|pid| is_alive(*pid)), "persistent services were stopped");
    stack.start()?;
    let again = stack.pids("kept")?;
    ensure!(kept == again, "{kept:?} became {again:?}");
    stack.await_count("leased", 2)?;
    stack.end()
}

#[test]
fn stop_really_stops_a_persistent_service() -> Result<()> {
    let mut stack = Stack::new("stop", "", &two_kinds()?)?;
    stack.start()?;
    let kept = stack.pids("kept")?;
    stack.call("stop", &json!({"name": "kept", "waiting": true}))?;
    ensure!(kept.iter().all(|pid| !is_alive(*pid)), "{kept:?} live on");
    stack.end()
}

fn all_end(pids: &[i32], limit: Duration) -> Result<()> {
    wait_until(limit, "the leased services end", || {
        let left: Vec<&i32> = pids.iter().filter(|pid| is_alive(**pid)).collect();
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?} live")) }
    })
}

fn log_grows(stack: &Stack, name: &str) -> Result<()> {
    let path = stack.sandbox.work().join(name);
    let size = || fs::metadata(&path).map(|file| file.len()).unwrap_or(0);
    let before = size();
    wait_until(Duration::from_secs(10), &format!("{name} grows"), || {
        let now = size();
        if now > before { Ok(()) } else { Err(format!("{now} bytes")) }
    })
}
