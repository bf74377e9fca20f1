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
    (Program::Circusd, &["--help"]),
    (Program::CircusdStats, &["--version"]),
    (Program::CircusdStats, &["--help"]),
    (Program::CircusPlugin, &["--version"]),
    (Program::CircusPlugin, &[]),
    (Program::CircusTop, &["--version"]),
    (Program::CircusTop, &["--help"]),
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

/// As in `circusd missing.ini 2> /dev/full`: the exit status is all that is left, and is the same.
#[test]
fn a_complaint_that_nobody_can_read_leaves_the_exit_status() -> Result<()> {
    const COMPLAINING: &[(Program, &[&str], i32)] = &[
        (Program::Circusd, &["missing.ini"], 1),
        (Program::Circusd, &["--nonsense"], 2),
        (Program::Papa, &["--nonsense"], 2),
        (Program::Papa, &["status"], 3),
        (Program::Circusctl, &["nonsense"], 2),
        (Program::CircusdStats, &["--nonsense"], 2),
        (Program::CircusdStats, &["--ssh", "somebody@somewhere"], 1),
        (Program::CircusPlugin, &["no.such.Plugin"], 1),
        (Program::CircusTop, &["--nonsense"], 2),
    ];
    let sandbox = sandbox("unread")?;
    for (program, arguments, status) in COMPLAINING {
        let full = OpenOptions::new().write(true).open("/dev/full")?;
        let output = sandbox.command(program.path()?).args(*arguments).stderr(full).output()?;
        ensure!(output.status.code() == Some(*status), "{program:?} {arguments:?}: {}", output.status);
    }
    sandbox.finish()
}
