//! circusd is replaced by the program on disk: services, number, and what clients know stay as they were; a program
//! that is unfit changes nothing.

use anyhow::{Context, Result, ensure};
use ringmaster_tests::daemon::{Daemon, subject};
use ringmaster_tests::program::Program;
use ringmaster_tests::sandbox::Sandbox;
use ringmaster_tests::stack::{PATIENCE, Stack};
use ringmaster_tests::wait::wait_until;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

const THREE: &str = "[watcher:a]\ncmd = sleep 3600\nnumprocesses = 2\n[watcher:b]\ncmd = sleep 3600\nuse_papa = True\n\
                     [watcher:idle]\ncmd = sleep 3600\n";

/// `circusctl` with the stack's endpoint: stdout, stderr and exit status.
pub fn ctl(stack: &Stack, arguments: &[&str]) -> Result<(String, String, i32)> {
    let mut command: Command = stack.sandbox.command(Sandbox::program(subject(), Program::Circusctl)?);
    let output = command.arg("--endpoint").arg(stack.sandbox.endpoint()).args(arguments).output()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok((text(&output.stdout), text(&output.stderr), output.status.code().unwrap_or(-1)))
}

/// A stack whose programs lie in a folder of its own, where they can be replaced.
pub fn own_programs(name: &str, circus: impl Fn(&Sandbox) -> String) -> Result<(Stack, PathBuf)> {
    let mut stack = Stack::empty(name, subject())?;
    stack.configure(&circus(&stack.sandbox), THREE)?;
    let folder = stack.sandbox.work().join("bin");
    fs::create_dir(&folder)?;
    for program in [Program::Circusd, Program::Papa] {
        fs::copy(program.path()?, folder.join(program.name()))?;
    }
    let circusd = folder.join("circusd");
    stack.daemon = Some(stack.sandbox.start_command(stack.sandbox.command(&circusd), &["circus.ini"])?);
    stack.await_answer()?;
    Ok((stack, circusd))
}

fn lives(stack: &Stack) -> usize {
    let log = stack.daemon.as_ref().map(Daemon::stderr).unwrap_or_default();
    log.matches("Arbiter now waiting for commands").count()
}

/// Everything that an upgrade must not change, whatever becomes of the new program.
fn services(stack: &mut Stack) -> Result<Value> {
    let a = stack.wids("a")?;
    let b = stack.wids("b")?;
    let statuses = stack.call("status", &json!({}))?.get("statuses").cloned();
    Ok(json!({"a": a, "b": b, "statuses": statuses}))
}

/// Everything that an upgrade must not change.
fn state(stack: &mut Stack) -> Result<Value> {
    let running = |daemon: &mut Daemon| daemon.is_running().then(|| daemon.pid());
    let pid = stack.daemon.as_mut().and_then(running);
    Ok(json!({"services": services(stack)?, "pid": pid.context("circusd runs in the same process")?}))
}

#[test]
fn an_upgrade_changes_nothing_but_the_program() -> Result<()> {
    let (mut stack, circusd) = own_programs("upgrade", |_| String::new())?;
    stack.call("incr", &json!({"name": "a", "waiting": true}))?;
    stack.call("stop", &json!({"name": "idle", "waiting": true}))?;
    let before = state(&mut stack)?;
    stack.driver.subscribe(&stack.sandbox.pubsub_endpoint())?;
    replace(&circusd, &Program::Circusd.path()?)?;

    let (said, complained, code) = ctl(&stack, &["upgrade"])?;
    ensure!(code == 0 && said.contains("control back after"), "{said}{complained}\n{}", stack.sandbox.logs());
    stack.await_answer()?;
    ensure!(state(&mut stack)? == before, "{before} became {}", state(&mut stack)?);
    ensure!(lives(&stack) == 2);

    let daemon = stack.daemon.as_ref().context("it runs")?;
    daemon.signal(Signal::USR2)?;
    wait_until(PATIENCE, "SIGUSR2 upgrades as well", || match lives(&stack) {
        3 => Ok(()),
        lives => Err(format!("{lives} lives\n{}", stack.sandbox.logs())),
    })?;
    stack.await_answer()?;
    ensure!(state(&mut stack)? == before);

    // Nothing is told a second time; what follows is told once.
    stack.call("decr", &json!({"name": "a", "waiting": true}))?;
    let mut told = Vec::new();
    wait_until(PATIENCE, "the end of one process is told", || {
        let more = stack.driver.events(std::time::Duration::from_millis(200), None).map_err(|e| e.to_string())?;
        told.extend(more.into_iter().map(|event| event.topic));
        if told.iter().any(|topic| topic == "watcher.a.reap") { Ok(()) } else { Err(format!("{told:?}")) }
    })?;
    ensure!(told == ["watcher.a.kill", "watcher.a.reap"], "{told:?}");
    stack.end()
}

/// Puts a program in the place of another as package managers do: the old file stays what it is.
pub fn replace(place: &Path, program: &Path) -> Result<()> {
    let fresh = place.with_extension("new");
    fs::copy(program, &fresh)?;
    fs::rename(&fresh, place)?;
    Ok(())
}

#[test]
fn an_unfit_program_leaves_the_old_one_serving_and_is_told_apart() -> Result<()> {
    let (mut stack, circusd) = own_programs("unfit", |_| String::new())?;
    let before = state(&mut stack)?;
    let script = |text: &str| -> Result<()> {
        let fresh = circusd.with_extension("new");
        fs::write(&fresh, format!("#!/bin/sh\n{text}\n"))?;
        fs::set_permissions(&fresh, fs::Permissions::from_mode(0o755))?;
        fs::rename(&fresh, &circusd)?;
        Ok(())
    };
    let refused = |stack: &mut Stack, part: &str| -> Result<()> {
        let (said, complained, code) = ctl(stack, &["upgrade"])?;
        ensure!(code == 3 && complained.contains(part), "{part}: {code} {said}{complained}");
        ensure!(state(stack)? == before, "{part}");
        Ok(())
    };

    script("kill -ABRT $$")?;
    refused(&mut stack, "failed its trial (signal: 6")?;
    script("exit 0")?;
    refused(&mut stack, "is no circusd that can be upgraded to")?;
    fs::set_permissions(&circusd, fs::Permissions::from_mode(0o644))?;
    refused(&mut stack, "cannot be run")?;
    fs::remove_file(&circusd)?;
    refused(&mut stack, "cannot be run")?;

    replace(&circusd, &Program::Circusd.path()?)?;
    let file = stack.sandbox.work().join("circus.ini");
    let configuration = fs::read_to_string(&file)?;
    fs::write(&file, "no section\n")?;
    refused(&mut stack, "circus.ini")?;
    fs::write(&file, configuration)?;

    let (said, complained, code) = ctl(&stack, &["upgrade"])?;
    ensure!(code == 0, "{said}{complained}");
    stack.await_answer()?;
    ensure!(state(&mut stack)? == before);
    stack.end()
}

/// A program that is all right as long as it is only tried, and then does what `start` says.
fn two_faced(circusd: &Path, start: &str) -> Result<()> {
    let real = circusd.with_extension("real");
    fs::copy(Program::Circusd.path()?, &real)?;
    let fresh = circusd.with_extension("new");
    let text = format!("#!/bin/sh\ncase \"$*\" in *--trial*) exec {} \"$@\";; esac\n{start}\n", real.display());
    fs::write(&fresh, text)?;
    fs::set_permissions(&fresh, fs::Permissions::from_mode(0o755))?;
    fs::rename(&fresh, circusd)?;
    Ok(())
}

fn falls_back(name: &str, start: &str, why: &str) -> Result<()> {
    let (mut stack, circusd) = own_programs(name, |_| String::new())?;
    let before = services(&mut stack)?;
    two_faced(&circusd, start)?;
    let (said, complained, code) = ctl(&stack, &["upgrade"])?;
    // The process that circusd was started in has ended with the program that failed in it.
    let mut daemon = stack.daemon.take().context("it was started")?;
    daemon.wait(PATIENCE)?;
    let log = daemon.stderr();
    ensure!(code == 1 && complained.contains("the one before it is back"), "{code} {said}{complained}\n{log}");
    ensure!(log.contains(why), "{log}");
    ensure!(services(&mut stack)? == before, "{before} became {}", services(&mut stack)?);

    // A good program is taken by the one that has come back.
    replace(&circusd, &Program::Circusd.path()?)?;
    let (said, complained, code) = ctl(&stack, &["upgrade"])?;
    ensure!(code == 0 && said.contains("as before"), "{code} {said}{complained}");
    stack.await_answer()?;
    ensure!(services(&mut stack)? == before, "{before} became {}", services(&mut stack)?);
    stack.call("stop", &json!({"waiting": true}))?;
    stack.call("quit", &json!({"waiting": true}))?;
    stack.sandbox.finish()
}

#[test]
fn a_program_that_dies_after_its_trial_gives_way_to_the_one_before() -> Result<()> {
    falls_back("dies-later", "exit 7", "the new program ended before it served")
}

#[test]
fn a_program_that_hangs_after_its_trial_gives_way_to_the_one_before() -> Result<()> {
    falls_back("hangs-later", "exec sleep 3600", "the new program did not answer within 20 s and is killed")
}
