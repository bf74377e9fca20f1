//! The children that the nemesis lets a core run: what each does, and what must come of it.

use anyhow::Result;
use ringmaster_protocol::limits::DEFAULT_RING;
use ringmaster_protocol::message::*;
use ringmaster_tests::dice::Dice;
use ringmaster_tests::processes;
use ringmaster_tests::program::profile_dir;
use std::fs::File;
use std::path::PathBuf;

/// Children that write all the time.
const WRITERS: i32 = 50;

/// What the first of them ends with; the others with the numbers that follow.
const FIRST_CODE: i32 = 40;

/// Bytes a second that each writes on each of its two streams: 30 MB/s in all, of which outages cost some.
const RATE: u64 = 300_000;

/// Children that accept on the socket.
const ACCEPTORS: usize = 2;

/// The longest life of one, in milliseconds.
const LONGEST_LIFE: u64 = 400;

/// One in so many short-lived children serves those who wait at the lone socket.
const DRAIN_ONE_IN: u64 = 8;

/// What a child does, and what must come of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// Writes until it is told to stop.
    Writer,
    /// Accepts until it is killed.
    Acceptor,
    /// Says a sentence and ends.
    Short,
}

/// One child that was asked for.
pub struct Expected {
    pub spawn: Spawn,
    pub role: Role,
    pub code: ExitStatus,
    /// It ended while both halves were dead, or may have.
    pub may_be_unknown: bool,
    pub was_told: bool,
    pub seen: Option<Seen>,
}

/// What the core has said of it.
pub struct Seen {
    pub id: ProcessId,
    pub pid: i32,
    pub file: Option<File>,
    /// How far each stream was read.
    pub at: [u64; 2],
    pub ended: [bool; 2],
    pub exit: Option<Exit>,
    /// What a short-lived one said.
    pub words: Vec<u8>,
}

impl Expected {
    fn new(spawn: Spawn, role: Role, code: ExitStatus) -> Self {
        Self { spawn, role, code, may_be_unknown: false, was_told: false, seen: None }
    }
}

/// Makes them, one after the other.
pub struct Children {
    /// Where they work and leave their traces.
    pub folder: PathBuf,
    actor: String,
    dice: Dice,
    started: u64,
}

impl Children {
    /// Those that work in `folder`.
    pub fn new(folder: PathBuf, dice: Dice) -> Result<Self> {
        let actor = profile_dir()?.join("nemesis-actor").display().to_string();
        Ok(Self { folder, actor, dice, started: 0 })
    }

    /// Those that live to the end.
    pub fn lasting(&mut self) -> Vec<Expected> {
        let folder = self.folder.display().to_string();
        let mut all = Vec::new();
        for number in 0..WRITERS {
            let (name, code) = (format!("w{number}"), FIRST_CODE + number);
            let spawn = self.spawn(&name, &["write", &name, &RATE.to_string(), &folder, &code.to_string()]);
            all.push(Expected::new(spawn, Role::Writer, ExitStatus::Code(code)));
        }
        for number in 0..ACCEPTORS {
            let spawn = self.spawn(&format!("a{number}"), &["accept"]);
            let spawn = Spawn { stdin: Stdin::Socket("web".into()), ..spawn };
            all.push(Expected::new(spawn, Role::Acceptor, ExitStatus::Signal(9)));
        }
        all
    }

    fn spawn(&mut self, name: &str, words: &[&str]) -> Spawn {
        Spawn {
            name: name.into(),
            token: self.dice.below(u64::MAX),
            lifetime: Lifetime::Persistent,
            stop: StopPlan { signal: 15, grace_ms: 5000 },
            argv: [self.actor.as_str()].iter().chain(words).map(|word| word.as_bytes().to_vec()).collect(),
            env: vec![
                (b"PATH".to_vec(), b"/usr/bin:/bin".to_vec()),
                (b"NEMESIS".to_vec(), self.folder.display().to_string().into_bytes()),
            ],
            cwd: Some(self.folder.display().to_string().into_bytes()),
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
            // What cannot be read has to wait, so that not one byte may be missing.
            overflow: Overflow::Block,
            note: vec![],
            ext: vec![],
        }
    }

    /// The next short-lived one.
    pub fn short_one(&mut self) -> Expected {
        self.started += 1;
        let name = format!("s{}", self.started);
        let (code, word) = match self.dice.below(8) {
            0 => (ExitStatus::Signal(9), "s9".to_owned()),
            1 => (ExitStatus::Signal(15), "s15".to_owned()),
            _ => {
                let code = self.dice.below(256);
                (ExitStatus::Code(i32::try_from(code).unwrap_or(0)), code.to_string())
            }
        };
        let life = self.dice.below(LONGEST_LIFE);
        let folder = self.folder.display().to_string();
        let spawn = if self.dice.below(DRAIN_ONE_IN) == 0 {
            // Nobody but the core holds that socket, but for these moments.
            let spawn = self.spawn(&name, &["drain", &name, &folder, &word]);
            Spawn { stdin: Stdin::Socket("lone".into()), ..spawn }
        } else {
            self.spawn(&name, &["end", &name, &life.to_string(), &folder, &word])
        };
        Expected::new(spawn, Role::Short, code)
    }
}

/// A socket whose listener blocks, because its acceptors do.
pub fn socket(name: &str, port: u16) -> Listen {
    Listen {
        name: name.into(),
        address: SocketAddress::Inet(([127, 0, 0, 1], port).into()),
        kind: SocketType::Stream,
        backlog: 128,
        umask: None,
        replace: false,
        reuse_port: false,
        interface: None,
        blocking: true,
        persistent: true,
        ext: vec![],
    }
}

/// For people, when it has not come to its end.
pub fn describe(name: &str, expected: &Expected) -> String {
    let seen = expected.seen.as_ref().map(|seen| {
        format!(
            "pid {} alive {}, read {:?}, ended {:?}, exit {:?}",
            seen.pid,
            processes::is_alive(seen.pid),
            seen.at,
            seen.ended,
            seen.exit
        )
    });
    format!("{name}: {seen:?}")
}
