//! What a child finds: every option of `Spawn`, seen by a child that tells its own state.
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

use rig::{Client, Rig, program, shell, text};
use ringmaster_protocol::message::*;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

/// Tells as Python literals what it is given.
const DUMP: &str = r#"
import os, resource, signal, json, stat
st = open('/proc/self/status').read()
f = lambda k: [l.split(':',1)[1].strip() for l in st.splitlines() if l.startswith(k+':')][0]
fds = sorted(int(x) for x in os.listdir('/proc/self/fd'))
fds = [x for x in fds if os.path.exists('/proc/self/fd/%d' % x)]
u = os.umask(0)
print(json.dumps(dict(
  env=dict(os.environ), cwd=os.getcwd(), uid=os.getresuid(), gid=os.getresgid(), groups=os.getgroups(),
  umask=u, sid=os.getsid(0), pid=os.getpid(), nofile=resource.getrlimit(resource.RLIMIT_NOFILE),
  core=resource.getrlimit(resource.RLIMIT_CORE), blocked=f('SigBlk'), ignored=f('SigIgn'),
  pending=f('SigPnd'), fds=fds, stdin=os.readlink('/proc/self/fd/0'))))
"#;

fn dump(name: &str) -> Spawn {
    // -I -S: nothing that would open files or read the environment; SIGPIPE, SIGXFSZ are ignored by python itself.
    let mut spawn = program(name, &["python3", "-I", "-S", "-c", DUMP]);
    spawn.env.push((b"EMPTY".to_vec(), b"".to_vec()));
    spawn.env.push((b"ODD".to_vec(), b"a=b c\n".to_vec()));
    spawn
}

fn run(client: &mut Client, spawn: Spawn) -> String {
    let process = client.spawn(spawn);
    let (out, err, exit) = client.read_all(process.id);
    assert_eq!(exit.status, ExitStatus::Code(0), "{}", text(&err));
    client.ok(Forget { process: process.id, ext: vec![] });
    text(&out)
}

fn assert_has(dump: &str, part: &str) {
    assert!(dump.contains(part), "{part} is not in {dump}");
}

#[test]
fn a_plain_child_gets_exactly_what_its_request_says() {
    let rig = Rig::new();
    let mut client = rig.manager();
    let said = run(&mut client, dump("plain"));
    assert_has(&said, r#""ODD": "a=b c\n""#);
    assert_has(&said, r#""EMPTY": """#);
    assert!(!said.contains("CIRCUS_RUN_DIR"), "{said}");
    assert_has(&said, r#""cwd": "/""#);
    assert_has(&said, r#""blocked": "0000000000000000""#);
    assert_has(&said, r#""pending": "0000000000000000""#);
    // 0x1001000: SIGPIPE and SIGXFSZ, which python itself ignores.
    assert_has(&said, r#""ignored": "0000000001001000""#);
    assert_has(&said, r#""fds": [0, 1, 2]"#);
    assert_has(&said, r#""stdin": "/dev/null""#);
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    assert_has(&said, &format!(r#""nofile": [{}, {}]"#, limit.current.unwrap(), limit.maximum.unwrap()));
}

#[test]
fn signal_dispositions_are_default_even_those_that_rust_ignores() {
    let rig = Rig::new();
    let mut client = rig.manager();
    let said = run(&mut client, shell("sig", "grep SigIgn /proc/self/status"));
    assert_has(&said, "0000000000000000");
}

#[test]
fn every_option_reaches_the_child() {
    let rig = Rig::new();
    let mut client = rig.manager();
    let folder = tempfile::tempdir().unwrap();
    let mut spawn = dump("all");
    spawn.cwd = Some(folder.path().to_str().unwrap().into());
    spawn.umask = Some(0o137);
    spawn.rlimits = vec![Rlimit { resource: 7, soft: 100, hard: 200 }, Rlimit { resource: 4, soft: 0, hard: u64::MAX }];
    let root = rustix::process::geteuid().is_root();
    if root {
        std::os::unix::fs::chown(folder.path(), Some(1234), Some(1234)).unwrap();
        (spawn.uid, spawn.gid, spawn.groups) = (Some(1234), Some(2345), Some(vec![7, 8]));
    }
    let said = run(&mut client, spawn);
    assert_has(&said, &format!(r#""cwd": "{}""#, folder.path().display()));
    assert_has(&said, &format!(r#""umask": {}"#, 0o137));
    assert_has(&said, r#""nofile": [100, 200]"#);
    assert_has(&said, r#""core": [0, -1]"#);
    if root {
        assert_has(&said, r#""uid": [1234, 1234, 1234]"#);
        assert_has(&said, r#""gid": [2345, 2345, 2345]"#);
        assert_has(&said, r#""groups": [7, 8]"#);
    }
}

#[test]
fn a_child_of_another_user_may_open_its_stdout() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let rig = Rig::new();
    let mut client = rig.manager();
    let mut spawn = shell("dev", "echo x >/dev/stdout; echo y >/dev/stderr");
    (spawn.uid, spawn.gid, spawn.groups) = (Some(1234), Some(1234), Some(vec![]));
    let process = client.spawn(spawn);
    let (out, err, _) = client.read_all(process.id);
    assert_eq!((text(&out), text(&err)), ("x\n".into(), "y\n".into()));
}

#[test]
fn children_lead_sessions_and_are_found_by_their_own_path() {
    let rig = Rig::new();
    let mut client = rig.manager();
    let folder = tempfile::tempdir().unwrap();
    let tool = folder.path().join("tool-of-the-test");
    std::fs::write(&tool, "#!/bin/sh\ncut -d' ' -f1,6 /proc/$$/stat\n").unwrap();
    std::fs::set_permissions(&tool, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut spawn = program("path", &["tool-of-the-test"]);
    let path = format!("/nonexistent:{}:/usr/bin:/bin", folder.path().display());
    spawn.env = vec![(b"PATH".to_vec(), path.into())];
    let said = run(&mut client, spawn);
    let (pid, session) = said.trim().split_once(' ').unwrap();
    assert_eq!(pid, session);
}

#[test]
fn stdio_can_be_passed_merged_or_null() {
    let rig = Rig::new();
    let mut client = rig.manager();
    let (mine, theirs) = UnixStream::pair().unwrap();
    let fds = [OwnedFd::from(theirs)];
    let mut spawn = shell("passed", "read line; echo got $line; ls -l /proc/self/fd/2 >&2");
    (spawn.stdin, spawn.stdout, spawn.stderr) = (Stdin::Passed(0), Stdout::Passed(0), Stdout::Null);
    let Reply::Spawned(spawned) = client.request_with(spawn, &rig::borrowed(&fds)).unwrap() else { panic!() };
    drop(fds);
    let mut mine = mine;
    mine.write_all(b"hello\n").unwrap();
    let mut answer = String::new();
    mine.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "got hello\n");
    assert_eq!(client.wait_exit(spawned.process.id).status, ExitStatus::Code(0));

    let mut spawn = shell("merged", "echo one; echo two >&2; echo three");
    spawn.stderr = Stdout::Merged;
    let process = client.spawn(spawn);
    let (out, err, _) = client.read_all(process.id);
    assert_eq!((text(&out), text(&err)), ("one\ntwo\nthree\n".into(), String::new()));
    let missing = Spawn { stdin: Stdin::Passed(3), ..shell("missing", "true") };
    assert!(matches!(client.request(missing), Err(Refusal::Malformed { .. })));
}

#[test]
fn failures_name_the_step_and_the_subject_and_leave_nothing() {
    let rig = Rig::new();
    let mut client = rig.manager();
    let before = rig.open_fds();
    let refused = |client: &mut Client, spawn: Spawn| client.request(spawn).unwrap_err().to_string();
    let no_program = program("a", &["no-such-program"]);
    assert_eq!(
        refused(&mut client, no_program),
        "executing the program failed for no-such-program: No such file or directory (os error 2)"
    );
    assert_eq!(
        refused(&mut client, program("a", &["/etc/passwd"])),
        "executing the program failed for /etc/passwd: Permission denied (os error 13)"
    );
    let no_folder = Spawn { cwd: Some(b"/nonexistent".to_vec()), ..shell("a", "true") };
    assert_eq!(
        refused(&mut client, no_folder),
        "changing to the working directory failed for /nonexistent: No such file or directory (os error 2)"
    );
    let bad_limit = Spawn { rlimits: vec![Rlimit { resource: 7, soft: 9, hard: 3 }], ..shell("a", "true") };
    assert_eq!(
        refused(&mut client, bad_limit),
        "setting a resource limit failed for limit 7: Invalid argument (os error 22)"
    );
    assert_eq!(
        refused(&mut client, Spawn { sockets: vec!["web".into()], ..shell("a", "true") }),
        "socket web not found"
    );
    assert_eq!(client.list(), []);
    rig::eventually("no descriptor is left", || {
        let now = rig.open_fds();
        (now == before).then_some(()).ok_or((before, now))
    });
    assert_eq!(std::fs::read_dir(rig.directory().join("ring")).unwrap().count(), 0);
    let kernel = rig.kernel_pid().to_string();
    rig::eventually("no zombie is left", || {
        let keeper = rig.keeper_pid().to_string();
        let children = std::process::Command::new("ps").args(["--no-headers", "-o", "pid", "--ppid", &keeper]).output();
        let children = text(&children.unwrap().stdout).trim().to_owned();
        (children == kernel).then_some(()).ok_or(children)
    });
    // The name is free again.
    client.spawn(shell("a", "true"));
}

#[test]
fn a_repeated_request_finds_the_same_process() {
    let rig = Rig::new();
    let mut client = rig.manager();
    let first = client.spawn(shell("same", "exec sleep 1000"));
    let again = client.spawn(shell("same", "exec sleep 1000"));
    assert_eq!((first.id, first.pid), (again.id, again.pid));
    let other = Spawn { token: 2, ..shell("same", "exec sleep 1000") };
    assert!(matches!(client.request(other), Err(Refusal::NameTaken { .. })));
    assert_eq!(again.note, b"a note");
    assert_eq!(client.signal(first.id, 9, Target::Main), [first.pid]);
    assert_eq!(client.wait_exit(first.id).status, ExitStatus::Signal(9));
}

#[test]
fn a_process_costs_at_most_four_descriptors() {
    let rig = Rig::new();
    let mut client = rig.manager();
    // The first keeps the group of the last process open.
    client.spawn(shell("first", "exec sleep 1000"));
    let before = rig.open_fds();
    for n in 0..20 {
        client.spawn(shell(&format!("p{n}"), "exec sleep 1000"));
    }
    assert!(rig.open_fds() <= before + 80, "{} {}", before, rig.open_fds());
}

#[test]
fn sockets_come_at_their_numbers_and_nothing_else_does() {
    let rig = Rig::new();
    let mut client = rig.manager();
    let path = rig.run.path().join("u.sock");
    let listen = |name: &str, address| Listen {
        name: name.into(),
        address,
        kind: SocketType::Stream,
        backlog: 16,
        umask: Some(0o117),
        replace: false,
        interface: None,
        reuse_port: false,
        blocking: false,
        persistent: true,
        ext: vec![],
    };
    let web = listen("web", SocketAddress::Inet("127.0.0.1:0".parse().unwrap()));
    let Reply::Listening(first) = client.ok(web.clone()) else { panic!() };
    assert!(client.take_fd().is_some());
    let unix = listen("unix", SocketAddress::Unix(path.to_str().unwrap().into()));
    let Reply::Listening(second) = client.ok(unix.clone()) else { panic!() };
    assert_eq!((first.socket.number, second.socket.number), (3, 4));
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o660);

    let again = client.ok(web.clone());
    assert!(matches!(again, Reply::Listening(again) if !again.created && again.socket == first.socket));
    let other = Listen { backlog: 17, ..web.clone() };
    assert!(matches!(client.request(other), Err(Refusal::NameTaken { .. })));

    let mut spawn = program(
        "uses",
        &[
            "python3",
            "-I",
            "-S",
            "-c",
            "import os; print(sorted(int(x) for x in os.listdir('/proc/self/fd') if os.path.exists('/proc/self/fd/'+x)), os.readlink('/proc/self/fd/4')[:6])",
        ],
    );
    spawn.sockets = vec!["unix".into()];
    assert_eq!(run(&mut client, spawn).trim(), "[0, 1, 2, 4] socket");

    client.ok(RemoveSocket { name: "unix".into(), ext: vec![] });
    assert!(!path.exists());
    let reuse = Listen {
        name: "many".into(),
        reuse_port: true,
        address: SocketAddress::Inet("127.0.0.1:0".parse().unwrap()),
        ..web
    };
    assert!(matches!(client.request(reuse), Err(Refusal::Invalid { .. })));
}

#[test]
fn a_stale_socket_file_is_replaced_only_on_request() {
    let rig = Rig::new();
    let mut client = rig.manager();
    let path = rig.run.path().join("stale.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let listen = Listen {
        name: "s".into(),
        address: SocketAddress::Unix(path.to_str().unwrap().into()),
        kind: SocketType::Stream,
        backlog: 5,
        umask: None,
        replace: false,
        interface: None,
        reuse_port: false,
        blocking: true,
        persistent: true,
        ext: vec![],
    };
    let refusal = client.request(listen.clone()).unwrap_err().to_string();
    assert_eq!(refusal, format!("binding {} failed: Address already in use (os error 98)", path.display()));
    client.ok(Listen { replace: true, ..listen });
    UnixStream::connect(&path).unwrap();
    let fd = client.take_fd().unwrap();
    assert!(!rustix::fs::fcntl_getfl(fd.as_fd()).unwrap().contains(rustix::fs::OFlags::NONBLOCK));
}

#[test]
fn a_shared_port_gives_every_process_a_socket_of_its_own() {
    let rig = Rig::new();
    let mut client = rig.manager();
    let probe = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = probe.local_addr().unwrap().port();
    drop(probe);
    client.ok(Listen {
        name: "many".into(),
        address: SocketAddress::Inet(([127, 0, 0, 1], port).into()),
        kind: SocketType::Stream,
        backlog: 5,
        umask: None,
        replace: false,
        interface: None,
        reuse_port: true,
        blocking: false,
        persistent: true,
        ext: vec![],
    });
    let mut inodes = Vec::new();
    for name in ["one", "two"] {
        let mut spawn = shell(name, "readlink /proc/self/fd/3; exec sleep 1000");
        spawn.sockets = vec!["many".into()];
        let process = client.spawn(spawn);
        let mut output = client.open(process.id);
        rig::eventually("the child has spoken", || {
            let head = client.list().into_iter().find(|p| p.id == process.id).unwrap().streams[0].head;
            (head > 0).then(|| output.read_to(ringmaster_protocol::ring::Stream::Stdout, head)).ok_or(head)
        });
        inodes.push(text(&output.bytes(ringmaster_protocol::ring::Stream::Stdout)));
    }
    assert!(inodes[0].starts_with("socket:["), "{inodes:?}");
    assert_ne!(inodes[0], inodes[1]);
}
