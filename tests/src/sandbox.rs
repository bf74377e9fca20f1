//! A place of its own for one test: folder, ports, run folder, processes. Nothing of it outlives the test.

use crate::daemon::{Daemon, Subject};
use crate::ports::free_port;
use crate::processes::{self, Process};
use crate::program::Program;
use crate::venv::Venv;
use crate::wait::wait_until;
use anyhow::{Result, bail};
use rustix::process::Signal;
use std::fs::{self, File};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// The environment variable that marks every process of a sandbox.
const MARKER: &str = "RINGMASTER_SANDBOX";

/// How long processes may take to end after the last step of a test.
const PATIENCE: Duration = Duration::from_secs(15);

/// Control, events, statistics, sockets: what the transcripts call `@P0@` to `@P5@`.
const PORTS: usize = 6;

/// One test's place. Dropping it ends whatever of it still runs; [`Sandbox::finish`] also complains about that.
#[derive(Debug)]
pub struct Sandbox {
    folder: tempfile::TempDir,
    run: PathBuf,
    ports: [u16; PORTS],
    started: std::cell::Cell<usize>,
}

impl Sandbox {
    /// A fresh one; `name` is for people who look at leftovers.
    pub fn new(name: &str) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix(&format!("ringmaster-{name}-")).tempdir()?;
        for part in ["work", "run", "out"] {
            fs::create_dir(folder.path().join(part))?;
        }
        let mut ports = [0; PORTS];
        for port in &mut ports {
            *port = free_port()?;
        }
        let run = folder.path().join("run");
        Ok(Self { folder, run, ports, started: std::cell::Cell::new(0) })
    }

    /// The folder in which the programs work.
    pub fn work(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    /// The folder of the instances (`CIRCUS_RUN_DIR`).
    pub fn run(&self) -> PathBuf {
        self.run.clone()
    }

    /// Puts the folder of the instances elsewhere, before anything is started; whoever does that removes it.
    pub fn move_run(&mut self, folder: &Path) {
        folder.clone_into(&mut self.run);
    }

    /// One of the sandbox's ports.
    pub fn port(&self, number: usize) -> u16 {
        self.ports.get(number).copied().unwrap_or(0)
    }

    /// The control endpoint.
    pub fn endpoint(&self) -> String {
        format!("tcp://127.0.0.1:{}", self.port(0))
    }

    /// The endpoint of the events.
    pub fn pubsub_endpoint(&self) -> String {
        format!("tcp://127.0.0.1:{}", self.port(1))
    }

    /// The lines with which most configurations begin. Tests do not meet on the multicast group.
    pub fn circus_section(&self) -> String {
        let (control, events) = (self.endpoint(), self.pubsub_endpoint());
        format!("[circus]\nendpoint = {control}\npubsub_endpoint = {events}\nmulticast_endpoint =\n")
    }

    /// Writes a file into the working folder.
    pub fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.work().join(name);
        fs::write(&path, text)?;
        Ok(path)
    }

    /// A command that runs in the sandbox and whose process belongs to it.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command
            .current_dir(self.work())
            .env(MARKER, self.marker_value())
            .env("CIRCUS_RUN_DIR", self.run())
            .env_remove("CIRCUSCTL_ENDPOINT")
            .stdin(Stdio::null());
        command
    }

    /// The path of a program, `circusd` or `circusctl`, of the implementation.
    pub fn program(subject: Subject, program: Program) -> Result<PathBuf> {
        match subject {
            Subject::Ringmaster => program.path(),
            Subject::Circus => Ok(Venv::get()?.program(program.name())),
        }
    }

    /// Starts `circusd` with these arguments; its output goes to files.
    pub fn start(&self, subject: Subject, arguments: &[&str]) -> Result<Daemon> {
        let command = self.command(Self::program(subject, Program::Circusd)?);
        self.start_command(command, arguments)
    }

    /// Starts a prepared command as the daemon.
    pub fn start_command(&self, mut command: Command, arguments: &[&str]) -> Result<Daemon> {
        let number = self.started.get();
        self.started.set(number + 1);
        let stdout = self.folder.path().join(format!("out/stdout.{number}"));
        let stderr = self.folder.path().join(format!("out/stderr.{number}"));
        let child = command.args(arguments).stdout(File::create(&stdout)?).stderr(File::create(&stderr)?).spawn()?;
        Ok(Daemon::new(child, stdout, stderr))
    }

    /// Everything that was logged by the daemons of this sandbox, for the text of a failure.
    pub fn logs(&self) -> String {
        (0..self.started.get())
            .map(|number| {
                let log = fs::read(self.folder.path().join(format!("out/stderr.{number}"))).unwrap_or_default();
                let log = String::from_utf8_lossy(&log);
                let lines: Vec<&str> = log.lines().collect();
                let tail = lines.get(lines.len().saturating_sub(60)..).unwrap_or_default().join("\n");
                format!("--- standard error of circusd {number}:\n{tail}\n")
            })
            .collect()
    }

    /// The living processes of this sandbox.
    pub fn processes(&self) -> Vec<Process> {
        let marker = format!("{MARKER}={}", self.marker_value());
        processes::belonging(&marker, self.folder.path())
    }

    /// The end of a test: no process, no socket and no file of an instance is left. Processes get a moment to end.
    pub fn finish(self) -> Result<()> {
        let gone = wait_until(PATIENCE, "nothing of the test runs any more", || {
            let left: Vec<String> =
                self.processes().iter().map(|process| format!("{} {}", process.pid, process.command)).collect();
            if left.is_empty() { Ok(()) } else { Err(left.join(", ")) }
        });
        gone.map_err(|error| error.context(self.logs()))?;
        let left = [files_below(&self.run())?, sockets_below(&self.work())?].concat();
        if !left.is_empty() {
            bail!("left behind: {left:?}\n{}", self.logs());
        }
        Ok(())
    }

    /// Ends every process of this sandbox, and again those that were started meanwhile.
    pub fn kill_all(&self) {
        let ended = wait_until(PATIENCE, "the sandbox is empty", || {
            let left = self.processes();
            for process in &left {
                processes::signal(process.pid, Signal::KILL);
            }
            if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
        });
        if let Err(error) = ended {
            eprintln!("{error}");
        }
    }

    fn marker_value(&self) -> String {
        self.folder.path().display().to_string()
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.kill_all();
    }
}

fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            files.extend(files_below(&entry.path())?);
        } else {
            files.push(entry.path());
        }
    }
    Ok(files)
}

fn sockets_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let is_socket = |path: &PathBuf| fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    Ok(files_below(folder)?.into_iter().filter(is_socket).collect())
}
