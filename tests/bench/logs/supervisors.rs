//! Peers that run the children themselves.

use super::{Cost, Load, await_end};
use crate::child::program;
use anyhow::Result;
use ringmaster_tests::daemon::Subject;
use ringmaster_tests::processes::cpu;
use ringmaster_tests::stack::Stack;
use ringmaster_tests::wait::wait_until;
use serde_json::json;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// circusd, ours or the real one: all children of one watcher into one file.
pub(super) fn managed(load: &Load, subject: Subject) -> Result<Option<Cost>> {
    let mut stack = Stack::empty("bench-logs", subject)?;
    let _memory = into_memory(&mut stack)?;
    let (records, log) = (stack.sandbox.work().join("records"), stack.sandbox.work().join("log"));
    let command = format!("{} {}", program()?.display(), load.arguments(&records).join(" "));
    let prefix = if load.prefix { "stdout_stream.time_format = %Y-%m-%d %H:%M:%S\n" } else { "" };
    let stream = format!(
        "stdout_stream.class = FileStream\nstdout_stream.filename = {}\n{prefix}numprocesses = {}\n",
        log.display(),
        load.children
    );
    stack.configure("", &format!("[watcher:a]\ncmd = {command}\nautostart = False\n{stream}"))?;
    stack.start()?;
    let own = stack.own_processes();
    let used = || -> Duration { own.iter().filter_map(|pid| cpu(*pid)).sum() };
    let before = used();
    stack.call("start", &json!({"name": "a"}))?;
    let wall = await_end(load, &records, || vec![log.clone()])?;
    let processor = used() - before;
    stack.end()?;
    Ok(Some(Cost { wall, processor }))
}

/// Puts the instance directory where it is on a host, in memory; the system's folder for temporary files is often on a disk.
fn into_memory(stack: &mut Stack) -> Result<Option<TempDir>> {
    let memory = Path::new("/dev/shm");
    let folder = memory.is_dir().then(|| tempfile::tempdir_in(memory)).transpose()?;
    if let Some(folder) = &folder {
        stack.sandbox.move_run(folder.path());
    }
    Ok(folder)
}

/// supervisord: a file for each child. It knows no time prefix.
pub(super) fn supervisor(load: &Load) -> Result<Option<Cost>> {
    let Some(supervisord) = std::env::var_os("RINGMASTER_BENCH_SUPERVISORD").filter(|_| !load.prefix) else {
        return Ok(None);
    };
    let folder = tempfile::tempdir()?;
    let (work, records) = (folder.path(), folder.path().join("records"));
    let command = format!("{} {}", program()?.display(), load.arguments(&records).join(" "));
    let text = format!(
        "[supervisord]\nnodaemon = true\nlogfile = {0}/own\npidfile = {0}/pid\n\
         [program:a]\ncommand = {command}\nnumprocs = {1}\nprocess_name = a%(process_num)d\n\
         stdout_logfile = {0}/log%(process_num)d\nstdout_logfile_maxbytes = 0\n",
        work.display(),
        load.children
    );
    fs::write(work.join("supervisord.conf"), text)?;
    let mut daemon = Command::new(supervisord)
        .arg("-c")
        .arg(work.join("supervisord.conf"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let pid = i32::try_from(daemon.id())?;
    wait_until(Duration::from_secs(60), "supervisord starts its children", || {
        if records.exists() { Ok(()) } else { Err("no record") }
    })?;
    // What its own start has cost is not counted.
    let before = cpu(pid).unwrap_or_default();
    let logs = || (0..load.children).map(|number| work.join(format!("log{number}"))).collect();
    let wall = await_end(load, &records, logs);
    let processor = cpu(pid).unwrap_or_default().saturating_sub(before);
    rustix::process::kill_process(rustix::process::Pid::from_child(&daemon), rustix::process::Signal::TERM)?;
    daemon.wait()?;
    Ok(Some(Cost { wall: wall?, processor }))
}
