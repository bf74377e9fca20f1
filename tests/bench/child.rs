//! The measured child: a static C program, compiled once, that records when it begins.

use anyhow::{Context, Result, ensure};
use ringmaster_tests::program::target_dir;
use ringmaster_tests::wait::wait_until;
use rustix::time::{ClockId, clock_gettime};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// What a child wrote about itself.
#[derive(Debug, Clone, Copy)]
pub struct Record {
    /// Its number.
    pub pid: i32,
    /// Nanoseconds of `CLOCK_MONOTONIC`.
    pub at: i64,
}

/// The program; compiled when it is not there.
pub fn program() -> Result<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("bench/child.c");
    let program = target_dir()?.join("bench-child");
    let newer = |path: &Path| fs::metadata(path).and_then(|file| file.modified());
    if newer(&program).is_ok_and(|built| newer(&source).is_ok_and(|written| built > written)) {
        return Ok(program);
    }
    let status = Command::new("gcc").args(["-O2", "-static", "-o"]).arg(&program).arg(&source).status();
    ensure!(status.context("gcc is needed for the measured child")?.success(), "gcc failed");
    Ok(program)
}

/// Nanoseconds of the clock that the children use.
pub fn now() -> i64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

/// The records in a file.
pub fn records(path: &Path) -> Vec<Record> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let record = |line: &str| {
        let (pid, at) = line.split_once(' ')?;
        Some(Record { pid: pid.parse().ok()?, at: at.parse().ok()? })
    };
    text.lines().filter_map(record).collect()
}

/// Waits until the file holds `count` records. Meanwhile it is not read as long as it is too short for them: the children's
/// processors are not ours.
pub fn await_records(path: &Path, count: usize) -> Result<Vec<Record>> {
    /// `1 1234567890\n`: a second after the boot of the system.
    const SHORTEST: u64 = 13;
    let enough = u64::try_from(count)?.saturating_mul(SHORTEST);
    wait_until(Duration::from_secs(60), &format!("{count} records of children"), || {
        let length = fs::metadata(path).map_or(0, |file| file.len());
        let found = if length < enough { Vec::new() } else { records(path) };
        if found.len() >= count { Ok(found) } else { Err(format!("{length} bytes of records")) }
    })
}

/// Milliseconds between two times.
pub fn milliseconds(from: i64, to: i64) -> f64 {
    Duration::from_nanos(u64::try_from(to - from).unwrap_or(0)).as_secs_f64() * 1e3
}
