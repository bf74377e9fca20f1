//! What a former core left: every open slot is compared with reality, at every start.
//!
//! A living process is taken back with its pipes, its ring and its offsets; one that ended is told as ended; a slot whose
//! process was never made is freed. Nothing is started here, so no second copy of anything can come of it.

use super::child::{Child, Origin, Pipe};
use super::ends::{end_now, zombie_status};
use super::file::ProcessFile;
use super::inherited::{Inherited, Place};
use super::{Shell, clock, store, tree};
use crate::core::ring::{Remains, Ring};
use crate::core::{Conduct, Input, Made, Now, of};
use crate::state::{Facts, Phase, Slot};
use ringmaster_protocol::message::{ExitStatus, ProcessId};
use ringmaster_protocol::ring::Stream;
use rustix::fs::{Mode, OFlags};
use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirEntryExt;
use std::sync::atomic::Ordering;

impl Shell {
    /// Takes over everything that is left of a former core. What cannot be read for want of memory or descriptors, or because
    /// a disk fails, may be readable a moment later: an error means that this half is to be started anew. Only one that comes
    /// up careful, because that has happened again and again, does without what it cannot read.
    pub(super) fn recover(&mut self, left: &mut Inherited, conduct: Conduct) -> io::Result<()> {
        let listing = Listing::of(self.launcher.rings());
        for index in self.state.used() {
            let Some((slot, facts)) = self.state.slot(index).and_then(|slot| Some((slot, slot.facts()?))) else {
                self.state.release(index);
                continue;
            };
            if !self.recover_process(index, slot, facts, (&listing, left), conduct)? {
                self.state.release(index);
                ProcessFile::remove(self.launcher.rings(), facts.id);
            }
        }
        self.remove_stray_files(&listing);
        self.groups.clean();
        self.recover_sockets(left, conduct)?;
        for number in self.values.numbers().or_else(|error| without(conduct, error))? {
            match self.values.value_name(number) {
                Ok(name) => self.drive(Input::ValueStored { to: None, name, number, outcome: Ok(()) }),
                Err(error) if store::is_damaged(&error) => self.values.remove(number),
                Err(error) => without(conduct, error)?,
            }
        }
        Ok(())
    }

    /// `false`: there is no such process and never was.
    fn recover_process(
        &mut self,
        index: usize,
        slot: Slot,
        facts: Facts,
        (listing, left): (&Listing, &mut Inherited),
        conduct: Conduct,
    ) -> io::Result<bool> {
        if facts.phase == Phase::Opening {
            return Ok(false);
        }
        let (file, spawn) = match ProcessFile::open(
            self.launcher.rings(),
            self.launcher.ledger(),
            (index, facts.id),
            listing.place(facts.id).and_then(|place| left.file_at(place)),
            facts.pipes != [0, 0],
        )
        .or_else(|error| self.file_without_name(left, facts.id, error))
        {
            Ok(opened) => opened,
            Err(error) if store::is_damaged(&error) || conduct == Conduct::Safe => {
                self.log(&format!("process {}: its file is lost: {error}", facts.id.0));
                return Ok(false);
            }
            Err(error) => return Err(error),
        };
        let now = clock::now();
        let identity = tree::Identity { pid: facts.pid, start: facts.start_ticks };
        let known = left.pidfd(slot, &facts);
        let origin = match known.as_ref().map(|(_, parent)| *parent) {
            Some(Some(parent)) if parent == self.keeper_pid => Origin::Ours,
            Some(_) => Origin::Former,
            None if tree::stat(facts.pid).is_some_and(|stat| stat.parent == self.keeper_pid) => Origin::Ours,
            None => Origin::Former,
        };
        let pidfd = match facts.phase {
            Phase::Opening | Phase::Exited(_) => None,
            Phase::Running => known.map(|(pidfd, _)| pidfd).or_else(|| tree::hold(identity)),
        };
        let pipes = Stream::ALL.map(|stream| {
            let (inode, ended) = (of(facts.pipes, stream), slot.stream(stream).ended().load(Ordering::Acquire) != 0);
            // A search through all processes of the host, and for nothing when the stream has come to its end.
            let find = || find_pipe(&facts, stream, pidfd.is_some());
            left.pipe(inode).or_else(|| if ended { None } else { find() }).map(Pipe::new)
        });
        for (stream, pipe) in Stream::ALL.into_iter().zip(&pipes) {
            if pipe.is_none()
                && let Some(loss) = loss(slot, &facts, &file, stream)
            {
                self.log(&format!("process {} {}: {loss}", facts.id.0, spawn.name));
            }
        }
        let made = Box::new(made(slot, &facts, &file, &pipes, now));
        slot.pidfd().store(pidfd.as_ref().map_or(0, number), Ordering::Release);
        let (id, lives) = (facts.id, pidfd.is_some());
        let group = Some(self.groups.name(&spawn.name)).filter(|group| self.groups.is_there(group));
        group.iter().for_each(|group| self.groups.enter(group));
        let child = Child { index, slot, facts, origin, pidfd, file, pipes, group, remembered: Vec::new() };
        self.adopt(id, child);
        self.drive(Input::Adopted { spawn: Box::new(spawn), made });
        match facts.phase {
            Phase::Opening | Phase::Exited(_) => {}
            Phase::Running if lives => {}
            Phase::Running => {
                let end = slot.end_of(facts.pid).unwrap_or_else(|| {
                    self.log(&format!("process {}: it ended while no core ran; nobody knows how", id.0));
                    end_now(zombie_status(identity).unwrap_or(ExitStatus::Unknown))
                });
                self.ended(id, &end);
            }
        }
        Ok(true)
    }

    /// Files of processes that have no slot.
    fn remove_stray_files(&self, listing: &Listing) {
        let known: HashSet<String> = self.children.keys().map(|id| id.0.to_string()).collect();
        for name in listing.inodes.keys() {
            if name.to_str().is_none_or(|name| !known.contains(name)) {
                ProcessFile::remove_entry(self.launcher.rings(), name);
            }
        }
    }
}

/// A half that comes up careful does without what it cannot read.
pub(super) fn without<T: Default>(conduct: Conduct, error: io::Error) -> io::Result<T> {
    match conduct {
        Conduct::Full => Err(error),
        Conduct::Safe => Ok(T::default()),
    }
}

/// What is in the folder of process files.
struct Listing {
    /// The folder's file system.
    device: u64,
    /// By name. One that is elsewhere, and only has a link here, has the link's inode, which no open file has.
    inodes: HashMap<OsString, u64>,
}

impl Listing {
    fn of(rings: BorrowedFd<'_>) -> Self {
        let entries = std::fs::read_dir(crate::instance::through(rings, "")).into_iter().flatten().flatten();
        let device = rustix::fs::fstat(rings).map_or(0, |folder| folder.st_dev);
        Self { device, inodes: entries.map(|entry| (entry.file_name(), entry.ino())).collect() }
    }

    fn place(&self, id: ProcessId) -> Option<Place> {
        Some((self.device, *self.inodes.get(OsStr::new(&id.0.to_string()))?))
    }
}

fn number(pidfd: &OwnedFd) -> u64 {
    u64::try_from(pidfd.as_raw_fd()).unwrap_or(0)
}

/// The pipe of a stream: from the process itself, else from any that still writes to it.
fn find_pipe(facts: &Facts, stream: Stream, lives: bool) -> Option<OwnedFd> {
    let (inode, number) = (of(facts.pipes, stream), of([1, 2], stream));
    if inode == 0 {
        return None;
    }
    let own = lives.then(|| open_pipe(facts.pid, number, inode)).flatten();
    own.or_else(|| holders(facts.pipes).into_iter().find_map(|pid| open_pipe(pid, number, inode)))
}

/// Processes whose output goes to these pipes.
fn holders(pipes: [u64; 2]) -> Vec<i32> {
    tree::all_pids().filter(|pid| tree::writes_to(*pid, pipes)).collect()
}

fn open_pipe(pid: i32, number: i32, inode: u64) -> Option<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let pipe = rustix::fs::open(format!("/proc/{pid}/fd/{number}"), flags, Mode::empty()).ok()?;
    (rustix::fs::fstat(&pipe).ok()?.st_ino == inode).then_some(pipe)
}

/// What went with a pipe that nobody holds any more. It is in no ring, so no gap can tell of it.
fn loss(slot: Slot, facts: &Facts, file: &ProcessFile, stream: Stream) -> Option<String> {
    let (entry, words, name) = (file.entry(stream), slot.stream(stream), stream.name());
    if entry.capacity == 0 || words.ended().load(Ordering::Acquire) != 0 {
        return None;
    }
    match facts.phase {
        Phase::Exited(exit) => {
            let bytes = of(exit.heads, stream).saturating_sub(words.head(entry.data_at, entry.capacity));
            (bytes > 0).then(|| format!("{bytes} bytes of {name} that waited in its pipe are lost"))
        }
        Phase::Opening | Phase::Running => Some(format!(
            "its {name} was closed while no core ran; what was in the pipe then is lost, nobody knows how much"
        )),
    }
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
    Made { id: facts.id, pid: facts.pid, started_ns: facts.started_ns, rings, seq, exit }
}
