//! Finding and ending the processes that belong to a sandbox.

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::collections::HashSet;
use std::fs;
use std::path::Path;

/// A living process as /proc shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: i32,
    /// Its parent's.
    pub parent: i32,
    /// Its session.
    pub session: i32,
    /// Arguments, joined by spaces.
    pub command: String,
}

/// All living processes (zombies are not: they own nothing and only their parent can remove them).
pub fn all() -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries.flatten().filter_map(|entry| read(entry.file_name().to_str()?.parse().ok()?)).collect()
}

/// One process, if it lives.
pub fn read(pid: i32) -> Option<Process> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; the fields follow the last one (proc_pid_stat(5)).
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X" | "x") {
        return None;
    }
    let parent = fields.next()?.parse().ok()?;
    let session = fields.nth(1)?.parse().ok()?;
    let command = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let command = String::from_utf8_lossy(&command).trim_end_matches('\0').replace('\0', " ");
    Some(Process { pid, parent, session, command })
}

/// Whether the process lives and is no zombie.
pub fn is_alive(pid: i32) -> bool {
    read(pid).is_some()
}

/// A number of /proc/PID/status, in the unit given there (`VmRSS`: KiB).
pub fn status_number(pid: i32, key: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Processor time that the process itself has used so far, in user and system mode.
pub fn cpu(pid: i32) -> Option<std::time::Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let ticks: u64 = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
    let a_second = rustix::param::clock_ticks_per_second();
    Some(std::time::Duration::from_millis(ticks * 1000 / a_second))
}

/// The processes that carry `marker` in their environment, work in `folder` or below, name it in their arguments, or
/// descend from one that does. A child started with another environment and folder is found by its parent or session.
pub fn belonging(marker: &str, folder: &Path) -> Vec<Process> {
    let processes = all();
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    let mut found: HashSet<i32> = processes
        .iter()
        .filter(|process| process.pid != own && carries(process, marker, folder))
        .map(|process| process.pid)
        .collect();
    loop {
        let before = found.len();
        for process in &processes {
            if found.contains(&process.parent) || (process.session != 0 && found.contains(&process.session)) {
                found.insert(process.pid);
            }
        }
        if found.len() == before {
            break;
        }
    }
    processes.into_iter().filter(|process| found.contains(&process.pid)).collect()
}

fn carries(process: &Process, marker: &str, folder: &Path) -> bool {
    let environment = fs::read(format!("/proc/{}/environ", process.pid)).unwrap_or_default();
    let works_in = fs::read_link(format!("/proc/{}/cwd", process.pid)).unwrap_or_default();
    environment.split(|byte| *byte == 0).any(|variable| variable == marker.as_bytes())
        || works_in.starts_with(folder)
        || folder.to_str().is_some_and(|folder| process.command.contains(folder))
}

/// Sends a signal to exactly the process that has this number now. `false`: there is none.
pub fn signal(pid: i32, signal: Signal) -> bool {
    Pid::from_raw(pid)
        .and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok())
        .is_some_and(|fd| pidfd_send_signal(&fd, signal).is_ok())
}

/// The signal of a name as Circus writes it (`TERM`).
pub fn signal_by_name(name: &str) -> Option<Signal> {
    Some(match name {
        "HUP" => Signal::HUP,
        "INT" => Signal::INT,
        "QUIT" => Signal::QUIT,
        "KILL" => Signal::KILL,
        "USR1" => Signal::USR1,
        "USR2" => Signal::USR2,
        "ALRM" => Signal::ALARM,
        "TERM" => Signal::TERM,
        "CHLD" => Signal::CHILD,
        "WINCH" => Signal::WINCH,
        _ => return None,
    })
}
