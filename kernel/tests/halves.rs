//! One half of the core dies, or is replaced: the other goes on, and nobody else notices.
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

use rig::{Client, Handle, Rig, program, shell, text};
use ringmaster_protocol::message::*;
use ringmaster_protocol::ring::Stream;
use ringmaster_protocol::status::{last_upgrade, restarts};
use rustix::process::Signal as Number;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

fn find(client: &mut Client, name: &str) -> ProcessInfo {
    client.list().into_iter().find(|process| process.name == name).unwrap_or_else(|| panic!("{name} is lost"))
}

/// The counts of deaths, when they have come so far.
fn deaths(rig: &Rig, expected: [u64; 3]) {
    rig::eventually("the deaths are counted", || {
        let found = restarts(&rig.client().status()).unwrap();
        (found == expected).then_some(()).ok_or(found)
    });
}

fn upgrade(rig: &Rig, program: &Path) -> std::process::Output {
    rig.command().arg("upgrade").arg(program).output().unwrap()
}

/// A script or a damaged program beside the instance.
fn file(rig: &Rig, name: &str, content: &[u8]) -> PathBuf {
    let path = rig.run.path().join(name);
    std::fs::write(&path, content).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// Something to wait at until somebody writes to it.
fn gate(rig: &Rig, name: &str) -> String {
    let path = rig.run.path().join(name);
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).unwrap();
    path.display().to_string()
}

/// Everything that must be the same before and after.
struct Ward {
    lives: ProcessInfo,
    ends: ProcessInfo,
    port: u16,
}

impl Ward {
    fn new(rig: &Rig) -> Self {
        let mut client = rig.manager();
        let (one, two) = (gate(rig, "one"), gate(rig, "two"));
        let lives = client.spawn(shell("lives", &format!("echo before; read x <{one}; echo after; exec sleep 1000")));
        let ends = client.spawn(shell("ends", &format!("read x <{two}; echo last words; exit 21")));
        client.ok(SetValue { name: "note".into(), value: b"kept".to_vec(), ext: vec![] });
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = SocketAddress::Inet(format!("127.0.0.1:{port}").parse().unwrap());
        let listen = Listen {
            name: "web".into(),
            address,
            kind: SocketType::Stream,
            backlog: 128,
            umask: None,
            replace: false,
            reuse_port: false,
            interface: None,
            blocking: false,
            persistent: false,
            ext: vec![],
        };
        client.ok(listen);
        Self { lives, ends, port }
    }

    /// Both processes are there, go on writing, and their ends are known.
    fn check(&self, rig: &Rig, waiting: TcpStream) {
        let mut client = rig.manager();
        assert_eq!(find(&mut client, "lives").pid, self.lives.pid);
        assert_eq!(find(&mut client, "ends").pid, self.ends.pid);
        for gate in ["one", "two"] {
            std::fs::write(rig.run.path().join(gate), "go\n").unwrap();
        }
        let (out, _, exit) = client.read_all(self.ends.id);
        assert_eq!((text(&out), exit.status), ("last words\n".into(), ExitStatus::Code(21)));
        rig::eventually("the other has gone on", || {
            let head = find(&mut client, "lives").streams[0].head;
            (head == 13).then_some(()).ok_or(head)
        });
        let value = client.ok(GetValue { name: "note".into(), ext: vec![] });
        assert!(matches!(value, Reply::Value(value) if value.value == Some(b"kept".to_vec())));
        // Who connected before is served by whoever accepts on the same socket.
        let accepts = "import socket\nc, _ = socket.socket(fileno=3).accept()\nc.sendall(b'served')";
        let spawn = program("accepts", &["python3", "-I", "-S", "-c", accepts]);
        client.spawn(Spawn { sockets: vec!["web".into()], ..spawn });
        let mut answer = String::new();
        (&waiting).read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "served");
    }

    /// A connection that nobody has accepted yet.
    fn connect(&self) -> TcpStream {
        TcpStream::connect(("127.0.0.1", self.port)).unwrap()
    }
}

#[test]
fn the_kernel_half_dies_and_is_started_anew() {
    let rig = Rig::new();
    let ward = Ward::new(&rig);
    let waiting = ward.connect();
    let keeper = rig.keeper_pid();
    rig.kill_kernel();
    deaths(&rig, [1, 0, 0]);
    assert_eq!(rig.keeper_pid(), keeper);
    ward.check(&rig, waiting);
}

#[test]
fn the_keeper_dies_and_the_kernel_half_takes_its_place() {
    let rig = Rig::new();
    let ward = Ward::new(&rig);
    let waiting = ward.connect();
    let kernel = rig.kernel_pid();
    rig.kill_keeper();
    deaths(&rig, [0, 1, 0]);
    assert_eq!(rig.keeper_pid(), kernel);
    ward.check(&rig, waiting);
}

#[test]
fn children_that_end_while_no_kernel_half_runs_are_told_with_everything() {
    let rig = Rig::new();
    let mut client = rig.manager();
    let gate = gate(&rig, "gate");
    let process = client.spawn(shell("ends", &format!("read x <{gate}; echo last words; exit 9")));
    let (kernel, child) = (Handle::open(rig.kernel_pid()), Handle::open(process.pid));
    kernel.send(Number::STOP);
    std::fs::write(gate, "go\n").unwrap();
    child.wait_end();
    kernel.send(Number::KILL);
    kernel.wait_end();
    let mut client = rig.manager();
    let (out, _, exit) = client.read_all(process.id);
    assert_eq!((text(&out), exit.status), ("last words\n".into(), ExitStatus::Code(9)));
    assert!(exit.rusage.max_rss_kib > 100, "the keeper has seen it: {exit:?}");
}

#[test]
fn nothing_is_lost_by_many_deaths_of_either_half() {
    let seed: u64 = std::env::var("RINGMASTER_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(17);
    eprintln!("RINGMASTER_SEED={seed}");
    let mut random = seed;
    let mut draw = move || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        random >> 33
    };
    let rig = Rig::new();
    let script = "import os\nfor i in range(200000): os.write(1, b'%015d\\n' % i)\nimport sys\nsys.exit(33)";
    let mut client = rig.manager();
    let process = client.spawn(program("numbers", &["python3", "-I", "-S", "-c", script]));
    let mut output = client.open(process.id);
    let (mut acked, mut rounds, end) = (0, 0, 200_000 * 16);
    while acked < end {
        match draw() % 3 {
            0 => rig.kill_kernel(),
            1 => rig.kill_keeper(),
            _ => {
                let output = upgrade(&rig, Path::new(env!("CARGO_BIN_EXE_papa")));
                assert!(output.status.success(), "{output:?}");
            }
        }
        rounds += 1;
        client = rig.manager();
        assert_eq!(find(&mut client, "numbers").pid, process.pid);
        for _ in 0..draw() % 40 {
            if acked == end {
                break;
            }
            if let Notice::Output(more) = client.notice() {
                acked = output.read_to(Stream::Stdout, more.head);
                client.cast(Ack { process: process.id, stream: Stream::Stdout, offset: acked });
            }
        }
        client.status();
    }
    assert_eq!(output.gaps, 0);
    let out = output.bytes(Stream::Stdout);
    let numbers: Vec<usize> = text(&out).lines().map(|line| line.parse().unwrap()).collect();
    assert!(numbers.iter().copied().eq(0..200_000), "after {rounds} rounds");
    assert_eq!(client.wait_exit(process.id).status, ExitStatus::Code(33));
    eprintln!("{rounds} rounds");
}

#[test]
fn a_kernel_half_that_crashes_again_and_again_comes_up_careful() {
    let rig = Rig::new();
    let keeper = rig.keeper_pid();
    for count in 1..=5 {
        let kernel = Handle::open(rig.kernel_pid());
        // What ends a turn that hangs.
        kernel.send(Number::ALARM);
        kernel.wait_end();
        deaths(&rig, [count, 0, 0]);
    }
    assert_eq!(rig.keeper_pid(), keeper);
    let mut client = rig.client();
    let refusal = client.request(ListValues::default()).unwrap_err();
    assert!(refusal.to_string().contains("safe mode"), "{refusal}");
    assert!(text(&rig.command().arg("status").output().unwrap().stdout).contains("safe mode"));
}

#[test]
fn a_kernel_half_that_is_stopped_or_stuck_is_started_anew() {
    let rig = Rig::new();
    let kernel = Handle::open(rig.kernel_pid());
    kernel.send(Number::STOP);
    kernel.wait_end();
    deaths(&rig, [1, 0, 0]);
}

#[test]
fn a_kernel_half_that_is_stopped_and_goes_on_is_looked_at_as_before() {
    let rig = Rig::new();
    let kernel = Handle::open(rig.kernel_pid());
    for _ in 0..3 {
        kernel.send(Number::STOP);
        kernel.send(Number::CONT);
        assert_eq!(restarts(&rig.client().status()).unwrap(), [0, 0, 0]);
    }
    kernel.send(Number::STOP);
    kernel.wait_end();
    deaths(&rig, [1, 0, 0]);
}

#[test]
fn a_keeper_that_is_stopped_is_told_to_go_on_when_it_is_needed() {
    let rig = Rig::new();
    let mut client = rig.manager();
    let gate = gate(&rig, "gate");
    let process = client.spawn(shell("ends", &format!("read x <{gate}; echo last words; exit 9")));
    let keeper = Handle::open(rig.keeper_pid());
    keeper.send(Number::STOP);
    std::fs::write(gate, "go\n").unwrap();
    let (out, _, exit) = client.read_all(process.id);
    assert_eq!((text(&out), exit.status), ("last words\n".into(), ExitStatus::Code(9)));
    assert!(exit.rusage.max_rss_kib > 100, "the keeper has seen it: {exit:?}");
    deaths(&rig, [0, 0, 0]);
}

/// Both halves speak, and one of them has no room to.
#[test]
fn a_core_whose_standard_error_nobody_reads_goes_on() {
    let mut rig = Rig { run: tempfile::tempdir().unwrap(), papa: None, groups: "on" };
    let (mut read, write) = std::io::pipe().unwrap();
    rustix::pipe::fcntl_setpipe_size(&write, 4096).unwrap();
    rig.start_as(|command| {
        command.stderr(write);
    });
    for _ in 0..100 {
        // Each is cut off with a line about it.
        let mut stranger = std::os::unix::net::UnixStream::connect(rig.socket()).unwrap();
        stranger.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        stranger.read_to_end(&mut Vec::new()).ok();
    }
    rig.kill_kernel();
    deaths(&rig, [1, 0, 0]);
    let mut portion = [0; 4096];
    let count = read.read(&mut portion).unwrap();
    assert!(text(&portion[..count]).contains(" is cut off: "), "{}", text(&portion[..count]));
    // The keeper had no room to tell of the first death.
    rig.kill_kernel();
    let mut said = String::new();
    while !said.contains("(a line before this found no room) the kernel half, pid ") {
        let count = read.read(&mut portion).unwrap();
        said.push_str(&text(&portion[..count]));
    }
    // It says so before it makes the next half, and without one there is nobody to take its place.
    deaths(&rig, [2, 0, 0]);
    rig.kill_keeper();
    deaths(&rig, [2, 1, 0]);
}

/// Nobody would hear what it says, and it may never come to its end.
#[test]
fn a_dry_run_that_hangs_ends_with_the_half_that_waits_for_it() {
    let mut rig = Rig::new();
    let directory = rig.run.path().to_owned();
    let hangs = move |rig: &Rig, name: &str| {
        let script =
            format!("#!/bin/sh\necho $$ >{0}.new\nmv {0}.new {0}\nexec sleep 1000\n", directory.join(name).display());
        let program = file(rig, &format!("hangs-{name}"), script.as_bytes());
        let mut asking = rig.command().arg("upgrade").arg(program).stderr(std::process::Stdio::null()).spawn().unwrap();
        let pid = rig::eventually("it says its pid", || {
            std::fs::read_to_string(directory.join(name)).unwrap_or_default().trim().parse::<i32>()
        });
        (pid, move || {
            asking.wait().unwrap();
            rig::eventually("the dry run is gone", || (!rig::lives(pid)).then_some(()).ok_or(pid));
        })
    };
    let (_, mut gone) = hangs(&rig, "kernel");
    rig.kill_kernel();
    gone();
    let (_, mut gone) = hangs(&rig, "keeper");
    rig.kill_keeper();
    gone();
    let (pid, mut gone) = hangs(&rig, "both");
    rig.kill();
    assert!(rig::lives(pid), "nobody is there to end it");
    rig.start();
    gone();
}

#[test]
fn an_upgrade_and_a_rollback_are_noticed_by_nobody() {
    let rig = Rig::new();
    let ward = Ward::new(&rig);
    let waiting = ward.connect();
    let keeper = rig.keeper_pid();
    let copy = rig.run.path().join("papa");
    std::fs::copy(env!("CARGO_BIN_EXE_papa"), &copy).unwrap();
    let output = upgrade(&rig, &copy);
    assert!(output.status.success() && text(&output.stdout).starts_with("done: papa "), "{output:?}");
    deaths(&rig, [0, 0, 1]);
    let running = || std::fs::read_link(format!("/proc/{keeper}/exe")).unwrap();
    assert_eq!((rig.keeper_pid(), running()), (keeper, copy.clone()));
    assert!(rig.command().arg("rollback").status().unwrap().success());
    assert_eq!(running(), Path::new(env!("CARGO_BIN_EXE_papa")));
    assert!(rig.command().arg("rollback").status().unwrap().success(), "there and back");
    deaths(&rig, [0, 0, 3]);
    ward.check(&rig, waiting);
}

#[test]
fn a_program_that_cannot_take_over_changes_nothing() {
    let rig = Rig::new();
    let ward = Ward::new(&rig);
    let waiting = ward.connect();
    let before = rig.client().status();
    let damaged = &std::fs::read(env!("CARGO_BIN_EXE_papa")).unwrap()[..5000];
    let cases: [(PathBuf, &str); 7] = [
        ("/nonexistent".into(), "No such file or directory"),
        ("/bin/true".into(), "it says nothing"),
        ("/".into(), "expected a file of user"),
        (file(&rig, "empty", b""), "Exec format error"),
        (file(&rig, "damaged", damaged), "refused"),
        (file(&rig, "refuses", b"#!/bin/sh\necho the state is too new; exit 1\n"), "the state is too new"),
        (file(&rig, "aborts", b"#!/bin/sh\nkill -ABRT $$\n"), "it says nothing"),
    ];
    for (path, expected) in cases {
        let output = upgrade(&rig, &path);
        let said = text(&output.stderr);
        assert!(!output.status.success() && said.contains(expected), "{}: {said}", path.display());
        let report = last_upgrade(&rig.client().status()).unwrap();
        assert!(report.starts_with("refused: "), "{report}");
    }
    // It says the right words and cannot be executed: known only when the keeper tries.
    let liar = file(&rig, "liar", b"#!/bin/sh\necho 'papa can take over: 9'\n");
    let output = upgrade(&rig, &liar);
    assert!(!output.status.success() && text(&output.stdout).contains("it cannot be executed"), "{output:?}");
    let hangs = file(&rig, "hangs", b"#!/bin/sh\nexec sleep 1000\n");
    assert!(text(&upgrade(&rig, &hangs).stderr).contains("does not come to an end"));
    let after = rig.client().status();
    assert_eq!((after.keeper_pid, after.kernel_pid), (before.keeper_pid, before.kernel_pid));
    ward.check(&rig, waiting);
}

/// A program that says the right words in its dry run, and does that when it is to take over.
fn liar(rig: &Rig, name: &str, take_over: &str) -> PathBuf {
    let (source, program) = (rig.run.path().join(format!("{name}.c")), rig.run.path().join(name));
    let text = format!(
        "#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n#include <unistd.h>\n\
         int main(int count, char **words) {{\n for (int i = 1; i < count; i++)\n  \
         if (!strcmp(words[i], \"--dry-run\")) return puts(\"papa can take over: 9\") < 0;\n {take_over};\n}}\n"
    );
    std::fs::write(&source, text).unwrap();
    assert!(std::process::Command::new("cc").arg("-o").arg(&program).arg(&source).status().unwrap().success());
    program
}

/// The old half takes the instance back, is the keeper then, and what was taken back does not stay in the way.
#[test]
fn a_program_that_fails_at_the_take_over_leaves_a_core_that_goes_on() {
    let rig = Rig::new();
    let ward = Ward::new(&rig);
    let waiting = ward.connect();
    for (name, take_over) in [("dies", "abort()"), ("ends", "return 0"), ("hangs", "pause()")] {
        let kernel = rig.kernel_pid();
        let output = upgrade(&rig, &liar(&rig, name, take_over));
        assert!(!output.status.success(), "{name}: {output:?}");
        assert_eq!(rig.keeper_pid(), kernel, "{name}");
        let report = last_upgrade(&rig.client().status()).unwrap();
        assert!(report.starts_with("fell back: "), "{name}: {report}");
    }
    rig.kill_kernel();
    let copy = rig.run.path().join("papa");
    std::fs::copy(env!("CARGO_BIN_EXE_papa"), &copy).unwrap();
    assert!(upgrade(&rig, &copy).status.success());
    ward.check(&rig, waiting);
}
