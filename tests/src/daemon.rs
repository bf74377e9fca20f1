//! A running `circusd`, ours or the real one.

use crate::processes::signal;
use crate::wait::wait_until;
use anyhow::{Result, bail};
use rustix::process::Signal;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, ExitStatus};
use std::time::Duration;

/// Which implementation a test talks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// The programs of this repository.
    Ringmaster,
    /// Circus 0.19 from PyPI.
    Circus,
}

/// A started `circusd`. It is not ended with the value: that is the sandbox's work.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Daemon {
    pub(crate) fn new(child: Child, stdout: PathBuf, stderr: PathBuf) -> Self {
        Self { child, stdout, stderr }
    }

    /// Its process number.
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap_or(0)
    }

    /// Sends it a signal.
    pub fn signal(&self, number: Signal) -> Result<()> {
        if !signal(self.pid(), number) {
            bail!("circusd {} is gone, signal {number:?} not sent\n{}", self.pid(), self.stderr());
        }
        Ok(())
    }

    /// Waits for its end: the exit status, or the negative number of the signal that ended it.
    pub fn wait(&mut self, limit: Duration) -> Result<i32> {
        let child = &mut self.child;
        let ended = wait_until(limit, "circusd ends", || match child.try_wait() {
            Ok(Some(status)) => Ok(exit_code(status)),
            Ok(None) => Err(format!("circusd {} runs", child.id())),
            Err(error) => Err(error.to_string()),
        });
        ended.map_err(|error| error.context(self.stderr()))
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// What it wrote on standard error so far: its log.
    pub fn stderr(&self) -> String {
        read(&self.stderr)
    }

    /// What it wrote on standard output so far.
    pub fn stdout(&self) -> String {
        read(&self.stdout)
    }
}

fn read(path: &PathBuf) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

/// The exit status, or the negative number of the signal that ended the process.
pub fn exit_code(status: ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|number| -number)).unwrap_or(i32::MIN)
}

/// The implementation that the stories run on: ours, or the real Circus when `RINGMASTER_TEST_SUBJECT` is `circus`,
/// which shows whether a story itself is sound where both behave the same.
pub fn subject() -> Subject {
    match std::env::var("RINGMASTER_TEST_SUBJECT").as_deref() {
        Ok("circus") => Subject::Circus,
        _ => Subject::Ringmaster,
    }
}
