//! The test suites of others on our programs: Papa's own on our core, that of Circus 0.17.2 for its use of Papa on our core, and
//! what of the rest of it asks an arbiter from outside, on our circusd.

use anyhow::{Context, Result, ensure};
use ringmaster_tests::daemon::Subject;
use ringmaster_tests::program::Program;
use ringmaster_tests::sandbox::Sandbox;
use ringmaster_tests::venv::Venv;
use ringmaster_tests::wait::wait_until;
use rustix::process::Signal;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("python").join(name)
}

/// Runs a suite and gives what it said on standard output, and all of it for the text of a failure.
fn run(command: &mut Command) -> Result<(String, String)> {
    let output = command.output()?;
    let [said, complaints] = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    let everything = format!("{}\n{said}\n{complaints}", output.status);
    Ok((said, everything))
}

#[test]
fn papas_own() -> Result<()> {
    let (sandbox, venv) = (Sandbox::new("papas-own-suite")?, Venv::with_papa()?);
    let suite = venv.source_of_papa()?.join("tests/__init__.py");
    let mut command = sandbox.command(venv.program("python"));
    command.arg(script("papa_suite.py")).arg(suite);
    command.arg(Sandbox::program(Subject::Ringmaster, Program::Papa)?);
    let (said, everything) = run(command.arg(sandbox.work()).arg(sandbox.port(0).to_string()))?;
    ensure!(said == "29 tests, failed: []\n", "{everything}");
    sandbox.finish()
}

#[test]
fn circus_017s_of_its_use_of_papa() -> Result<()> {
    let (sandbox, venv) = (Sandbox::new("circus-own-suite")?, Venv::with_papa()?);
    let socket = sandbox.work().join("p.sock");
    let place = socket.to_str().context("a path in UTF-8")?;
    let core = sandbox.command(Sandbox::program(Subject::Ringmaster, Program::Papa)?);
    let mut core = sandbox.start_command(core, &["-u", place])?;
    wait_until(PATIENCE, "the core is served", || {
        UnixStream::connect(&socket).map(drop).map_err(|error| error.to_string())
    })?;
    let mut command = sandbox.command(venv.program("python"));
    command.arg(script("circus_suite.py")).args([place, "circus.tests.test_papa_stream"]);
    let (_, everything) = run(&mut command)?;
    ensure!(everything.contains("Ran 4 tests") && everything.contains("\nOK\n"), "{everything}\n{}", sandbox.logs());
    core.signal(Signal::TERM)?;
    ensure!(core.wait(PATIENCE)? == 0, "it owns something: {}", sandbox.logs());
    sandbox.finish()
}

#[test]
fn circus_017s_from_outside() -> Result<()> {
    let sandbox = Sandbox::new("circus-daemon-suite")?;
    let python = Venv::with_papa()?.program("python");
    let mut command = sandbox.command(&python);
    // Plugins run in the Python that is found first, and import Circus.
    let others = std::env::var_os("PATH").unwrap_or_default();
    let paths = python.parent().map(Path::to_owned).into_iter().chain(std::env::split_paths(&others));
    command.env("PATH", std::env::join_paths(paths)?).env("TMPDIR", sandbox.work());
    command.args(["-W", "ignore"]).arg(script("circus_daemon_suite.py"));
    command.arg(Sandbox::program(Subject::Ringmaster, Program::Circusd)?);
    let (said, everything) = run(command.arg(sandbox.work()))?;
    ensure!(said == "53 tests, failed: []\n", "{everything}");
    sandbox.finish()
}
