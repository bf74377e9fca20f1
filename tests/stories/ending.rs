//! circusd is told to end at an inconvenient moment, and ends all the same.

use anyhow::{Context, Result, ensure};
use ringmaster_tests::dice::Dice;
use ringmaster_tests::stack::{PATIENCE, Stack};
use ringmaster_tests::wait::{pass, wait_until};
use rustix::process::Signal;
use serde_json::json;
use std::time::Duration;

/// A restart stops everything, reads the configuration and starts again: whichever of these a signal meets, the end that it
/// asks for comes, and what asked for it sees no failure.
#[test]
fn a_signal_during_a_restart_ends_circusd() -> Result<()> {
    let mut dice = Dice::new();
    println!("RINGMASTER_SEED={}", dice.seed);
    let mut stack = Stack::new("ending", "", "[watcher:a]\ncmd = sleep 3600\n")?;
    for round in 0..8 {
        stack.start()?;
        stack.call("restart", &json!({}))?;
        let moment = Duration::from_millis(dice.below(150));
        pass(moment);
        let mut daemon = stack.daemon.take().context("circusd was started")?;
        daemon.signal(Signal::TERM)?;
        let code = daemon.wait(PATIENCE)?;
        ensure!(code == 0, "round {round}, {moment:?} after restart: status {code}\n{}", daemon.stderr());
        wait_until(PATIENCE, "nothing is left", || match stack.sandbox.processes() {
            left if left.is_empty() => Ok(()),
            left => Err(format!("round {round}, {moment:?}: {left:?}")),
        })?;
    }
    stack.end()
}

/// Whoever serves at the moment of the signal ends, and nobody comes in its stead: neither the program that takes over nor the
/// one that stands by.
#[test]
fn a_signal_during_an_upgrade_ends_circusd() -> Result<()> {
    let mut dice = Dice::new();
    println!("RINGMASTER_SEED={}", dice.seed);
    let mut stack = Stack::new("called-off", "", "[watcher:a]\ncmd = sleep 3600\n")?;
    for round in 0..8 {
        stack.start()?;
        let mut daemon = stack.daemon.take().context("circusd was started")?;
        daemon.signal(Signal::USR2)?;
        let moment = Duration::from_millis(dice.below(500));
        pass(moment);
        daemon.signal(Signal::TERM)?;
        let code = daemon.wait(PATIENCE)?;
        ensure!(code == 0, "round {round}, {moment:?} after SIGUSR2: status {code}\n{}", daemon.stderr());
        wait_until(PATIENCE, "nothing is left", || match stack.sandbox.processes() {
            left if left.is_empty() => Ok(()),
            left => Err(format!("round {round}, {moment:?}: {left:?}\n{}", daemon.stderr())),
        })?;
    }
    stack.end()
}
