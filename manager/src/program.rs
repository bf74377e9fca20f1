//! Other programs that circusd runs for a moment: the core that it starts, and the circusd that is to replace it.
//! Services are never started here; they are the core's children.

use crate::daemon::DAEMONIZED;
use crate::pidfd::has_ended;
use crate::stand_by::STAND_BY;
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use std::ffi::OsString;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// Options that say what a process of circusd is to do first, and mean nothing to the program that takes its place: it has
/// left its terminal, and has stood by.
const PASSING: [&str; 2] = [DAEMONIZED, STAND_BY];

/// Bytes of what a program wrote that are quoted.
const QUOTED: usize = 2000;

/// What a program did.
#[derive(Debug)]
pub struct Run {
    /// How it ended; `None`: it took too long and was killed.
    pub status: Option<ExitStatus>,
    /// What it wrote to stdout and stderr, on one line.
    pub words: String,
}

/// Runs a program with nothing on stdin and waits for its end. Blocks the thread.
///
/// # Errors
/// It cannot be started.
pub fn run(command: &mut Command, timeout: Duration) -> std::io::Result<Run> {
    run_until(command, timeout, |child| drop(child.kill()))
}

/// The same for a program that leads a process group of its own: when it takes too long the whole group is killed.
///
/// # Errors
/// It cannot be started.
pub fn run_group(command: &mut Command, timeout: Duration) -> std::io::Result<Run> {
    run_until(command, timeout, |child| {
        let _ = kill_process_group(Pid::from_child(child), Signal::KILL);
    })
}

fn run_until(command: &mut Command, timeout: Duration, kill: fn(&mut Child)) -> std::io::Result<Run> {
    let words = File::from(memfd_create("words", MemfdFlags::CLOEXEC)?);
    let mut child = command.stdin(Stdio::null()).stdout(words.try_clone()?).stderr(words.try_clone()?).spawn()?;
    let status = ended(&mut child, timeout, kill)?;
    Ok(Run { status, words: quoted(&words) })
}

/// Waits for the end of a child. `None`: it took too long and was killed.
fn ended(child: &mut Child, timeout: Duration, kill: fn(&mut Child)) -> std::io::Result<Option<ExitStatus>> {
    let pidfd: OwnedFd = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
    if !has_ended(&pidfd, timeout)? {
        // It may have ended just now; then there is nothing to kill.
        kill(child);
        child.wait()?;
        return Ok(None);
    }
    child.wait().map(Some)
}

/// What the program wrote, on one line.
fn quoted(words: &File) -> String {
    let mut bytes = vec![0; QUOTED];
    let length = words.read_at(&mut bytes, 0).unwrap_or(0);
    bytes.truncate(length);
    let text = String::from_utf8_lossy(&bytes);
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.is_empty() { "it said nothing".to_owned() } else { line }
}

/// How this very process was started, as far as doing so again needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// The program by the name under which it was called, so that a newer one at that name is found.
    pub path: PathBuf,
    /// `argv[0]`.
    pub name: OsString,
    /// The other arguments, without [`PASSING`].
    pub arguments: Vec<OsString>,
}

impl Program {
    /// Of this process. To be asked before the working directory changes.
    pub fn own() -> Self {
        let passing = |argument: &OsString| {
            let option = argument.as_bytes().split(|byte| *byte == b'=').next();
            PASSING.iter().any(|passing| option == Some(passing.as_bytes()))
        };
        let mut arguments = std::env::args_os().filter(|argument| !passing(argument));
        let name = arguments.next().unwrap_or_default();
        let path = called(Path::new(&name)).or_else(|| std::env::current_exe().ok());
        Self { path: path.unwrap_or_else(|| PathBuf::from(&name)), name, arguments: arguments.collect() }
    }
}

/// The absolute path that a shell would find for the word, if there is a program.
fn called(word: &Path) -> Option<PathBuf> {
    let is_program =
        |path: &PathBuf| path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0);
    if word.as_os_str().as_bytes().contains(&b'/') {
        return std::path::absolute(word).ok().filter(is_program);
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(word)).find(is_program)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_status_of_a_program_come_back() {
        let run = run(Command::new("sh").args(["-c", "echo out; echo err >&2; exit 3"]), Duration::from_secs(60));
        let run = run.unwrap();
        assert_eq!((run.status.and_then(|status| status.code()), run.words.as_str()), (Some(3), "out err"));
    }

    #[test]
    fn a_program_that_takes_too_long_is_killed() {
        let run = run(Command::new("sleep").arg("3600"), Duration::from_millis(1)).unwrap();
        assert!(run.status.is_none());
    }

    #[test]
    fn a_program_is_found_as_a_shell_finds_it() {
        assert!(called(Path::new("sh")).unwrap().is_absolute());
        assert_eq!(called(Path::new("/bin/sh")).unwrap(), Path::new("/bin/sh"));
        assert_eq!(called(Path::new("./no-such-program")), None);
    }
}
