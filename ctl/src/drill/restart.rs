//! A circusd as a process: who looks after it, how it is killed, and how it is started again if nobody else does that.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use thiserror::Error;

/// Programs that start their children again, by the name that the operating system has for them.
const SUPERVISORS: &[&str] =
    &["supervisord", "runsv", "s6-supervise", "supervise", "daemontools", "monit", "dinit", "perpd", "nosh"];

/// How long a killed process may stay: until its memory is given back.
const ENDING: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };

/// Why circusd cannot be killed or started again.
#[derive(Debug, Error)]
pub enum RestartError {
    /// /proc does not tell.
    #[error("error: what is known of circusd (pid {pid}) cannot be read: {reason}; drill has to run as its user")]
    Look {
        /// Its pid.
        pid: i32,
        /// What the operating system says.
        reason: io::Error,
    },
    /// kill(2) failed.
    #[error("error: pid {pid} cannot be killed: {errno}")]
    Kill {
        /// Which process.
        pid: i32,
        /// What the operating system says.
        errno: Errno,
    },
    /// It does not end.
    #[error("error: circusd (pid {pid}) has not ended after SIGKILL")]
    Lingers {
        /// Its pid.
        pid: i32,
    },
    /// execve(2) failed.
    #[error("error: {} was killed and cannot be started again: {reason}", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// What the operating system says.
        reason: io::Error,
    },
}

/// Everything that is needed to start a circusd like this one.
#[derive(Debug)]
pub struct Manager {
    pid: i32,
    supervisor: Option<String>,
    parent: String,
    program: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    directory: PathBuf,
    outputs: [Option<File>; 2],
}

impl Manager {
    /// Looks at the process.
    ///
    /// # Errors
    /// [`RestartError::Look`].
    pub fn look(pid: i32) -> Result<Self, RestartError> {
        Self::read(pid).map_err(|reason| RestartError::Look { pid, reason })
    }

    fn read(pid: i32) -> io::Result<Self> {
        let place = PathBuf::from(format!("/proc/{pid}"));
        let stat = fs::read_to_string(place.join("stat"))?;
        let parent_pid = parent_of(&stat).unwrap_or(0);
        let parent = fs::read_to_string(format!("/proc/{parent_pid}/comm")).unwrap_or_default().trim().to_owned();
        let cgroup = fs::read_to_string(place.join("cgroup")).unwrap_or_default();
        // Under its own number, whatever is in its place on disk now; a replaced one is called "PATH (deleted)".
        let program = fs::read_link(place.join("exe"))?;
        let output = |fd: &str| OpenOptions::new().append(true).open(place.join("fd").join(fd)).ok();
        Ok(Self {
            pid,
            supervisor: supervisor(&parent, &cgroup),
            parent: format!("{parent}, pid {parent_pid}"),
            program: on_disk(&program),
            arguments: words(&fs::read(place.join("cmdline"))?),
            environment: variables(&fs::read(place.join("environ"))?),
            directory: fs::read_link(place.join("cwd"))?,
            outputs: [output("1"), output("2")],
        })
    }

    /// Who will start it again, for people.
    pub fn plan(&self) -> String {
        match &self.supervisor {
            Some(name) => format!("{name} looks after it and has to start it again"),
            None => format!("nobody looks after it (its parent is {}), so drill starts it again", self.parent),
        }
    }

    /// SIGKILL.
    ///
    /// # Errors
    /// [`RestartError::Kill`] and [`RestartError::Lingers`].
    pub fn kill(&self) -> Result<(), RestartError> {
        let failed = |errno| RestartError::Kill { pid: self.pid, errno };
        let pid = Pid::from_raw(self.pid).ok_or_else(|| failed(Errno::SRCH))?;
        let process = pidfd_open(pid, PidfdFlags::empty()).map_err(failed)?;
        kill_process(pid, Signal::KILL).map_err(failed)?;
        // Readable when it has ended, whether or not its parent has looked (pidfd_open(2)).
        let mut waiting = [PollFd::new(&process, PollFlags::IN)];
        match poll(&mut waiting, Some(&ENDING)) {
            Ok(0) => Err(RestartError::Lingers { pid: self.pid }),
            Ok(_) => Ok(()),
            Err(errno) => Err(failed(errno)),
        }
    }

    /// Starts it again if nobody else does; gives who did, for people.
    ///
    /// # Errors
    /// [`RestartError::Start`].
    pub fn come_back(self) -> Result<String, RestartError> {
        if let Some(name) = self.supervisor {
            return Ok(format!("started again by {name}"));
        }
        let [stdout, stderr] = self.outputs.map(|output| output.map_or_else(Stdio::null, Stdio::from));
        let mut arguments = self.arguments.into_iter();
        let name = arguments.next().unwrap_or_default();
        Command::new(&self.program)
            .arg0(name)
            // Its own session is the one of the process that was killed; a new one needs no new session.
            .args(arguments.filter(|argument| argument != "--daemonized"))
            .env_clear()
            .envs(self.environment)
            .current_dir(self.directory)
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(stderr)
            .process_group(0)
            .spawn()
            .map_err(|reason| RestartError::Start { program: self.program, reason })?;
        Ok(format!("started again by drill: nobody looks after it (its parent was {})", self.parent))
    }
}

/// The fields of /proc/PID/stat behind the name, which may hold anything (proc(5)).
fn after_name(stat: &str) -> impl Iterator<Item = &str> {
    stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace()
}

fn parent_of(stat: &str) -> Option<i32> {
    after_name(stat).nth(1)?.parse().ok()
}

/// A parent that starts its children again: a known program, or systemd when the process is in a service of its own. A
/// systemd that only adopted an orphan has it in a session or in somebody's user service.
fn supervisor(parent: &str, cgroup: &str) -> Option<String> {
    if SUPERVISORS.contains(&parent) {
        return Some(parent.to_owned());
    }
    let unit = cgroup.lines().next_back()?.rsplit('/').next()?;
    (parent == "systemd" && unit.ends_with(".service") && !unit.starts_with("user@"))
        .then(|| format!("systemd ({unit})"))
}

fn on_disk(program: &Path) -> PathBuf {
    let text = program.to_string_lossy();
    text.strip_suffix(" (deleted)").map_or_else(|| program.to_owned(), PathBuf::from)
}

fn words(bytes: &[u8]) -> Vec<OsString> {
    let bytes = bytes.strip_suffix(b"\0").unwrap_or(bytes);
    bytes.split(|byte| *byte == 0).map(|word| OsString::from_vec(word.to_vec())).collect()
}

fn variables(bytes: &[u8]) -> Vec<(OsString, OsString)> {
    let pair = |word: &[u8]| {
        let at = word.iter().position(|byte| *byte == b'=')?;
        let (name, value) = word.split_at_checked(at)?;
        Some((OsString::from_vec(name.to_vec()), OsString::from_vec(value.get(1..)?.to_vec())))
    };
    bytes.split(|byte| *byte == 0).filter_map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_looks_after_a_process_is_told_by_its_parent_and_its_place() {
        let service = "0::/system.slice/circusd.service\n";
        assert_eq!(supervisor("systemd", service).unwrap(), "systemd (circusd.service)");
        assert_eq!(supervisor("supervisord", "0::/\n").unwrap(), "supervisord");
        for (parent, cgroup) in
            [("bash", service), ("systemd", "0::/user.slice/user-0.slice/session-3.scope\n"), ("systemd", "")]
        {
            assert_eq!(supervisor(parent, cgroup), None, "{parent} {cgroup}");
        }
    }

    #[test]
    fn a_process_is_read_from_proc() {
        assert_eq!(parent_of("12 (a) b) c) S 34 1 1"), Some(34));
        let own = Manager::look(i32::try_from(std::process::id()).unwrap()).unwrap();
        assert_eq!(own.program, std::env::current_exe().unwrap());
        assert_eq!(own.arguments, std::env::args_os().collect::<Vec<_>>());
        assert_eq!(own.directory, std::env::current_dir().unwrap());
        assert_eq!(on_disk(Path::new("/bin/circusd (deleted)")), Path::new("/bin/circusd"));
    }

    #[test]
    fn words_and_variables_keep_what_is_in_them() {
        assert_eq!(words(b"a\0b c\0"), ["a", "b c"]);
        assert_eq!(variables(b"A=1=2\0broken\0B=\0"), [("A".into(), "1=2".into()), ("B".into(), "".into())]);
    }
}
