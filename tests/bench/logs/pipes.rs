//! Peers that only read a pipe and write a file: nothing of them survives anything.

use super::{Cost, Load, await_end};
use crate::child::program;
use anyhow::{Context, Result, ensure};
use ringmaster_tests::processes::cpu;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::getpid;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

/// A buffer of this size is right for reading pipes here (larger ones show no gain).
const BUFFER: usize = 64 << 10;

fn children(load: &Load, records: &Path) -> Result<Vec<Child>> {
    let start = || Ok(Command::new(program()?).args(load.arguments(records)).stdout(Stdio::piped()).spawn()?);
    (0..load.children).map(|_| start()).collect()
}

fn end(children: Vec<Child>) -> Result<()> {
    for mut child in children {
        child.kill()?;
        child.wait()?;
    }
    Ok(())
}

/// Read and write in a loop, from all pipes into one file.
pub(super) fn bare(load: &Load) -> Result<Option<Cost>> {
    if load.prefix {
        return Ok(None);
    }
    let folder = tempfile::tempdir()?;
    let (records, log) = (folder.path().join("records"), folder.path().join("log"));
    let own = getpid().as_raw_nonzero().get();
    let before = cpu(own).unwrap_or_default();
    let mut all = children(load, &records)?;
    let mut pipes: Vec<ChildStdout> = all.iter_mut().filter_map(|child| child.stdout.take()).collect();
    let (mut file, mut buffer, mut left) = (File::create(&log)?, vec![0; BUFFER], load.bytes());
    while left > 0 {
        let mut waiting: Vec<PollFd<'_>> = pipes.iter().map(|pipe| PollFd::new(pipe, PollFlags::IN)).collect();
        if waiting.len() > 1 {
            poll(&mut waiting, None)?;
        }
        let ready: Vec<bool> = waiting.iter().map(|one| waiting.len() == 1 || !one.revents().is_empty()).collect();
        drop(waiting);
        for (pipe, _) in pipes.iter_mut().zip(ready).filter(|(_, ready)| *ready) {
            let read = pipe.read(&mut buffer)?;
            ensure!(read > 0, "a child ended with {left} bytes to come");
            file.write_all(buffer.get(..read).unwrap_or_default())?;
            left = left.saturating_sub(u64::try_from(read)?);
        }
    }
    let wall = await_end(load, &records, || vec![log.clone()])?;
    let processor = cpu(own).unwrap_or_default() - before;
    end(all)?;
    Ok(Some(Cost { wall, processor }))
}

/// `cat > file` for each child.
pub(super) fn cat(load: &Load) -> Result<Option<Cost>> {
    piped(load, |number, folder| {
        let log = folder.join(format!("log{number}"));
        let mut command = Command::new("cat");
        command.stdout(File::create(&log)?);
        Ok((command, log))
    })
}

/// `s6-log` into a directory for each child; files as large as it allows.
pub(super) fn s6_log(load: &Load) -> Result<Option<Cost>> {
    if Command::new("s6-log").stdin(Stdio::null()).stderr(Stdio::null()).status().is_err() {
        return Ok(None);
    }
    if load.prefix {
        // ISO 8601 in local time, with nanoseconds and without a pid: more bytes than ours, so the wait is for fewer than it writes.
        return Ok(None);
    }
    piped(load, |number, folder| {
        let log = folder.join(format!("log{number}"));
        fs::create_dir(&log)?;
        let mut command = Command::new("s6-log");
        command.args(["n100", "s268435455"]).arg(&log);
        Ok((command, log))
    })
}

/// Each child into a program of its own that `make` prepares, with the file or directory in which its log is.
fn piped(load: &Load, make: impl Fn(u32, &Path) -> Result<(Command, PathBuf)>) -> Result<Option<Cost>> {
    if load.prefix {
        return Ok(None);
    }
    let folder = tempfile::tempdir()?;
    let records = folder.path().join("records");
    let mut all = children(load, &records)?;
    let (mut readers, mut logs) = (Vec::new(), Vec::new());
    for (number, child) in (0..).zip(&mut all) {
        let (mut command, log) = make(number, folder.path())?;
        readers.push(command.stdin(child.stdout.take().context("a pipe")?).spawn()?);
        logs.push(log);
    }
    let files = || logs.iter().flat_map(|log| files_of(log)).collect();
    let wall = await_end(load, &records, files)?;
    let processor = readers.iter().filter_map(|reader| cpu(i32::try_from(reader.id()).ok()?)).sum();
    end(all)?;
    end(readers)?;
    Ok(Some(Cost { wall, processor }))
}

fn files_of(log: &Path) -> Vec<PathBuf> {
    match fs::read_dir(log) {
        Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
        Err(_) => vec![log.to_owned()],
    }
}
