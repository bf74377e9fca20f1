//! Papa's own package drives our core through its public API, over the Unix socket and over TCP.

use anyhow::{Context, Result, ensure};
use ringmaster_tests::daemon::Subject;
use ringmaster_tests::program::Program;
use ringmaster_tests::sandbox::Sandbox;
use ringmaster_tests::venv::Venv;
use ringmaster_tests::wait::wait_until;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);

/// Runs the Python part against a path or a port.
fn drive(sandbox: &Sandbox, place: &str, prefix: &str) -> Result<()> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/papa_package.py");
    let mut command = sandbox.command(Venv::get()?.program("python"));
    let output = command.arg(script).args([place, prefix]).output()?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.stdout == b"done\n", "{place}: {error}\n{}", sandbox.logs());
    Ok(())
}

#[test]
fn the_papa_package_drives_it() -> Result<()> {
    let sandbox = Sandbox::new("papa-package")?;
    let (path, port) = (sandbox.work().join("p.sock"), sandbox.port(0));
    let place = path.to_str().context("a path in UTF-8")?;
    let command = sandbox.command(Sandbox::program(Subject::Ringmaster, Program::Papa)?);
    let mut core = sandbox.start_command(command, &["-u", place, "-p", &port.to_string()])?;
    wait_until(PATIENCE, "the core is served", || {
        let both = UnixStream::connect(&path).and_then(|_| TcpStream::connect(("127.0.0.1", port)));
        both.map_err(|error| error.to_string())
    })?;
    drive(&sandbox, &port.to_string(), "tcp.")?;
    drive(&sandbox, place, "last.")?;
    let code = core.wait(PATIENCE)?;
    ensure!(code == 0, "papa ended with {code}");
    sandbox.finish()
}
