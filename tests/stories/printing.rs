//! What programs print for people, when nobody reads it to the end.

use anyhow::{Result, ensure};
use ringmaster_tests::program::Program;
use ringmaster_tests::sandbox::Sandbox;
use std::fs::OpenOptions;
use std::io::pipe;

const PRINTING: &[(Program, &[&str])] = &[
    (Program::Circusd, &["--check", "circus.ini"]),
    (Program::Circusd, &["--print-config", "circus.ini"]),
    (Program::Circusd, &["--version"]),
    (Program::Papa, &["--help"]),
    (Program::Papa, &["--version"]),
    (Program::Circusctl, &["--help"]),
    (Program::Circusctl, &["--completion", "bash"]),
];

fn sandbox(name: &str) -> Result<Sandbox> {
    let sandbox = Sandbox::new(name)?;
    sandbox.write("circus.ini", &format!("{}[watcher:a]\ncmd = sleep 3600\n", sandbox.circus_section()))?;
    Ok(sandbox)
}

/// As in `circusd --check circus.ini | head -1`.
#[test]
fn a_reader_that_has_had_enough_is_no_trouble() -> Result<()> {
    let sandbox = sandbox("enough")?;
    for (program, arguments) in PRINTING {
        let (reader, writer) = pipe()?;
        drop(reader);
        let output = sandbox.command(program.path()?).args(*arguments).stdout(writer).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(said.is_empty(), "{program:?} {arguments:?}: {}: {said}", output.status);
    }
    sandbox.finish()
}

#[test]
fn a_full_disk_is_told() -> Result<()> {
    let sandbox = sandbox("full")?;
    for (program, arguments) in PRINTING {
        let full = OpenOptions::new().write(true).open("/dev/full")?;
        let output = sandbox.command(program.path()?).args(*arguments).stdout(full).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        let is_told = said.contains("cannot write to stdout: No space left on device") && said.lines().count() == 1;
        ensure!(is_told && output.status.code() == Some(1), "{program:?} {arguments:?}: {}: {said}", output.status);
    }
    sandbox.finish()
}
