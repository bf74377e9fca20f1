//! A core of its own for one test, and a client that talks to it. No fixed paths, no sleeping: every wait has a deadline
//! that prints what was seen last.
#![allow(dead_code, reason = "each test program uses its part")]

mod client;
mod reading;
mod talk;

pub use client::Client;
pub use reading::Reading;
#[allow(unused_imports, reason = "each test program uses its part")]
pub use talk::{Talk, of};

use ringmaster_protocol::limits::DEFAULT_RING;
use ringmaster_protocol::message::{Signal as SignalRequest, *};
use ringmaster_protocol::ring::Stream;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub const PATIENCE: Duration = Duration::from_secs(20);

/// One core in a directory of its own; killed at the end with everything that it started.
pub struct Rig {
    pub run: tempfile::TempDir,
    pub papa: Option<Child>,
    /// `CIRCUS_CGROUP` of the core.
    pub groups: &'static str,
}

impl Rig {
    pub fn new() -> Self {
        Self::with_groups("on")
    }

    /// A core that makes cgroups where it can, or (`off`) none.
    pub fn with_groups(groups: &'static str) -> Self {
        let mut rig = Self { run: tempfile::tempdir().unwrap(), papa: None, groups };
        rig.start();
        rig
    }

    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_papa"));
        command.env("CIRCUS_RUN_DIR", self.run.path()).env("CIRCUS_CGROUP", self.groups).current_dir("/");
        command
    }

    pub fn start(&mut self) {
        self.start_as(|_| {});
    }

    pub fn start_with(&mut self, arguments: &[&str]) {
        self.start_as(|command| {
            command.args(arguments);
        });
    }

    /// With more arguments, or its words elsewhere.
    pub fn start_as(&mut self, change: impl FnOnce(&mut Command)) {
        let mut command = self.command();
        command.arg("-d");
        change(&mut command);
        self.start_by(command);
    }

    /// The command becomes the core.
    pub fn start_by(&mut self, mut command: Command) {
        let child = command.stdin(Stdio::null()).spawn().unwrap();
        let pid = child.id();
        self.papa = Some(child);
        eventually("the core accepts connections", || {
            let served = std::fs::read_to_string(self.directory().join("pid")).unwrap_or_default();
            let ours = served.trim() == pid.to_string();
            (ours && UnixStream::connect(self.socket()).is_ok()).then_some(()).ok_or(served)
        });
    }

    pub fn directory(&self) -> PathBuf {
        self.run.path().join("default")
    }

    /// In the instance's directory, or where a test has put it with `-u`.
    pub fn socket(&self) -> PathBuf {
        let elsewhere = self.run.path().join("elsewhere");
        if elsewhere.exists() { elsewhere } else { self.directory().join("sock") }
    }

    /// The half that owns the children, whoever that is now.
    pub fn keeper_pid(&self) -> i32 {
        std::fs::read_to_string(self.directory().join("pid")).unwrap().trim().parse().unwrap()
    }

    /// The half that serves.
    pub fn kernel_pid(&self) -> i32 {
        self.client().status().kernel_pid
    }

    /// SIGKILL to both halves, as nobody can prepare for.
    pub fn kill(&mut self) {
        let (keeper, kernel) = (Handle::open(self.keeper_pid()), Handle::open(self.kernel_pid()));
        keeper.send(Signal::STOP);
        for half in [&kernel, &keeper] {
            half.send(Signal::KILL);
        }
        for half in [kernel, keeper] {
            half.wait_end();
        }
        if let Some(mut papa) = self.papa.take() {
            papa.wait().unwrap();
        }
    }

    /// SIGKILL to every process that has our directory in its environment, again until there is none: halves of the core, also
    /// one that is taking the other's place and is in no file yet. Children have environments of their own.
    fn kill_halves(&self) {
        let ours = format!("CIRCUS_RUN_DIR={}", self.run.path().display());
        let halves = || {
            let pids = std::fs::read_dir("/proc").into_iter().flatten().flatten();
            let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
            let is_ours = |pid: &i32| {
                let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
                environment.split(|byte| *byte == 0).any(|variable| variable == ours.as_bytes())
            };
            pids.filter(is_ours).filter(|pid| *pid != std::process::id().cast_signed()).collect::<Vec<_>>()
        };
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = halves();
            if left.is_empty() || Instant::now() > deadline {
                return;
            }
            for pid in left {
                Command::new("kill").args(["-KILL", &pid.to_string()]).stderr(Stdio::null()).status().ok();
            }
        }
    }

    /// SIGKILL to the half that serves; the other starts it anew.
    pub fn kill_kernel(&self) {
        let kernel = Handle::open(self.kernel_pid());
        kernel.send(Signal::KILL);
        kernel.wait_end();
    }

    /// SIGKILL to the half that owns the children; the other takes its place.
    pub fn kill_keeper(&self) {
        let before = self.keeper_pid();
        let keeper = Handle::open(before);
        keeper.send(Signal::KILL);
        keeper.wait_end();
        eventually("the other half is the keeper", || {
            let now = self.keeper_pid();
            (now != before).then_some(()).ok_or(now)
        });
    }

    pub fn client(&self) -> Client {
        Client::connect(self)
    }

    /// A client that holds the lease and watches everything.
    pub fn manager(&self) -> Client {
        let mut client = self.client();
        client.ok(TakeLease { holder: "test".into(), grace_ms: 30_000, ext: vec![] });
        client.ok(Watch::default());
        client
    }

    /// Directories of this instance's cgroups.
    pub fn group_folders(&self, instance: u64) -> Vec<PathBuf> {
        let noted = std::fs::read_to_string(self.directory().join("groups")).unwrap_or_default();
        let entries = noted.lines().flat_map(|folder| std::fs::read_dir(folder).into_iter().flatten().flatten());
        let ours = format!("papa-{instance:016x}-");
        let names = entries.filter(|entry| entry.file_name().to_str().is_some_and(|name| name.starts_with(&ours)));
        names.map(|entry| entry.path()).collect()
    }

    pub fn open_fds(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.keeper_pid())).unwrap().count()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let Ok(keeper) = std::fs::read_to_string(self.directory().join("pid")) else {
            return;
        };
        if std::thread::panicking() {
            // The core may be in any state: its children, then itself.
            let keeper = keeper.trim();
            Command::new("kill").args(["-STOP", keeper]).status().ok();
            Command::new("pkill").args(["-KILL", "-P", keeper]).status().ok();
            self.kill_halves();
            return;
        }
        if self.papa.is_none() && UnixStream::connect(self.socket()).is_err() {
            return;
        }
        // Whatever the core knows is killed by the core itself, so that nobody else is hit.
        let mut client = self.client();
        let all = List { after: ProcessId(0), prefix: String::new(), ext: vec![] };
        let list = match client.request(all) {
            Ok(Reply::Listing(list)) => list.processes,
            // In safe mode nothing is asked for, and nothing was started.
            _ => vec![],
        };
        for process in list {
            let kill = SignalRequest { process: process.id, signal: 9, target: Target::Tree, ext: vec![] };
            if let Err(refusal) = client.request(kill) {
                eprintln!("the core does not kill {}: {refusal:?}", process.name);
            }
        }
        let groups = client.welcome.as_ref().map(|welcome| self.group_folders(welcome.instance_id)).unwrap_or_default();
        self.kill();
        self.kill_halves();
        for group in groups.iter().filter(|group| group.exists()) {
            let begun = Instant::now();
            // A core of another test removes empty ones, too.
            eventually("the cgroup is empty", || match std::fs::remove_dir(group) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    if begun.elapsed() > PATIENCE / 10 {
                        end_all(group);
                    }
                    Err(error)
                }
                Ok(()) | Err(_) => Ok(()),
            });
        }
    }
}

/// Ends whoever is left in a group of ours, and tells who that was.
fn end_all(group: &Path) {
    let left = std::fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    for pid in left.split_whitespace() {
        let command = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        eprintln!("left in {}: {pid} {command:?}", group.display());
    }
    std::fs::write(group.join("cgroup.kill"), "1").ok();
}

/// A process that is not mistaken for another.
pub struct Handle(OwnedFd);

impl Handle {
    pub fn open(pid: i32) -> Self {
        Self(pidfd_open(Pid::from_raw(pid).unwrap(), PidfdFlags::empty()).unwrap())
    }

    pub fn send(&self, signal: Signal) {
        rustix::process::pidfd_send_signal(&self.0, signal).ok();
    }

    pub fn wait_end(&self) {
        let mut end = [PollFd::new(&self.0, PollFlags::IN)];
        let patience = Timespec { tv_sec: 20, tv_nsec: 0 };
        assert_eq!(rustix::event::poll(&mut end, Some(&patience)).unwrap(), 1, "it has ended");
    }
}

/// What another user's thread comes to: of Linux, every thread has a user of its own, and a connection remembers it.
pub fn as_user<T: Send>(uid: u32, act: impl FnOnce() -> T + Send) -> T {
    use rustix::thread::{Gid, Uid, set_thread_groups, set_thread_res_gid, set_thread_res_uid};
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let (user, group) = (Uid::from_raw(uid), Gid::from_raw(uid));
            set_thread_groups(&[group]).unwrap();
            set_thread_res_gid(group, group, group).unwrap();
            set_thread_res_uid(user, user, user).unwrap();
            act()
        });
        thread.join().unwrap()
    })
}

/// Waits for a condition; panics with what it saw last.
pub fn eventually<T, E: std::fmt::Debug>(what: &str, mut check: impl FnMut() -> Result<T, E>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match check() {
            Ok(value) => return value,
            Err(last) if Instant::now() > deadline => panic!("{what}: not in {PATIENCE:?}; last: {last:?}"),
            Err(_) => std::thread::park_timeout(Duration::from_millis(2)),
        }
    }
}

/// Starts a process that prints the pid of a descendant, and waits for that line.
pub fn with_descendant(client: &mut Client, name: &str, script: &str) -> (ProcessInfo, i32) {
    let process = client.spawn(shell(name, script));
    let mut output = client.open(process.id);
    let pid = eventually("it tells the pid", || {
        let info = client.list().into_iter().find(|info| info.id == process.id).unwrap();
        output.read_to(Stream::Stdout, info.streams[0].head);
        let said = text(&output.bytes(Stream::Stdout));
        said.strip_suffix('\n').and_then(|line| line.parse::<i32>().ok()).ok_or(said)
    });
    (process, pid)
}

/// A request for `argv` with both streams captured and nothing special.
pub fn program(name: &str, argv: &[&str]) -> Spawn {
    Spawn {
        name: name.into(),
        token: 1,
        lifetime: Lifetime::Persistent,
        stop: StopPlan { signal: 15, grace_ms: 5000 },
        argv: argv.iter().map(|word| word.as_bytes().to_vec()).collect(),
        env: vec![(b"PATH".to_vec(), b"/usr/local/bin:/usr/bin:/bin".to_vec())],
        cwd: None,
        uid: None,
        gid: None,
        groups: None,
        rlimits: vec![],
        umask: None,
        stdin: Stdin::Null,
        stdout: Stdout::Captured,
        stderr: Stdout::Captured,
        sockets: vec![],
        ring: DEFAULT_RING,
        overflow: Overflow::DropOldest,
        note: b"a note".to_vec(),
        ext: vec![],
    }
}

/// A shell script.
pub fn shell(name: &str, script: &str) -> Spawn {
    program(name, &["sh", "-c", script])
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Whether a pid exists and is no zombie.
pub fn lives(pid: i32) -> bool {
    let mut stat = String::new();
    let opened = File::open(format!("/proc/{pid}/stat")).and_then(|mut file| file.read_to_string(&mut stat));
    opened.is_ok() && !stat.rsplit_once(')').unwrap().1.trim_start().starts_with('Z')
}

pub fn borrowed(fds: &[OwnedFd]) -> Vec<BorrowedFd<'_>> {
    fds.iter().map(AsFd::as_fd).collect()
}
