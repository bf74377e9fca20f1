//! `kill -9` of circusd at random moments, again and again, under load: nothing changes for the services.

use anyhow::{Result, ensure};
use ringmaster_tests::daemon::subject;
use ringmaster_tests::dice::Dice;
use ringmaster_tests::log_check::{self, Tally};
use ringmaster_tests::prober::Prober;
use ringmaster_tests::stack::Stack;
use ringmaster_tests::wait::pass;
use std::collections::BTreeMap;
use std::time::Duration;

/// Services that write.
const WRITERS: usize = 20;

/// Lines a second on each of a writer's two streams: 20 x 2 x 800 x 56 bytes are about 2 MB/s.
const RATE: u32 = 800;

/// Logs are rotated at this size, which a stream reaches every few seconds.
const LOG_BYTES: u32 = 200_000;

#[test]
fn killing_circusd_changes_nothing() -> Result<()> {
    story(dose(15))
}

#[test]
#[ignore = "takes ten minutes; the full dose of what must hold"]
fn killing_circusd_two_hundred_times_changes_nothing() -> Result<()> {
    story(dose(200))
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

fn story(kills: u32) -> Result<()> {
    let mut stack = Stack::empty("kills", subject())?;
    let port = stack.sandbox.port(3);
    stack.configure("check_delay = 5", &configuration(port)?)?;
    std::fs::create_dir(stack.sandbox.work().join("logs"))?;
    stack.start()?;
    let before = all_pids(&mut stack)?;
    ensure!(before.values().map(Vec::len).sum::<usize>() == WRITERS + 2, "not everything runs: {before:?}");
    let prober = Prober::start(port);
    let mut dice = Dice::new();
    for round in 0..kills {
        // Half of the kills hit a circusd that is still starting, the others one that has been at work for a while.
        if dice.below(2) == 0 {
            stack.await_answer()?;
        }
        pass(Duration::from_millis(dice.below(700)));
        stack.kill_daemon()?;
        stack.spawn()?;
        if round % 5 == 4 {
            stack.await_answer()?;
            ensure_same(&before, &all_pids(&mut stack)?, round)?;
        }
    }
    stack.await_answer()?;
    ensure_same(&before, &all_pids(&mut stack)?, kills)?;
    let count = prober.stop()?;
    let logs = stack.sandbox.work().join("logs");
    stack.call("stop", &serde_json::json!({"waiting": true}))?;
    stack.quit()?;
    let tally = tally(&logs)?;
    println!("{kills} kills, seed {}: {tally:?}; connections {count:?}", dice.seed);
    ensure!(tally.lost == 0, "lines are lost (seed {}): {tally:?}", dice.seed);
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
