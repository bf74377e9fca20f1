//! Somebody removes the instance directory: what runs goes on, and is found again.
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

use rig::{Client, Handle, Reading, Rig, shell, text};
use ringmaster_protocol::message::*;
use ringmaster_protocol::ring::Stream;
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};

/// A core with a process of each kind, and what was written so far.
struct Stage {
    rig: Rig,
    speaks: ProcessInfo,
    silent: ProcessInfo,
    reading: Reading,
    web: SocketAddr,
}

impl Stage {
    fn new(arguments: &[&str]) -> Self {
        let mut rig = Rig { run: tempfile::tempdir().unwrap(), papa: None, groups: "on" };
        let arguments: Vec<String> =
            arguments.iter().map(|word| word.replace("RUN", &rig.run.path().display().to_string())).collect();
        rig.start_with(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        let mut client = rig.manager();
        for name in ["one", "two"] {
            rustix::fs::mknodat(
                rustix::fs::CWD,
                rig.run.path().join(name),
                rustix::fs::FileType::Fifo,
                rustix::fs::Mode::RWXU,
                0,
            )
            .unwrap();
        }
        let at = rig.run.path().display();
        let speaks = client.spawn(shell("speaks", &format!("echo before; read x <{at}/one; echo after; exit 21")));
        let silent = shell("silent", &format!("read x <{at}/two; exit 22"));
        let silent = client.spawn(Spawn { stdout: Stdout::Null, stderr: Stdout::Null, ..silent });
        let listen = Listen {
            name: "web".into(),
            address: SocketAddress::Inet("127.0.0.1:0".parse().unwrap()),
            kind: SocketType::Stream,
            backlog: 16,
            umask: None,
            replace: false,
            reuse_port: false,
            interface: None,
            blocking: false,
            persistent: true,
            ext: vec![],
        };
        let Reply::Listening(Listening { socket: SocketInfo { address: SocketAddress::Inet(web), .. }, .. }) =
            client.ok(listen)
        else {
            panic!("no address");
        };
        let reading = client.open(speaks.id);
        Self { rig, speaks, silent, reading, web }
    }

    /// The core is found where it was, with everything that it had, but for the state file.
    fn found(&self) -> Client {
        let mut client = rig::eventually("the core is found again", || {
            let mut client = Client::try_connect(&self.rig).ok_or("nobody listens")?;
            let status = client.attempt(Status::default()).ok_or("it ended")?;
            let Ok(Reply::StatusReply(status)) = status else { return Err("no status") };
            let told = status.guarantees.iter().any(|row| row.name == "state-is-found-after-both-halves" && !row.holds);
            if told { Ok(client) } else { Err("it does not know what it has lost") }
        });
        let pids: Vec<(String, i32)> =
            client.list().into_iter().filter(|info| info.exit.is_none()).map(|info| (info.name, info.pid)).collect();
        assert_eq!(pids, [("speaks".to_owned(), self.speaks.pid), ("silent".to_owned(), self.silent.pid)]);
        TcpStream::connect(self.web).unwrap();
        let second = self.rig.command().output().unwrap();
        assert_eq!(second.status.code(), Some(3), "no other core serves: {}", text(&second.stderr));
        client
    }

    /// Both processes go on, and what they say and how they end is known; others are started as before.
    fn check(mut self) {
        let rig = &self.rig;
        self.found();
        rig.kill_kernel();
        self.found();
        rig.kill_keeper();
        self.found();
        let program = env!("CARGO_BIN_EXE_papa");
        let upgrade = rig.command().args(["upgrade", program, "-u"]).arg(rig.socket()).output().unwrap();
        assert!(upgrade.status.success(), "{upgrade:?}");
        self.found();
        let mut client = rig.manager();
        for gate in ["one", "two"] {
            fs::write(rig.run.path().join(gate), "go\n").unwrap();
        }
        assert_eq!(client.wait_exit(self.speaks.id).status, ExitStatus::Code(21));
        assert_eq!(client.wait_exit(self.silent.id).status, ExitStatus::Code(22));
        let info = client.list().into_iter().find(|info| info.id == self.speaks.id).unwrap();
        // Who opened the file before reads on.
        self.reading.read_to(Stream::Stdout, info.streams[0].head);
        assert_eq!(text(&self.reading.bytes(Stream::Stdout)), "before\nafter\n");
        let next = client.spawn(shell("next", "echo next; exit 3"));
        let (out, _, exit) = client.read_all(next.id);
        assert_eq!((text(&out), exit.status), ("next\n".into(), ExitStatus::Code(3)));
        rig.kill_kernel();
        assert!(rig.client().list().iter().any(|info| info.id == next.id), "it has a file with a name");
    }
}

fn everything_in(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn a_directory_that_is_removed_is_made_anew() {
    let stage = Stage::new(&[]);
    let (directory, away) = (stage.rig.directory(), stage.rig.run.path().join("away"));
    fs::rename(&directory, &away).unwrap();
    fs::remove_dir_all(&away).unwrap();
    stage.check();
}

#[test]
fn a_directory_that_is_emptied_is_filled_anew() {
    let stage = Stage::new(&[]);
    for path in everything_in(&stage.rig.directory()) {
        if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) }.unwrap();
    }
    stage.check();
}

#[test]
fn a_directory_that_was_moved_is_not_followed() {
    let stage = Stage::new(&[]);
    fs::rename(stage.rig.directory(), stage.rig.run.path().join("away")).unwrap();
    stage.check();
}

#[test]
fn a_socket_elsewhere_stays_where_it_is() {
    let stage = Stage::new(&["--instance", "default", "-u", "RUN/elsewhere"]);
    let (directory, away) = (stage.rig.directory(), stage.rig.run.path().join("away"));
    fs::rename(&directory, &away).unwrap();
    fs::remove_dir_all(&away).unwrap();
    drop(stage.found());
    // Nobody watches its folder; the next half looks.
    let kernel = Handle::open(stage.rig.kernel_pid());
    fs::remove_file(stage.rig.socket()).unwrap();
    kernel.send(rustix::process::Signal::KILL);
    stage.check();
}
