//! A control round trip, by the real `circus.client` that asks how many watchers there are, and by `circusctl status` as a
//! command.

use crate::{Figure, Peer, median};
use anyhow::{Context, Result, ensure};
use ringmaster_tests::daemon::Subject;
use ringmaster_tests::program::Program;
use ringmaster_tests::sandbox::Sandbox;
use ringmaster_tests::stack::Stack;
use ringmaster_tests::venv::Venv;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

/// Requests, one after the other.
const REQUESTS: usize = 2000;

/// Commands, one after the other.
const COMMANDS: usize = 20;

pub fn measure(peer: Peer) -> Result<Vec<Figure>> {
    let (times, commands) = match peer.subject() {
        None => (bare()?, run_all(Path::new("/bin/true"), &[])?),
        Some(subject) => {
            let mut stack = Stack::empty("bench-control", subject)?;
            stack.configure("", "[watcher:a]\ncmd = sleep 3600\n")?;
            stack.start()?;
            let times = stack.driver.round_trips(&stack.sandbox.endpoint(), REQUESTS)?;
            let endpoint = stack.sandbox.endpoint();
            let program = match subject {
                Subject::Ringmaster => Program::Circusctl.path()?,
                Subject::Circus => Venv::get()?.program("circusctl"),
            };
            let commands = run_all(&program, &["--endpoint", &endpoint, "status"])?;
            stack.end()?;
            (times, commands)
        }
    };
    let value = median(&times).context("requests")? * 1e6;
    let command = median(&commands).context("commands")? * 1e3;
    Ok(vec![Figure { name: "control round trip, us", value }, Figure { name: "circusctl status, ms", value: command }])
}

/// Runs a command again and again; seconds of each.
fn run_all(program: &Path, arguments: &[&str]) -> Result<Vec<f64>> {
    let once = || -> Result<f64> {
        let begin = Instant::now();
        let output = Command::new(program).args(arguments).output()?;
        ensure!(output.status.success(), "{}: {output:?}", program.display());
        Ok(begin.elapsed().as_secs_f64())
    };
    (0..COMMANDS).map(|_| once()).collect()
}

/// libzmq's ROUTER that sends everything back.
fn bare() -> Result<Vec<f64>> {
    let sandbox = Sandbox::new("bench-echo")?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/echo.py");
    let endpoint = sandbox.endpoint();
    let mut echo = sandbox.command(Venv::get()?.program("python")).arg(script).arg(&endpoint).spawn()?;
    let times = ringmaster_tests::driver::Driver::start()?.round_trips(&endpoint, REQUESTS);
    echo.kill()?;
    echo.wait()?;
    times
}
