//! The output of one fast child into a log file: time and processor time for each GiB.

use crate::child::{await_records, milliseconds, now, program};
use crate::{Figure, Peer};
use anyhow::{Context, Result, ensure};
use ringmaster_tests::processes::cpu;
use ringmaster_tests::stack::Stack;
use ringmaster_tests::wait::wait_until;
use rustix::process::getpid;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// 4 KiB writes of the child: 128 MiB.
const BLOCKS: u32 = 32 << 10;
const BYTES: u64 = 4096 * (32 << 10);

/// A buffer of this size is right for reading pipes here (larger ones show no gain).
const BUFFER: usize = 64 << 10;

pub fn measure(peer: Peer) -> Result<Vec<Figure>> {
    let (wall, processor) = match peer.subject() {
        None => bare()?,
        Some(subject) => managed(Stack::empty("bench-capture", subject)?)?,
    };
    let per_gib = f64::from(1 << 30) / (f64::from(BLOCKS) * 4096.0);
    Ok(vec![
        Figure { name: "capture of one child, s/GiB", value: wall / 1e3 * per_gib },
        Figure { name: "  processor time, s/GiB", value: processor.as_secs_f64() * per_gib },
    ])
}

fn managed(mut stack: Stack) -> Result<(f64, Duration)> {
    let (records, log) = (stack.sandbox.work().join("records"), stack.sandbox.work().join("log"));
    let command = format!("{} {} {BLOCKS}", program()?.display(), records.display());
    let stream = format!("stdout_stream.class = FileStream\nstdout_stream.filename = {}\n", log.display());
    stack.configure("", &format!("[watcher:a]\ncmd = {command}\nautostart = False\n{stream}"))?;
    stack.start()?;
    let own = stack.own_processes();
    let used = || -> Duration { own.iter().filter_map(|pid| cpu(*pid)).sum() };
    let before = used();
    stack.call("start", &serde_json::json!({"name": "a"}))?;
    let end = await_size(&log)?;
    let processor = used() - before;
    let begin = await_records(&records, 1)?.first().context("a record")?.at;
    stack.end()?;
    Ok((milliseconds(begin, end), processor))
}

/// Read and write in a loop.
fn bare() -> Result<(f64, Duration)> {
    let folder = tempfile::tempdir()?;
    let (records, log) = (folder.path().join("records"), folder.path().join("log"));
    let own = getpid().as_raw_nonzero().get();
    let before = cpu(own).unwrap_or_default();
    let arguments = [records.display().to_string(), BLOCKS.to_string()];
    let mut child = Command::new(program()?).args(arguments).stdout(Stdio::piped()).spawn()?;
    let mut output = child.stdout.take().context("a pipe was asked for")?;
    let (mut file, mut buffer, mut left) = (File::create(&log)?, vec![0; BUFFER], BYTES);
    while left > 0 {
        let read = output.read(&mut buffer)?;
        ensure!(read > 0, "the child ended with {left} bytes to come");
        file.write_all(buffer.get(..read).unwrap_or_default())?;
        left -= u64::try_from(read)?;
    }
    let end = now();
    let used = cpu(own).unwrap_or_default() - before;
    let begin = await_records(&records, 1)?.first().context("a record")?.at;
    child.kill()?;
    child.wait()?;
    Ok((milliseconds(begin, end), used))
}

fn await_size(log: &Path) -> Result<i64> {
    wait_until(Duration::from_secs(120), "the log is whole", || {
        let size = fs::metadata(log).map(|file| file.len()).unwrap_or(0);
        if size >= BYTES { Ok(now()) } else { Err(format!("{size} bytes")) }
    })
}
