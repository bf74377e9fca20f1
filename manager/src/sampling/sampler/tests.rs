//! The sampler on real processes: this one and children of it.

use std::io::Write as _;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::*;

/// More than anything here needs on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// A child that is ended and reaped when the test is over.
struct Reaped(Child);

impl Reaped {
    fn spawn(program: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(program);
        Self(command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap())
    }

    fn pid(&self) -> i32 {
        i32::try_from(self.0.id()).unwrap()
    }
}

impl Drop for Reaped {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Looks again and again until `done` says yes; the last look is in the panic.
fn until(sampler: &mut Sampler, pid: i32, done: impl Fn(&Result<ProcessInfo, SampleError>) -> bool) {
    let started = Instant::now();
    loop {
        let look = sampler.process(pid);
        if done(&look) {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "last look at {pid}: {look:?}");
        std::thread::yield_now();
    }
}

fn own_pid() -> i32 {
    i32::try_from(std::process::id()).unwrap()
}

#[test]
fn this_process() {
    let mut sampler = Sampler::new();
    let info = sampler.alone(own_pid()).unwrap();
    let usage = info.usage.unwrap();
    assert!(usage.resident > 0 && usage.virtual_memory >= usage.resident, "{usage:?}");
    assert!(usage.memory_percent > 0.0 && usage.memory_percent < 100.0, "{usage:?}");
    assert!(usage.age >= 0.0 && usage.age < 3600.0, "{usage:?}");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    assert!((now - usage.create_time - usage.age).abs() < 1.0, "{now} {usage:?}");
    assert_eq!(usage.cpu_percent, 0.0, "the first look has nothing to compare with");
    let executable = std::env::current_exe().unwrap();
    assert_eq!(info.cmdline.as_deref(), executable.file_name().unwrap().to_str());
    assert_eq!(info.username, Some(nix::unistd::User::from_uid(nix::unistd::getuid()).unwrap().unwrap().name));
    assert_eq!((info.pid, info.children.len()), (own_pid(), 0));
}

#[test]
fn start_times_stay_the_same() {
    let mut sampler = Sampler::new();
    let first = sampler.alone(own_pid()).unwrap().usage.unwrap();
    let second = sampler.alone(own_pid()).unwrap().usage.unwrap();
    assert_eq!(first.create_time, second.create_time);
    assert!(second.age >= first.age);
}

#[test]
fn direct_children_but_not_theirs() {
    // A shell that has a child which has a child; `cat` keeps each of them waiting for our end of the pipe.
    let child = Reaped::spawn("sh", &["-c", "sh -c 'cat; :' ; :"]);
    let mut sampler = Sampler::new();
    until(&mut sampler, child.pid(), |look| {
        let Ok(info) = look else { return false };
        let names: Vec<_> = info.children.iter().map(|child| child.cmdline.as_deref()).collect();
        names == [Some("sh")] && info.children.iter().all(|child| child.children.is_empty())
    });
    let object = Value::Object(sampler.process(child.pid()).unwrap().to_object());
    assert_eq!(object["children"][0]["cmdline"], "sh");
    assert_eq!(object["children"][0]["children"], serde_json::json!([]));
    assert_eq!(sampler.remembered(), 1, "children are remembered with their parent");
    assert_eq!(sampler.remembered[&child.pid()].children.len(), 1);
}

#[test]
fn cpu_use_since_the_previous_look() {
    let busy = Reaped::spawn("sh", &["-c", "while :; do :; done"]);
    let mut sampler = Sampler::new();
    assert_eq!(sampler.process(busy.pid()).unwrap().usage.unwrap().cpu_percent, 0.0);
    until(&mut sampler, busy.pid(), |look| {
        look.as_ref().is_ok_and(|info| info.usage.is_some_and(|usage| usage.cpu_percent > 0.0))
    });
}

#[test]
fn an_ended_child_is_gone_before_and_after_it_is_reaped() {
    let mut sampler = Sampler::new();
    let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let pid = i32::try_from(child.id()).unwrap();
    sampler.process(pid).unwrap();
    assert_eq!(sampler.remembered(), 1);
    child.kill().unwrap();
    until(&mut sampler, pid, |look| matches!(look, Err(SampleError::Gone)));
    assert_eq!(sampler.remembered(), 0);
    child.wait().unwrap();
    assert_eq!(sampler.process(pid).unwrap_err().to_string(), "No such process (stopped?)");
}

#[test]
fn zombie_children_are_left_out() {
    // `exec` makes the parent a program that never reaps the child the shell left it.
    let parent = Reaped::spawn("sh", &["-c", "true & exec cat"]);
    let mut sampler = Sampler::new();
    until(&mut sampler, parent.pid(), |look| {
        let Ok(info) = look else { return false };
        let dir = ProcDir::open(parent.pid()).unwrap();
        // The kernel still lists the zombie, we do not.
        info.cmdline.as_deref() == Some("cat")
            && pids(&dir.children().unwrap()).count() == 1
            && info.children.is_empty()
    });
}

#[test]
fn a_pid_that_cannot_be() {
    for pid in [0, -1, i32::MAX] {
        assert!(matches!(Sampler::new().process(pid), Err(SampleError::Gone)), "{pid}");
    }
}

#[test]
fn a_forbidden_file_is_no_error() {
    assert!(matches!(seen::<()>(1, Err(Unread::Forbidden)), Ok(None)));
    assert!(matches!(seen::<()>(1, Err(Unread::Gone)), Err(SampleError::Gone)));
    let error = seen::<()>(7, Err(Unread::Failed(io::Error::from_raw_os_error(24)))).unwrap_err();
    assert_eq!(error.to_string(), "cannot read /proc/7: Too many open files (os error 24)");
    let error = parsed(7, "stat", "x", Stat::parse).unwrap_err();
    assert_eq!(error.to_string(), "cannot understand /proc/7/stat: 'x'");
}

fn host() -> Host {
    Host { memory: 1 << 30, page: 4096, ticks_per_second: 100 }
}

#[test]
fn percentages() {
    let at = Instant::now();
    let mark = |start_ticks, own_ticks, millis| Mark { start_ticks, own_ticks, at: at + Duration::from_millis(millis) };
    let percent = |previous, now| host().cpu_percent(previous, now);
    assert_eq!(percent(mark(5, 100, 0), mark(5, 150, 1000)), 50.0);
    assert_eq!(percent(mark(5, 100, 0), mark(5, 400, 1000)), 300.0);
    assert_eq!(percent(mark(5, 100, 0), mark(5, 101, 3000)), 0.3);
    assert_eq!(percent(mark(5, 100, 0), mark(6, 150, 1000)), 0.0, "another process with the same pid");
    assert_eq!(percent(mark(5, 100, 0), mark(5, 150, 0)), 0.0, "no time has passed");
    assert_eq!(memory_percent(1 << 29, 1 << 30), 50.0);
    assert_eq!(memory_percent(441_000, 1 << 30), 0.041);
    assert_eq!(memory_percent(5, 0), 500.0, "a host without memory: some number, no panic");
}

#[test]
fn memory_is_bounded() {
    let mut sampler = Sampler::new();
    let start = Instant::now();
    for pid in 0..i32::try_from(REMEMBERED_LIMIT).unwrap() + 3 {
        let at = start + Duration::from_millis(u64::try_from(pid).unwrap());
        let own = Mark { start_ticks: 0, own_ticks: 0, at };
        let facts = Facts { username: None, cmdline: None, program: None, read_at: at };
        sampler.remember(pid, Remembered { own, facts, children: HashMap::new(), files: None });
    }
    assert_eq!(sampler.remembered(), REMEMBERED_LIMIT);
    assert!(!sampler.remembered.contains_key(&2) && sampler.remembered.contains_key(&3), "the oldest go first");
}

/// Descriptors of this process that lead into the directory of `pid`.
fn held(pid: i32) -> usize {
    let inside = format!("/proc/{pid}/");
    let open = std::fs::read_dir("/proc/self/fd").unwrap().filter_map(Result::ok);
    open.filter_map(|entry| std::fs::read_link(entry.path()).ok()).filter(|path| path.starts_with(&inside)).count()
}

#[test]
fn kept_files_tell_of_their_process_only() {
    let mut sampler = Sampler::keeping(1);
    let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let pid = i32::try_from(child.id()).unwrap();
    let other = Reaped::spawn("cat", &[]);
    for _ in 0..3 {
        sampler.alone(pid).unwrap();
        sampler.alone(other.pid()).unwrap();
    }
    assert_eq!((held(pid), held(other.pid())), (2, 0), "one is kept, the other is one too many");
    child.kill().unwrap();
    child.wait().unwrap();
    // The number may be another's at once; the files are not.
    let files = sampler.remembered[&pid].files.as_ref().unwrap();
    assert!(matches!(numbers(files, pid, &mut Buffers::default()), Err(SampleError::Gone)));
    // As if it were this process that has the number now: it is looked at, and compared with nothing.
    let stranger = sampler.remembered.remove(&pid).unwrap();
    sampler.remembered.insert(own_pid(), stranger);
    let look = sampler.alone(own_pid()).unwrap();
    assert!(look.usage.is_some_and(|usage| usage.cpu_percent == 0.0), "{look:?}");
    assert_ne!(look.cmdline.as_deref(), Some("cat"));
    sampler.forget_unseen(Instant::now());
    assert_eq!((sampler.remembered(), held(pid)), (0, 0));
}

#[test]
fn a_program_that_is_replaced_is_seen_at_once() {
    // Reads a line before it becomes another program.
    let mut child = Reaped::spawn("sh", &["-c", "read line; exec cat"]);
    let mut sampler = Sampler::keeping(4);
    let mut named = |name: &str| {
        until_alone(&mut sampler, child.pid(), |look| look.cmdline.as_deref() == Some(name));
        child.0.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
    };
    named("sh");
    named("cat");
}

/// As [`until`], without children.
fn until_alone(sampler: &mut Sampler, pid: i32, done: impl Fn(&ProcessInfo) -> bool) {
    let started = Instant::now();
    loop {
        let look = sampler.alone(pid).unwrap();
        if done(&look) {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "last look at {pid}: {look:?}");
        std::thread::yield_now();
    }
}
