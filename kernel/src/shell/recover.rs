//! What a former core left: every open slot is compared with reality, at every start.
//!
//! A living process is taken back with its pipes, its ring and its offsets; one that ended is told as ended; a slot whose
//! process was never made is freed. Nothing is started here, so no second copy of anything can come of it.

use super::child::{Child, Pipe};
use super::file::ProcessFile;
use super::launch::Inheritable;
use super::{Shell, clock, tree};
use crate::core::ring::{Remains, Ring};
use crate::core::{Input, Made, Now};
use crate::state::{Facts, Phase, Slot};
use crate::sys;
use ringmaster_protocol::message::{ExitStatus, Listen, Rusage, SocketAddress};
use ringmaster_protocol::ring::Stream;
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use std::collections::HashSet;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::Ordering;

/// Clock ticks by which a process may seem to have started before its slot was opened: the two clocks differ in
/// resolution (10 ms).
const TICK_SLACK: u64 = 2;

/// Ticks within which a process whose start was not recorded must have started after its slot was opened.
const OPENING_TICKS: u64 = 3000;

impl Shell {
    /// Takes over everything that is left of a former core.
    pub(super) fn recover(&mut self) {
        for index in self.state.used() {
            let Some((slot, facts)) = self
                .state
                .slot(index)
                .and_then(|slot| Some((slot, slot.facts()?)))
            else {
                self.state.release(index);
                continue;
            };
            if !self.recover_process(index, slot, facts) {
                self.state.release(index);
                ProcessFile::remove(self.launcher.rings(), facts.id);
            }
        }
        self.remove_stray_files();
        self.recover_sockets();
        for number in self.values.numbers() {
            match self.values.value_name(number) {
                Ok(name) => self.drive(Input::ValueStored {
                    to: None,
                    name,
                    number,
                    outcome: Ok(()),
                }),
                Err(_) => self.values.remove(number),
            }
        }
    }

    /// `false`: there is no such process and never was.
    fn recover_process(&mut self, index: usize, slot: Slot, facts: Facts) -> bool {
        let Some(facts) = settle(slot, facts) else {
            return false;
        };
        let (file, spawn) = match ProcessFile::open(self.launcher.rings(), facts.id) {
            Ok(opened) => opened,
            Err(error) => {
                self.log(&format!("process {}: its file is lost: {error}", facts.id.0));
                return false;
            }
        };
        let now = clock::now();
        let identity = tree::Identity {
            pid: facts.pid,
            start: facts.start_ticks,
        };
        let living = tree::hold(identity);
        let pipes = Stream::ALL.map(|stream| find_pipe(&facts, stream, living.is_some()).map(Pipe::new));
        let made = Box::new(made(slot, &facts, &file, &pipes, now));
        slot.publish(Some(&facts));
        let (id, ended) = (facts.id, matches!(facts.phase, Phase::Exited(_)));
        let pidfd = if ended { None } else { living };
        let lives = pidfd.is_some();
        self.take_in(id, Child::new(index, slot, facts, pidfd, file, pipes));
        self.drive(Input::Adopted {
            spawn: Box::new(spawn),
            made,
        });
        match (ended, lives) {
            (true, _) => {}
            (false, true) => self.watch_stranger(id),
            (false, false) => {
                let status = super::ends::zombie_status(identity).unwrap_or(ExitStatus::Unknown);
                let status = sys::wait_peek(identity.pid).map_or(status, |ended| ended.status);
                self.ended(id, status, Rusage::default());
            }
        }
        true
    }

    /// Files of processes that have no slot.
    fn remove_stray_files(&self) {
        let known: HashSet<String> = self.children.keys().map(|id| id.0.to_string()).collect();
        let folder = crate::instance::through(self.launcher.rings(), "");
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry
                .file_name()
                .to_str()
                .is_none_or(|name| !known.contains(name))
            {
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }

    fn recover_sockets(&mut self) {
        for number in self.socket_store.numbers() {
            let Ok((listen, inode)) = self.socket_store.load_socket(number) else {
                self.socket_store.remove(number);
                continue;
            };
            let child_number = u32::try_from(number).unwrap_or(0);
            let name = listen.name.clone();
            let outcome = match socket_of_holder(&listen, inode) {
                Some(socket) => {
                    let known = Inheritable {
                        listen: listen.clone(),
                        number: child_number,
                        socket: Some(socket),
                    };
                    self.sockets.insert(name.clone(), known);
                    Ok(listen.address.clone())
                }
                None => {
                    // The file of our own former socket is in the way.
                    super::perform::remove_path(&listen.address);
                    self.bind_now(&listen, child_number)
                }
            };
            match outcome {
                Ok(address) => {
                    let (listen, outcome) = (Box::new(listen), Ok(address));
                    self.drive(Input::Bound {
                        to: None,
                        listen,
                        number: child_number,
                        outcome,
                    });
                }
                Err(refusal) => {
                    self.log(&format!("the socket {name} is lost: {refusal}"));
                    self.socket_store.remove(number);
                }
            }
        }
    }
}

/// The very socket, with the connections that wait in it, from any process that holds it: a child that inherited it, or
/// a manager that was given it.
fn socket_of_holder(listen: &Listen, inode: u64) -> Option<OwnedFd> {
    let wanted = format!("socket:[{inode}]");
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    for pid in pids {
        let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd"))
            .into_iter()
            .flatten()
            .flatten();
        for entry in descriptors {
            let is_wanted =
                std::fs::read_link(entry.path()).is_ok_and(|link| link.as_os_str() == wanted.as_str());
            let number = entry.file_name().to_str().and_then(|name| name.parse().ok());
            if let Some(number) = number.filter(|_| is_wanted)
                && let Some(socket) = copy_descriptor(pid, number)
                && is_bound_to(&socket, &listen.address)
            {
                return Some(socket);
            }
        }
    }
    None
}

fn copy_descriptor(pid: i32, number: i32) -> Option<OwnedFd> {
    let pidfd = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
    pidfd_getfd(pidfd, number, PidfdGetfdFlags::empty()).ok()
}

fn is_bound_to(socket: &OwnedFd, address: &SocketAddress) -> bool {
    let Ok(bound) = rustix::net::getsockname(socket) else {
        return false;
    };
    match address {
        SocketAddress::Inet(address) => {
            std::net::SocketAddr::try_from(bound).is_ok_and(|bound| bound == *address)
        }
        SocketAddress::Unix(path) => rustix::net::SocketAddrUnix::try_from(bound)
            .is_ok_and(|bound| bound.path_bytes() == Some(path.as_slice())),
    }
}

/// What a slot means now. A slot in which a process was about to be made is settled by the words that the system and the
/// child wrote; `None`: it never came to be.
fn settle(slot: Slot, mut facts: Facts) -> Option<Facts> {
    if facts.phase != Phase::Opening {
        return Some(facts);
    }
    let pid = i32::try_from(slot.pid().load(Ordering::Acquire) & 0xffff_ffff).unwrap_or(0);
    if pid == 0 || slot.failure().load(Ordering::Acquire) != 0 {
        return None;
    }
    let stat = tree::stat(pid)?;
    let opened = facts.opened_ns / 1_000_000_000 * ticks_per_second()
        + facts.opened_ns % 1_000_000_000 * ticks_per_second() / 1_000_000_000;
    let start = stat.identity.start;
    if start + TICK_SLACK < opened || start > opened + OPENING_TICKS {
        return None;
    }
    if is_still_ours(pid) {
        // It has not become its program yet, and nobody was told of it: it never will.
        if let Some(pidfd) = tree::hold(stat.identity) {
            let _ = sys::pidfd_signal(pidfd.as_fd(), libc::SIGKILL);
        }
        return None;
    }
    if facts.pipes != [0, 0] && !stat.zombie && !tree::writes_to(pid, facts.pipes) {
        return None;
    }
    facts.pid = pid;
    facts.start_ticks = start;
    facts.phase = Phase::Running;
    Some(facts)
}

/// Whether a process still runs our own program, as a child does between clone and exec.
fn is_still_ours(pid: i32) -> bool {
    let program =
        |whose: &str| std::fs::metadata(format!("/proc/{whose}/exe")).map(|found| (found.dev(), found.ino()));
    match (program(&pid.to_string()), program("self")) {
        (Ok(theirs), Ok(ours)) => theirs == ours,
        (Err(_), _) | (_, Err(_)) => false,
    }
}

fn ticks_per_second() -> u64 {
    rustix::param::clock_ticks_per_second()
}

/// The pipe of a stream: from the process itself, else from any that still writes to it.
fn find_pipe(facts: &Facts, stream: Stream, lives: bool) -> Option<OwnedFd> {
    let [out, err] = facts.pipes;
    let (inode, number) = match stream {
        Stream::Stdout => (out, 1),
        Stream::Stderr => (err, 2),
    };
    if inode == 0 {
        return None;
    }
    let own = lives.then(|| open_pipe(facts.pid, number, inode)).flatten();
    own.or_else(|| {
        holders(facts.pipes)
            .into_iter()
            .find_map(|pid| open_pipe(pid, number, inode))
    })
}

/// Processes whose output goes to these pipes.
fn holders(pipes: [u64; 2]) -> Vec<i32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| tree::writes_to(*pid, pipes)).collect()
}

fn open_pipe(pid: i32, number: i32, inode: u64) -> Option<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let pipe = rustix::fs::open(format!("/proc/{pid}/fd/{number}"), flags, Mode::empty()).ok()?;
    (rustix::fs::fstat(&pipe).ok()?.st_ino == inode).then_some(pipe)
}

/// The core's view of a process, from slot and file.
fn made(slot: Slot, facts: &Facts, file: &ProcessFile, pipes: &[Option<Pipe>; 2], now: Now) -> Made {
    let [out, err] = pipes;
    let rings = [(Stream::Stdout, out), (Stream::Stderr, err)].map(|(stream, pipe)| {
        let entry = file.entry(stream);
        if entry.capacity == 0 {
            return None;
        }
        let words = slot.stream(stream);
        let remains = Remains {
            acked: words.acked().load(Ordering::Acquire),
            lost: words.lost().load(Ordering::Acquire),
            head: words.head(entry.data_at, entry.capacity),
            header_low: entry.low,
            first_record: words.first_record().load(Ordering::Acquire),
            records: words.records().load(Ordering::Acquire),
        };
        let read = |number| file.read_record(stream, number);
        let ring = Ring::recover(entry.capacity, entry.records, remains, now, read);
        words.lost().store(ring.lost(), Ordering::Release);
        // A pipe that nobody holds any more has come to its end.
        let open = pipe.is_some() && words.ended().load(Ordering::Acquire) == 0;
        words.ended().store(u64::from(!open), Ordering::Release);
        Some((ring, open))
    });
    let exit = match facts.phase {
        Phase::Exited(exit) => Some(exit),
        Phase::Opening | Phase::Running => None,
    };
    let seq = slot.seq().load(Ordering::Acquire);
    Made {
        id: facts.id,
        pid: facts.pid,
        started_ns: facts.started_ns,
        rings,
        seq,
        exit,
    }
}
