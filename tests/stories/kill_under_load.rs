//! `kill -9` of circusd at random moments, again and again, under load: nothing changes for the services. The same with the halves of
//! the core and upgrades of it among the kills.

use anyhow::{Result, ensure};
use ringmaster_protocol::instance::InstanceName;
use ringmaster_tests::daemon::subject;
use ringmaster_tests::dice::Dice;
use ringmaster_tests::log_check::{self, Tally};
use ringmaster_tests::prober::Prober;
use ringmaster_tests::program::Program;
use ringmaster_tests::stack::Stack;
use ringmaster_tests::wait::pass;
use rustix::process::Signal;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// Services that write.
const WRITERS: usize = 20;

/// Lines a second on each of a writer's two streams: 20 x 2 x 800 x 56 bytes are about 2 MB/s.
const RATE: u32 = 800;

/// Logs are rotated at this size, which a stream reaches every few seconds.
const LOG_BYTES: u32 = 200_000;

/// One in so many passages of a failpoint ends circusd, in a third of its lives.
const ODDS: u32 = 2000;

/// Who dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victims {
    Circusd,
    /// Any of circusd, the kernel half, the keeper; or the core is upgraded to itself.
    All,
}

#[test]
fn killing_circusd_changes_nothing() -> Result<()> {
    story(Victims::Circusd, dose(15))
}

#[test]
fn killing_anybody_changes_nothing() -> Result<()> {
    story(Victims::All, dose(15))
}

#[test]
#[ignore = "takes ten minutes; the full dose of what must hold"]
fn killing_circusd_two_hundred_times_changes_nothing() -> Result<()> {
    story(Victims::Circusd, dose(200))
}

#[test]
#[ignore = "takes ten minutes; the full dose of what must hold"]
fn killing_anybody_two_hundred_times_changes_nothing() -> Result<()> {
    story(Victims::All, dose(200))
}

/// How often; `RINGMASTER_KILLS` overrides it.
fn dose(default: u32) -> u32 {
    std::env::var("RINGMASTER_KILLS").ok().and_then(|dose| dose.parse().ok()).unwrap_or(default)
}

fn configuration(port: u16) -> Result<String> {
    let mut text = format!(
        "[socket:web]\nhost = 127.0.0.1\nport = {port}\nuse_papa = True\n\
         [watcher:greeter]\ncmd = {} $(circus.sockets.web)\nuse_sockets = True\nnumprocesses = 2\nuse_papa = True\n",
        crate::python("greeter.py")?
    );
    for number in 0..WRITERS {
        text.push_str(&format!(
            "[watcher:w{number}]\ncmd = {} w{number} {RATE}\nuse_papa = True\n",
            crate::python("writer.py")?
        ));
        for stream in ["stdout", "stderr"] {
            text.push_str(&format!(
                "{stream}_stream.class = FileStream\n{stream}_stream.filename = logs/w{number}.{stream}\n\
                 {stream}_stream.max_bytes = {LOG_BYTES}\n{stream}_stream.backup_count = 5000\n"
            ));
        }
    }
    Ok(text)
}

/// What a command of `papa` says; `None`: the core has just died or is busy with an upgrade.
fn papa(stack: &Stack, arguments: &[&str]) -> Result<Option<Vec<u8>>> {
    let instance = InstanceName::from_endpoint(&stack.sandbox.endpoint());
    let mut command = stack.sandbox.command(Program::Papa.path()?);
    let output = command.args(arguments).arg("--instance").arg(instance.as_str()).output()?;
    Ok(output.status.success().then_some(output.stdout))
}

/// One blow against the core; whether it could be found at that moment.
fn strike_core(stack: &Stack, blow: u64) -> Result<bool> {
    if blow == 0 {
        return Ok(papa(stack, &["upgrade"])?.is_some());
    }
    let victim = if blow == 1 { "kernel_pid" } else { "keeper_pid" };
    let said = papa(stack, &["status", "--json"])?;
    let status: Option<Value> = said.and_then(|said| serde_json::from_slice(&said).ok());
    match status.and_then(|status| status.get(victim)?.as_i64()) {
        Some(pid) => Ok(ringmaster_tests::processes::signal(i32::try_from(pid)?, Signal::KILL)),
        None => Ok(false),
    }
}

fn spawn_with_failpoints(stack: &mut Stack, seed: u64) -> Result<()> {
    let mut command = stack.sandbox.command(Program::Circusd.path()?);
    command.env("RINGMASTER_FAILPOINTS", format!("{seed}:{ODDS}"));
    stack.daemon = Some(stack.sandbox.start_command(command, &["circus.ini"])?);
    Ok(())
}

fn story(victims: Victims, kills: u32) -> Result<()> {
    let mut stack = Stack::empty("kills", subject())?;
    let port = stack.sandbox.port(3);
    stack.configure("check_delay = 5", &configuration(port)?)?;
    std::fs::create_dir(stack.sandbox.work().join("logs"))?;
    stack.start()?;
    let before = all_pids(&mut stack)?;
    ensure!(before.values().map(Vec::len).sum::<usize>() == WRITERS + 2, "not everything runs: {before:?}");
    let prober = Prober::start(port);
    let mut dice = Dice::new();
    let (mut doomed, mut struck) = (false, 0);
    for round in 0..kills {
        // Half of the kills hit a circusd that is still starting, the others one that has been at work for a while.
        if dice.below(2) == 0 && !doomed {
            stack.await_answer()?;
        }
        pass(Duration::from_millis(dice.below(700)));
        if victims == Victims::All && !doomed && dice.below(2) == 0 {
            // A circusd that loses the core before it has begun ends, and is to be started again by whoever started it.
            stack.await_answer()?;
            struck += u32::from(strike_core(&stack, dice.below(3))?);
            continue;
        }
        stack.kill_daemon()?;
        doomed = dice.below(3) == 0 && round % 5 != 4 && round + 1 < kills;
        if doomed {
            spawn_with_failpoints(&mut stack, dice.below(1 << 40))?;
        } else {
            stack.spawn()?;
        }
        if round % 5 == 4 && !doomed {
            stack.await_answer()?;
            ensure_same(&before, &all_pids(&mut stack)?, round)?;
        }
    }
    if doomed {
        stack.kill_daemon()?;
        stack.spawn()?;
    }
    stack.await_answer()?;
    ensure_same(&before, &all_pids(&mut stack)?, kills)?;
    let count = prober.stop()?;
    let logs = stack.sandbox.work().join("logs");
    stack.call("stop", &serde_json::json!({"waiting": true}))?;
    stack.quit()?;
    let tally = tally(&logs)?;
    println!(
        "{kills} blows at {victims:?}, {struck} of them at the core, seed {}: {tally:?}; connections {count:?}",
        dice.seed
    );
    ensure!(tally.lost == 0, "lines are lost (seed {}): {tally:?}", dice.seed);
    ensure!(tally.repeated == 0 && tally.broken == 0, "lines are repeated (seed {}): {tally:?}", dice.seed);
    ensure!(count.refused == 0 && count.failed.is_empty(), "connections (seed {}): {count:?}", dice.seed);
    ensure!(count.served > 0, "the prober never got through");
    stack.sandbox.finish()
}

fn all_pids(stack: &mut Stack) -> Result<BTreeMap<String, Vec<i32>>> {
    let names = (0..WRITERS).map(|number| format!("w{number}")).chain(["greeter".to_owned()]);
    names.map(|name| Ok((name.clone(), stack.pids(&name)?))).collect()
}

fn ensure_same(before: &BTreeMap<String, Vec<i32>>, now: &BTreeMap<String, Vec<i32>>, round: u32) -> Result<()> {
    ensure!(before == now, "after {round} kills other processes run:\n{before:?}\n{now:?}");
    Ok(())
}

fn tally(logs: &std::path::Path) -> Result<Tally> {
    let mut sum = Tally::default();
    for number in 0..WRITERS {
        for (file, stream) in [("stdout", "out"), ("stderr", "err")] {
            let path = logs.join(format!("w{number}.{file}"));
            let one = log_check::check(&path, &format!("w{number}.{stream}"))?;
            ensure!(one.lost == 0, "{}: {one:?}", path.display());
            sum.lines += one.lines;
            sum.repeated += one.repeated;
            sum.broken += one.broken;
        }
    }
    Ok(sum)
}
