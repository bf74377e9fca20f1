//! Who belongs to a process: descendants, its session, orphans that came to us.
//!
//! A snapshot names candidates by pid and start time; a signal goes only through a pidfd whose process still has that
//! start time, so a pid that was used again is never hit. It is made by walking the lists of children that the system
//! keeps (proc(5), `/proc/PID/task/TID/children`), or by reading all of /proc where there are no such lists.

use rustix::fs::{CWD, Mode, OFlags};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::collections::{HashMap, HashSet};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// A process that cannot be mistaken for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Identity {
    /// Its pid.
    pub pid: i32,
    /// Its start in clock ticks since boot.
    pub start: u64,
}

/// What /proc says about a process (proc(5), `stat`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// Who it is.
    pub identity: Identity,
    /// Its parent.
    pub parent: i32,
    /// Its session.
    pub session: i32,
    /// It has ended and waits to be reaped.
    pub zombie: bool,
    /// How it ended, as wait(2) encodes it; meaningful for a zombie.
    pub exit_code: i32,
}

/// More than `stat` of proc(5) can be long: 52 fields of 20 digits, and a name of 64 bytes.
const STAT_BYTES: usize = 2048;

/// Reads one process; `None` when it is gone.
pub fn stat(pid: i32) -> Option<Stat> {
    let file = open(&format!("/proc/{pid}/stat"))?;
    let mut buffer = [0; STAT_BYTES];
    // The system writes the whole line into one read.
    let count = rustix::io::read(&file, &mut buffer).ok()?;
    parse_stat(pid, &String::from_utf8_lossy(buffer.get(..count)?))
}

/// Whether a process that was listed lives. Linux lists one that has ended in its group until it has left its processor, which may be
/// after its parent was told.
pub fn is_alive(pid: i32) -> bool {
    stat(pid).is_some_and(|stat| !stat.zombie)
}

fn open(path: &str) -> Option<OwnedFd> {
    rustix::fs::openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()
}

/// How this system tells who is whose child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kinship {
    /// By a list for each thread (Linux with `CONFIG_PROC_CHILDREN`).
    Lists,
    /// Only by the parent of each process.
    Parents,
}

impl Kinship {
    /// Looks.
    pub fn find() -> Self {
        if std::path::Path::new("/proc/thread-self/children").exists() { Self::Lists } else { Self::Parents }
    }
}

/// Children of all threads of a process, ended ones included, by [`Kinship::Lists`]. The list of a process that reaps
/// children meanwhile may miss one (proc(5)); our own, which nobody else reaps, is exact.
pub fn children_of(parent: i32) -> Vec<i32> {
    let threads = std::fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    let mut children = Vec::new();
    for list in lists {
        children.extend(list.split_ascii_whitespace().filter_map(|pid| pid.parse::<i32>().ok()));
    }
    children
}

/// The program's name may contain anything, so the fields are counted from its closing parenthesis.
fn parse_stat(pid: i32, text: &str) -> Option<Stat> {
    let (_, rest) = text.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    // Field n of proc(5) is number n - 3 here.
    let number = |field: usize| fields.get(field - 3).and_then(|text| text.parse::<i64>().ok());
    let small = |field| number(field).and_then(|value| i32::try_from(value).ok());
    Some(Stat {
        identity: Identity { pid, start: fields.get(22 - 3)?.parse().ok()? },
        parent: small(4)?,
        session: small(6)?,
        zombie: matches!(fields.first(), Some(&"Z" | &"X")),
        exit_code: small(52).unwrap_or(0),
    })
}

/// Processes at one moment, and who is whose child.
#[derive(Debug, Default)]
pub struct Snapshot {
    all: HashMap<i32, Stat>,
    children: HashMap<i32, Vec<i32>>,
    sessions: HashMap<i32, Vec<i32>>,
}

impl Snapshot {
    /// Reads all of /proc.
    pub fn take() -> Self {
        let mut snapshot = Self::default();
        for stat in all_pids().filter_map(stat) {
            snapshot.add(stat);
        }
        snapshot
    }

    /// These processes and what descends from them, by [`Kinship::Lists`].
    pub fn below(mut open: Vec<i32>) -> Self {
        let mut snapshot = Self::default();
        while let Some(pid) = open.pop() {
            if snapshot.all.contains_key(&pid) {
                continue;
            }
            if let Some(stat) = stat(pid) {
                snapshot.add(stat);
                open.extend(children_of(pid));
            }
        }
        snapshot
    }

    fn add(&mut self, stat: Stat) {
        let pid = stat.identity.pid;
        self.children.entry(stat.parent).or_default().push(pid);
        self.sessions.entry(stat.session).or_default().push(pid);
        self.all.insert(pid, stat);
    }

    /// Living direct children of a process.
    pub fn children(&self, parent: Identity) -> Vec<Identity> {
        if !self.is(parent) {
            return Vec::new();
        }
        self.living(self.children.get(&parent.pid).into_iter().flatten().copied())
    }

    /// Living descendants of these, without them.
    pub fn descendants(&self, roots: impl IntoIterator<Item = Identity>) -> Vec<Identity> {
        let mut open: Vec<i32> = roots.into_iter().filter(|root| self.is(*root)).map(|root| root.pid).collect();
        let mut seen: HashSet<i32> = open.iter().copied().collect();
        let mut found = Vec::new();
        while let Some(parent) = open.pop() {
            for child in self.children.get(&parent).into_iter().flatten() {
                if seen.insert(*child) {
                    found.push(*child);
                    open.push(*child);
                }
            }
        }
        self.living(found)
    }

    /// Living members of the session that `main` leads or led, that started no earlier than it. When another process has
    /// its pid now, the session is not its any more.
    pub fn session(&self, main: Identity) -> Vec<Identity> {
        if self.all.get(&main.pid).is_some_and(|stat| stat.identity != main) {
            return Vec::new();
        }
        let members = self.sessions.get(&main.pid).into_iter().flatten().filter_map(|pid| self.all.get(pid));
        let members = members.filter(|stat| stat.identity.pid != main.pid && stat.identity.start >= main.start);
        self.living(members.map(|stat| stat.identity.pid))
    }

    /// Living children of `adopter`: orphans, beside the processes that it made itself.
    pub fn adopted_by(&self, adopter: i32) -> Vec<Identity> {
        self.living(self.children.get(&adopter).into_iter().flatten().copied())
    }

    /// Those of `known` that still live.
    pub fn still(&self, known: &[Identity]) -> Vec<Identity> {
        let alive = known.iter().copied().filter(|identity| self.is(*identity));
        self.living(alive.map(|identity| identity.pid))
    }

    /// Whether this very process lives or is a zombie.
    pub fn is(&self, identity: Identity) -> bool {
        self.all.get(&identity.pid).is_some_and(|stat| stat.identity == identity)
    }

    fn living(&self, pids: impl IntoIterator<Item = i32>) -> Vec<Identity> {
        let stats = pids.into_iter().filter_map(|pid| self.all.get(&pid));
        stats.filter(|stat| !stat.zombie).map(|stat| stat.identity).collect()
    }
}

/// The pids of all processes.
pub fn all_pids() -> impl Iterator<Item = i32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// A pidfd of this very process; `None` when it is gone.
pub fn hold(identity: Identity) -> Option<OwnedFd> {
    let pidfd = pidfd_open(Pid::from_raw(identity.pid)?, PidfdFlags::empty()).ok()?;
    // The descriptor was opened by number: it is the right process when that number still has the right start.
    (stat(identity.pid)?.identity == identity).then_some(pidfd)
}

/// Sends `signal` to those of `targets` that still are who they were; gives whom it reached. An error is the first that
/// is not "gone".
pub fn signal_all(targets: &[Identity], signal: i32) -> io::Result<Vec<i32>> {
    let mut reached = Vec::new();
    let mut failure = None;
    for target in targets {
        let Some(pidfd) = hold(*target) else {
            continue;
        };
        match crate::sys::pidfd_signal(pidfd.as_fd(), signal) {
            Ok(()) => reached.push(target.pid),
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    match failure {
        Some(error) if reached.is_empty() => Err(error),
        Some(_) | None => Ok(reached),
    }
}

/// The pipes (inodes) that descriptors 1 and 2 of a process are.
pub fn outputs(pid: i32) -> impl Iterator<Item = u64> {
    let pipe = move |fd| {
        let link = std::fs::read_link(format!("/proc/{pid}/fd/{fd}")).ok()?;
        link.to_str()?.strip_prefix("pipe:[")?.strip_suffix(']')?.parse().ok()
    };
    [1, 2].into_iter().filter_map(pipe)
}

/// Whether descriptor 1 or 2 of a process is one of these pipes (inodes); 0 is none.
pub fn writes_to(pid: i32, pipes: [u64; 2]) -> bool {
    outputs(pid).any(|inode| pipes.contains(&inode))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_parentheses_and_blanks_are_read() {
        let tail = "S 10 20 30 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 777 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 256";
        let stat = parse_stat(5, &format!("5 (a) b) {tail}")).unwrap();
        assert_eq!((stat.parent, stat.session, stat.identity.start), (10, 30, 777));
        assert_eq!((stat.zombie, stat.exit_code), (false, 256));
        assert_eq!(parse_stat(5, "5 (x"), None);
    }

    #[test]
    fn we_find_ourselves() {
        let me = i32::try_from(std::process::id()).unwrap();
        let snapshot = Snapshot::take();
        assert!(snapshot.is(stat(me).unwrap().identity));
        assert!(!snapshot.is(Identity { pid: me, start: 0 }));
        assert!(hold(Identity { pid: me, start: 0 }).is_none());
    }

    #[test]
    fn lists_and_parents_tell_the_same_even_of_children_of_threads() {
        if Kinship::find() == Kinship::Parents {
            eprintln!("skipped: this system keeps no lists of children");
            return;
        }
        let (started, pids) = std::sync::mpsc::channel();
        let (end, wait) = std::sync::mpsc::channel::<()>();
        // The thread lives on: children belong to the thread that made them.
        let thread = std::thread::spawn(move || {
            let mut shell = std::process::Command::new("sh")
                .args(["-c", "sleep 1000 & echo $!; wait"])
                .stdout(std::process::Stdio::piped())
                .spawn()
                .unwrap();
            let mut line = String::new();
            let mut out = std::io::BufReader::new(shell.stdout.take().unwrap());
            std::io::BufRead::read_line(&mut out, &mut line).unwrap();
            started.send((shell.id(), line.trim().parse::<i32>().unwrap())).unwrap();
            wait.recv().ok();
            shell.kill().unwrap();
            shell.wait().unwrap();
        });
        let (shell, sleep) = pids.recv().unwrap();
        let shell = i32::try_from(shell).unwrap();
        let me = i32::try_from(std::process::id()).unwrap();
        let found = [Snapshot::take(), Snapshot::below(vec![me])].map(|snapshot| {
            let root = stat(me).unwrap().identity;
            let of = |found: Vec<Identity>, pid| found.iter().any(|one| one.pid == pid);
            (
                of(snapshot.children(root), shell),
                of(snapshot.children(root), sleep),
                of(snapshot.descendants([root]), sleep),
            )
        });
        assert_eq!(found, [(true, false, true); 2]);
        let sleep = stat(sleep).unwrap().identity;
        assert_eq!(signal_all(&[sleep], libc::SIGKILL).unwrap(), [sleep.pid]);
        drop(end);
        thread.join().unwrap();
    }
}
