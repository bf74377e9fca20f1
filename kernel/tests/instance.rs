//! One instance: its lock, its directory, its daemon, the signals that its core gets, and who may talk to it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::wildcard_enum_match_arm,
    clippy::too_many_lines,
    reason = "a test ends by panicking"
)]

mod rig;

use rig::{Client, Rig, shell, text};
use ringmaster_protocol::message::*;

fn gone(pid: i32) {
    rig::eventually("the process is gone", || (!rig::lives(pid)).then_some(()).ok_or(pid));
}

#[test]
fn one_core_for_an_instance() {
    let rig = Rig::new();
    for background in [false, true] {
        let mut command = rig.command();
        if background {
            command.arg("--daemonize");
        }
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(3));
        let expected = format!(
            "papa: {}: this instance is served already by papa, pid {}\n",
            rig.directory().display(),
            rig.keeper_pid()
        );
        assert_eq!(text(&output.stderr), expected);
    }
    let other = rig.command().args(["-u", rig.socket().to_str().unwrap()]).output().unwrap();
    assert_eq!(other.status.code(), Some(3));
    assert!(text(&other.stderr).contains("something else accepts connections on this socket"));
    rig.client().status();
}

/// What a process holds that a core was making when it died, until it runs its program.
fn take_lock(rig: &Rig) -> std::fs::File {
    let lock = std::fs::File::open(rig.directory().join("lock")).unwrap();
    lock.lock().unwrap();
    lock
}

#[test]
fn the_lock_of_a_dead_core_is_waited_for() {
    let mut rig = Rig::new();
    rig.kill();
    let lock = take_lock(&rig);
    let papa = rig.command().arg("-d").spawn().unwrap();
    let pid = papa.id().cast_signed();
    rig::eventually("it has met the lock", || has_open(pid, &rig.directory().join("lock")).then_some(()).ok_or(pid));
    drop(lock);
    rig.papa = Some(papa);
    rig::eventually("it serves", || (rig.keeper_pid() == pid).then_some(()).ok_or(rig.keeper_pid()));
    rig.client().status();
}

#[test]
fn a_lock_that_nobody_lets_go_of_is_no_core_that_serves() {
    let mut rig = Rig::new();
    let pid = rig.keeper_pid();
    rig.kill();
    let lock = take_lock(&rig);
    let output = rig.command().output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(said.contains(&format!("papa, pid {pid}, is dead, but its lock has been held for 5 s")), "{said}");
    drop(lock);
}

fn has_open(pid: i32, path: &std::path::Path) -> bool {
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    open.filter_map(|entry| std::fs::read_link(entry.path()).ok()).any(|target| target == path)
}

#[test]
fn status_is_told_to_programs_and_absence_is_an_exit_status() {
    let mut rig = Rig::new();
    let output = rig.command().args(["status", "--json"]).output().unwrap();
    assert!(output.status.success());
    let said = text(&output.stdout);
    for field in [
        "version",
        "keeper_pid",
        "kernel_pid",
        "started",
        "uptime_s",
        "processes",
        "sockets",
        "values",
        "clients",
        "buffered_bytes",
        "lost_bytes",
        "guarantees",
    ] {
        assert!(said.contains(&format!("\"{field}\":")), "{field} is not in {said}");
    }
    rig.kill();
    let output = rig.command().arg("status").output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stderr).contains("no core serves "));
    let output = rig.command().args(["-p", "70000"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn a_stray_term_does_not_end_a_core_that_owns_something() {
    let mut rig = Rig::new();
    let mut client = rig.manager();
    let process = client.spawn(shell("p", "exec sleep 1000"));
    let term = |rig: &Rig| {
        let pid = rustix::process::Pid::from_raw(rig.keeper_pid()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    };
    term(&rig);
    assert_eq!(client.status().processes, 1);
    client.signal(process.id, 9, Target::Tree);
    client.wait_exit(process.id);
    client.ok(Forget { process: process.id, ext: vec![] });
    term(&rig);
    assert!(rig.papa.as_mut().unwrap().wait().unwrap().success());
    rig.papa = None;
}

#[test]
fn a_daemon_keeps_nothing_of_its_starter_and_children_keep_the_umask() {
    let run = tempfile::tempdir().unwrap();
    let long = run.path().join("x".repeat(90));
    std::fs::create_dir(&long).unwrap();
    std::fs::set_permissions(&long, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let mut rig = Rig { run, papa: None, groups: "on" };
    let status = std::process::Command::new("sh")
        .args(["-c", "umask 013; exec \"$0\" --daemonize", env!("CARGO_BIN_EXE_papa")])
        .env("CIRCUS_RUN_DIR", &long)
        .status()
        .unwrap();
    assert!(status.success());
    let directory = long.join("default");
    let pid: i32 = std::fs::read_to_string(directory.join("pid")).unwrap().trim().parse().unwrap();
    let link = |what: &str| std::fs::read_link(format!("/proc/{pid}/{what}")).unwrap();
    assert_eq!(link("cwd").to_str(), Some("/"));
    for fd in ["fd/0", "fd/1", "fd/2"] {
        assert_eq!(link(fd).to_str(), Some("/dev/null"));
    }
    // The path is too long for an address: the short way in is through the directory.
    let folder = std::fs::File::open(&directory).unwrap();
    let short = rig.run.path().join("default");
    std::os::unix::fs::symlink(
        format!("/proc/{}/fd/{}", std::process::id(), std::os::fd::AsRawFd::as_raw_fd(&folder)),
        &short,
    )
    .unwrap();
    let mut client = Client::connect(&rig);
    client.ok(Watch::default());
    let process = client.spawn(shell("umask", "umask; ulimit -n"));
    let (out, _, _) = client.read_all(process.id);
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap();
    assert_eq!(text(&out), format!("0013\n{limit}\n"));
    client.ok(Forget { process: process.id, ext: vec![] });
    assert!(matches!(client.ok(ExitIfIdle::default()), Reply::Exiting(answer) if answer.exits));
    gone(pid);
    rig.papa = None;
}

#[test]
fn an_idle_core_sleeps() {
    let rig = Rig::new();
    let mut client = rig.manager();
    for n in 0..20 {
        client.spawn(shell(&format!("p{n}"), "exec sleep 1000"));
    }
    let switches = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", rig.keeper_pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")).unwrap();
        line.trim().parse::<u64>().unwrap()
    };
    let (before, until) = (switches(), std::time::Instant::now() + std::time::Duration::from_secs(2));
    while std::time::Instant::now() < until {
        std::thread::park_timeout(until - std::time::Instant::now());
    }
    assert!(switches() - before <= 1, "{} wake-ups", switches() - before);
}

#[test]
fn a_directory_that_others_could_use_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let mut rig = Rig { run: tempfile::tempdir().unwrap(), papa: None, groups: "on" };
    std::fs::create_dir(rig.directory()).unwrap();
    std::fs::set_permissions(rig.directory(), PermissionsExt::from_mode(0o755)).unwrap();
    let said = |rig: &Rig| {
        let output = rig.command().arg("--daemonize").output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        text(&output.stderr)
    };
    assert!(said(&rig).contains("expected user"), "{}", said(&rig));
    std::fs::remove_dir(rig.directory()).unwrap();
    std::os::unix::fs::symlink("/tmp", rig.directory()).unwrap();
    assert!(said(&rig).contains("never through a symbolic link"), "{}", said(&rig));
    std::fs::remove_file(rig.directory()).unwrap();
    rig.start();
}

#[test]
fn signals_of_a_terminal_mean_nothing_to_a_daemon() {
    use rustix::process::{Pid, Signal as Number, kill_process};
    let mut rig = Rig { run: tempfile::tempdir().unwrap(), papa: None, groups: "on" };
    let pid = daemon(&rig);
    for number in [Number::INT, Number::HUP] {
        kill_process(Pid::from_raw(pid).unwrap(), number).unwrap();
    }
    // It owns nothing, so SIGINT would end it in the foreground.
    let status = rig.client().status();
    assert_eq!(status.keeper_pid, pid);
    kill_process(Pid::from_raw(pid).unwrap(), Number::TERM).unwrap();
    gone(pid);

    rig.start();
    let pid = Pid::from_raw(rig.keeper_pid()).unwrap();
    kill_process(pid, Number::HUP).unwrap();
    rig.client().status();
    kill_process(pid, Number::INT).unwrap();
    assert!(rig.papa.as_mut().unwrap().wait().unwrap().success());
    rig.papa = None;
}

/// Serves in the background; gives the pid.
fn daemon(rig: &Rig) -> i32 {
    assert!(rig.command().arg("--daemonize").status().unwrap().success());
    let pid = std::fs::read_to_string(rig.directory().join("pid")).unwrap();
    pid.trim().parse().unwrap()
}

#[test]
fn a_starter_that_ignores_signals_hides_no_end_of_a_child() {
    let mut rig = Rig { run: tempfile::tempdir().unwrap(), papa: None, groups: "on" };
    let mut command = std::process::Command::new("python3");
    let script = "import os, signal, sys\nfor s in (signal.SIGCHLD, signal.SIGTERM, signal.SIGUSR1):\n signal.signal(s, signal.SIG_IGN)\nos.execv(sys.argv[1], sys.argv[1:])";
    command.args(["-I", "-S", "-c", script, env!("CARGO_BIN_EXE_papa")]);
    command.env("CIRCUS_RUN_DIR", rig.run.path());
    rig.papa = Some(command.spawn().unwrap());
    rig::eventually("the core accepts connections", || {
        std::os::unix::net::UnixStream::connect(rig.socket()).map(|_| ())
    });
    let mut client = rig.manager();
    let process = client.spawn(shell("ends", "grep SigIgn /proc/self/status; exit 3"));
    let (out, _, exit) = client.read_all(process.id);
    assert_eq!(exit.status, ExitStatus::Code(3));
    assert_eq!(text(&out), "SigIgn:\t0000000000000000\n");
}

#[test]
fn a_state_of_another_layout_is_refused_and_left_as_it_is() {
    let mut rig = Rig::new();
    rig.client().ok(SetValue { name: "kept".into(), value: b"1".to_vec(), ext: vec![] });
    rig.kill();
    let path = rig.directory().join("state");
    let mut other = std::fs::read(&path).unwrap();
    // The second word of the header is the layout.
    other[8] = 99;
    std::fs::write(&path, &other).unwrap();
    let output = rig.command().output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        text(&output.stderr),
        "papa: the state file is of layout 99; this core reads layouts 1 to 2; let the core that made it end first\n"
    );
    assert_eq!(std::fs::read(&path).unwrap(), other);
    other[8] = 2;
    std::fs::write(&path, &other).unwrap();
    rig.start();
    assert_eq!(rig.client().status().values, 1, "nothing was touched");
}

/// As user 65534 (nobody): what a connection to `argv[1]` says until it is closed.
const STRANGER: &str = "import os, socket, sys
os.setgroups([]); os.setgid(65534); os.setuid(65534)
peer = socket.socket(socket.AF_UNIX); peer.settimeout(20); peer.connect(sys.argv[1])
try: said = peer.recv(100)
except ConnectionResetError: said = b''
print(len(said))";

#[test]
fn another_user_is_refused_even_when_the_files_would_let_him_in() {
    use std::os::unix::fs::PermissionsExt;
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can try it as another user");
        return;
    }
    let rig = Rig::new();
    for path in [rig.run.path(), rig.directory().as_path(), rig.socket().as_path()] {
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o777)).unwrap();
    }
    let mut command = std::process::Command::new("python3");
    command.args(["-I", "-S", "-c", STRANGER]).arg(rig.socket());
    let output = command.output().unwrap();
    assert_eq!(text(&output.stdout), "0\n", "{}", text(&output.stderr));
    assert_eq!(rig.client().status().clients, 1);
}
