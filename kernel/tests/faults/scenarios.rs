//! What the core is asked to do while it is hit, and what must have come of it.

use crate::rig::{self, Reading, text};
use crate::stage::{Core, Patient, marked};
use ringmaster_protocol::limits::MIN_RING;
use ringmaster_protocol::message::*;
use ringmaster_protocol::ring::Stream;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};

/// One request, or one thing that happens to a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scenario {
    Spawn,
    Capture,
    Reap,
    Listen,
    SetValue,
    Remove,
    Forget,
    StopTree,
    Upgrade,
    UpgradeThatAborts,
    /// The kernel half is killed, and started anew.
    Restart,
}

/// A scenario on its way.
pub struct Act<'a> {
    core: &'a Core,
    scenario: Scenario,
    patient: Patient<'a>,
    process: Option<ProcessInfo>,
    reading: Option<Reading>,
    exit: Option<Exit>,
    address: Option<SocketAddr>,
    /// What the core said when it refused: allowed only where a call was made to fail.
    pub refusal: Option<String>,
    /// Somebody has killed the child between clone and exec.
    pub child_was_killed: bool,
    /// Both halves were killed at once. What was in the pipe of a child that ends before the next core is there is beyond
    /// recovery, and its status as well where the system does not keep it (docs/TESTING.md).
    pub nobody_was_there: bool,
    /// The program that aborts when it takes over.
    aborts: &'a Path,
}

const LISTENER: &str = "web";

fn numbered_lines() -> Vec<u8> {
    (0..10_000).flat_map(|number| format!("{number:014}\n").into_bytes()).collect()
}

/// A program that says that it can take over, and aborts when it is to. `None`: there is no C compiler.
pub fn program_that_aborts(folder: &Path) -> Option<PathBuf> {
    let (source, program) = (folder.join("aborts.c"), folder.join("aborts"));
    let text = "#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\nint main(int n, char **words) {\n\
        for (int i = 1; i < n; i++) if (!strcmp(words[i], \"--dry-run\")) return puts(\"papa can take over: 9\") < 0;\nabort(); }\n";
    std::fs::write(&source, text).unwrap();
    let made = std::process::Command::new("cc").arg("-o").arg(&program).arg(&source).status();
    made.is_ok_and(|status| status.success()).then_some(program)
}

impl<'a> Act<'a> {
    /// Sets the stage.
    pub fn new(core: &'a Core, scenario: Scenario, aborts: &'a Path) -> Self {
        let mut act = Self {
            core,
            scenario,
            patient: Patient::new(&core.rig),
            process: None,
            reading: None,
            exit: None,
            address: None,
            refusal: None,
            child_was_killed: false,
            nobody_was_there: false,
            aborts,
        };
        act.prepare();
        act
    }

    fn shell(&self, script: &str) -> Spawn {
        let mut spawn = rig::shell("acts", script);
        spawn.token = self.core.round;
        spawn.env.push((b"FAULTS".to_vec(), self.core.marker().into_bytes()));
        spawn
    }

    fn gate(&self) -> String {
        self.core.rig.run.path().join(format!("gate-{}", self.core.round)).display().to_string()
    }

    fn with_gate(&mut self, script: &str, change: impl FnOnce(&mut Spawn)) {
        let gate = self.gate();
        rustix::fs::mknodat(rustix::fs::CWD, &gate, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).unwrap();
        let mut spawn = self.shell(&format!("read x <{gate}; {script}"));
        change(&mut spawn);
        let process = self.spawned(spawn).unwrap();
        self.reading = Some(self.patient.open(process.id));
        self.process = Some(process);
    }

    fn spawned(&mut self, spawn: Spawn) -> Result<ProcessInfo, Refusal> {
        match self.patient.ask(spawn)? {
            Reply::Spawned(spawned) => Ok(spawned.process),
            other => panic!("{other:?}"),
        }
    }

    fn id(&self) -> ProcessId {
        self.process.as_ref().unwrap().id
    }

    fn prepare(&mut self) {
        match self.scenario {
            Scenario::Spawn | Scenario::Listen | Scenario::SetValue => {}
            Scenario::Capture => {
                let data = self.core.rig.run.path().join("data");
                std::fs::write(&data, numbered_lines()).unwrap();
                self.with_gate(&format!("exec cat {}", data.display()), |spawn| {
                    spawn.ring = MIN_RING;
                    spawn.overflow = Overflow::Block;
                });
            }
            Scenario::Reap => self.with_gate("echo last words; exit 21", |_| {}),
            Scenario::Forget => {
                let spawn = self.shell("exit 3");
                self.process = Some(self.spawned(spawn).unwrap());
                self.reading = Some(self.patient.open(self.id()));
                self.read_to_the_end();
            }
            Scenario::StopTree => {
                let spawn = self.shell("sleep 1000 & sleep 1000 & echo ready; wait");
                self.process = Some(self.spawned(spawn).unwrap());
                self.reading = Some(self.patient.open(self.id()));
                self.until_it_has_said(6, 0);
            }
            Scenario::Remove => {
                self.patient.ok(value("r"));
                self.patient.ok(listen());
            }
            Scenario::Upgrade | Scenario::UpgradeThatAborts | Scenario::Restart => {}
        }
        // The one who acts comes to a core that is at rest and knows nobody else.
        self.patient.anew();
        self.patient.status();
    }

    fn until_it_has_said(&mut self, out: u64, err: u64) {
        let id = self.id();
        let patient = &mut self.patient;
        rig::eventually("it has spoken", || {
            let list = patient.list();
            let info = list.into_iter().find(|info| info.id == id).ok_or_else(|| "it is lost".to_owned())?;
            let heads = info.streams.each_ref().map(|stream| stream.head);
            (heads == [out, err]).then_some(()).ok_or_else(|| format!("{heads:?} {:?}", info.exit))
        });
    }

    /// All output and the end, through all deaths.
    fn read_to_the_end(&mut self) {
        let id = self.id();
        let mut ends = [false; 2];
        while self.exit.is_none() || ends != [true; 2] {
            let reading = self.reading.as_mut().unwrap();
            match self.patient.notice() {
                Notice::Output(more) if more.process == id => {
                    let offset = reading.read_to(more.stream, more.head);
                    self.patient.cast(Ack { process: id, stream: more.stream, offset });
                }
                Notice::StreamEnd(end) if end.process == id => {
                    reading.read_to(end.stream, end.head);
                    ends[end.stream.index()] = true;
                }
                Notice::Exited(exited) if exited.process == id => self.exit = Some(exited.exit),
                _ => {}
            }
        }
    }

    fn refused(&mut self, refusal: &Refusal) {
        let said = refusal.to_string();
        assert!(said.len() > 8, "a refusal without a reason: {said}");
        self.refusal = Some(said);
    }

    /// What is hit. Also done once more, unhit, when the core has refused it.
    pub fn act(&mut self) {
        self.refusal = None;
        let answer = match self.scenario {
            Scenario::Spawn => {
                let spawn = self.shell("echo out; echo err >&2; exec sleep 1000");
                let spawned = self.spawned(spawn);
                spawned.map(|process| self.process = Some(process))
            }
            Scenario::Capture | Scenario::Reap => {
                std::fs::write(self.gate(), "go\n").unwrap();
                self.read_to_the_end();
                Ok(())
            }
            Scenario::Listen => self.patient.ask(listen()).map(|reply| self.address = Some(address(reply))),
            Scenario::SetValue => self.patient.ask(value("v")).map(drop),
            Scenario::Remove => {
                let first = self.patient.ask(RemoveValue { name: "r".into(), ext: vec![] }).map(drop);
                let second = self.patient.ask(RemoveSocket { name: LISTENER.into(), ext: vec![] }).map(drop);
                first.and(second)
            }
            Scenario::Forget => self.patient.ask(Forget { process: self.id(), ext: vec![] }).map(drop),
            Scenario::StopTree => self
                .patient
                .ask(Signal { process: self.id(), signal: 9, target: Target::Tree, ext: vec![] })
                .map(|_| self.read_to_the_end()),
            Scenario::Upgrade => self.upgrade(Path::new(env!("CARGO_BIN_EXE_papa"))),
            Scenario::UpgradeThatAborts => self.upgrade(self.aborts),
            Scenario::Restart => {
                self.core.kill_kernel();
                self.patient.anew();
                self.patient.status();
                Ok(())
            }
        };
        match answer {
            // It was done, and whoever did it died before saying so.
            Err(Refusal::NotFound { .. }) if self.patient.repeated > 0 && self.may_be_gone() => {}
            Err(refusal) => self.refused(&refusal),
            Ok(()) => {}
        }
    }

    fn may_be_gone(&self) -> bool {
        matches!(self.scenario, Scenario::Forget | Scenario::Remove)
    }

    fn upgrade(&mut self, program: &Path) -> Result<(), Refusal> {
        use std::os::unix::ffi::OsStrExt;
        let program = Some(program.as_os_str().as_bytes().to_vec());
        let answer = self.patient.ask(Upgrade { program, ext: vec![] });
        // Nobody serves until it is decided who does.
        self.patient.anew();
        self.patient.status();
        answer.map(drop)
    }

    /// What has come of it; then everything of it is taken away.
    pub fn check(mut self) {
        assert_eq!(self.patient.status().lost_bytes, 0);
        match self.scenario {
            Scenario::Spawn => self.check_spawned(),
            Scenario::Capture => {
                self.check_ended(&text(&numbered_lines()), ExitStatus::Code(0));
            }
            Scenario::Reap => {
                self.check_ended("last words\n", ExitStatus::Code(21));
            }
            Scenario::Listen => {
                let again = address(self.patient.ok(listen()));
                assert_eq!(Some(again), self.address, "the same name has the same address");
                TcpStream::connect(again).unwrap();
                self.patient.ok(RemoveSocket { name: LISTENER.into(), ext: vec![] });
                // The last answer brought us the socket itself.
                self.patient.anew();
                self.is_closed(again);
            }
            Scenario::SetValue => {
                let found = self.patient.ok(GetValue { name: "v".into(), ext: vec![] });
                assert!(matches!(&found, Reply::Value(found) if found.value == Some(VALUE.to_vec())), "{found:?}");
                self.patient.ok(RemoveValue { name: "v".into(), ext: vec![] });
            }
            Scenario::Remove => {
                let names = self.patient.ok(ListValues { after: String::new(), prefix: String::new(), ext: vec![] });
                assert!(matches!(&names, Reply::ValueNames(names) if names.names.is_empty()), "{names:?}");
                let sockets = self.patient.ok(Sockets::default());
                assert!(matches!(&sockets, Reply::SocketList(list) if list.sockets.is_empty()), "{sockets:?}");
            }
            Scenario::Forget => {}
            Scenario::StopTree => {
                assert_eq!((self.output(Stream::Stdout).as_str(), self.status()), ("ready\n", ExitStatus::Signal(9)));
                let marker = self.core.marker();
                rig::eventually("the tree is gone", || {
                    let left = marked(&marker);
                    left.is_empty().then_some(()).ok_or(left)
                });
                self.forget();
            }
            Scenario::Upgrade | Scenario::UpgradeThatAborts | Scenario::Restart => {}
        }
        std::fs::remove_file(self.gate()).ok();
    }

    fn check_spawned(&mut self) {
        let before = self.process.clone().unwrap();
        let spawn = self.shell("echo out; echo err >&2; exec sleep 1000");
        let again = self.spawned(spawn).unwrap();
        assert_eq!((again.id, again.pid), (before.id, before.pid), "the same token is the same process");
        let listed = self.patient.list().len();
        assert_eq!(listed, 2, "one for one token, and the standing process");
        self.reading = Some(self.patient.open(before.id));
        if self.child_was_killed {
            self.read_to_the_end();
            assert_eq!(self.status(), ExitStatus::Signal(9));
        } else {
            self.until_it_has_said(4, 4);
            let marker = self.core.marker();
            rig::eventually("there is one process of one token", || {
                // One that is just becoming its program has no environment to be read.
                let found = marked(&marker);
                (found == [before.pid]).then_some(()).ok_or(found)
            });
            self.patient.ok(Signal { process: before.id, signal: 9, target: Target::Tree, ext: vec![] });
            self.read_to_the_end();
            let said = (self.output(Stream::Stdout), self.output(Stream::Stderr), self.status());
            assert_eq!(said, ("out\n".into(), "err\n".into(), ExitStatus::Signal(9)));
        }
        self.forget();
    }

    fn check_ended(&mut self, written: &str, status: ExitStatus) {
        let out = self.output(Stream::Stdout);
        let whole = out == written || self.nobody_was_there && written.starts_with(&out);
        assert!(whole, "{} of {} bytes, or others", out.len(), written.len());
        let told = self.status() == status || self.nobody_was_there && self.status() == ExitStatus::Unknown;
        assert!(told, "{:?}", self.status());
        assert_eq!(self.reading.as_ref().unwrap().gaps, 0);
        self.forget();
    }

    fn output(&self, stream: Stream) -> String {
        text(&self.reading.as_ref().unwrap().bytes(stream))
    }

    fn status(&self) -> ExitStatus {
        self.exit.unwrap().status
    }

    fn forget(&mut self) {
        self.patient.ok(Forget { process: self.id(), ext: vec![] });
    }

    fn is_closed(&self, address: SocketAddr) {
        rig::eventually("nobody listens any more", || match TcpStream::connect(address) {
            Err(_) => Ok(()),
            Ok(_) => Err(address),
        });
    }
}

const VALUE: &[u8] = b"a value that is kept";

fn value(name: &str) -> SetValue {
    SetValue { name: name.into(), value: VALUE.to_vec(), ext: vec![] }
}

fn listen() -> Listen {
    Listen {
        name: LISTENER.into(),
        address: SocketAddress::Inet("127.0.0.1:0".parse().unwrap()),
        kind: SocketType::Stream,
        backlog: 16,
        umask: None,
        replace: false,
        interface: None,
        reuse_port: false,
        blocking: false,
        persistent: true,
        ext: vec![],
    }
}

fn address(reply: Reply) -> SocketAddr {
    match reply {
        Reply::Listening(Listening { socket: SocketInfo { address: SocketAddress::Inet(address), .. }, .. }) => address,
        other => panic!("{other:?}"),
    }
}
