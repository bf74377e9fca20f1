//! The process file: made before its process, found again by its id.
//!
//! A process without captured output has none: its request is in the ledger (`shell/ledger.rs`). Behind the regions of the protocol's
//! layout lies what never changes: the request that made the process, without its program and environment, as a message
//! body with its length. A file whose rings are spilled lies in the directory that the request names; what is in the rings
//! folder then is a symbolic link to it, made before it and removed after it.

use super::ledger::Ledger;
use crate::core::Holes;
use crate::core::of;
use ringmaster_protocol::limits::MAX_BODY;
use ringmaster_protocol::message::{Keeping, Lifetime, ProcessId, Request, Spawn, Stdout};
use ringmaster_protocol::ring::{MAGIC, PAGE, Record, Stream, StreamEntry, layout};
use rustix::fs::{AtFlags, CWD, FallocateFlags, Mode, OFlags};
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;

/// An open process file. `None`: nothing is captured, as of most processes of a large instance.
#[derive(Debug)]
pub struct ProcessFile(Option<Box<Opened>>);

/// A file and what its header says.
#[derive(Debug)]
struct Opened {
    file: File,
    entries: [StreamEntry; 2],
}

/// Bytes of the magic and both entries (`ringmaster_protocol::ring`).
const HEAD: usize = 192;

impl ProcessFile {
    /// Makes the file of a process in the rings folder, or enters it in the ledger.
    pub fn create(
        folder: BorrowedFd<'_>,
        ledger: &Ledger,
        index: usize,
        (instance, id): (u64, ProcessId),
        spawn: &Spawn,
    ) -> io::Result<Self> {
        let captured = [spawn.stdout, spawn.stderr].map(|stdout| stdout == Stdout::Captured);
        let body = encode(spawn);
        if captured == [false, false] && ledger.enter(index, id, &body)? {
            return Ok(Self::nowhere());
        }
        let name = id.0.to_string();
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let (opened, ring) = match spawn.keeping() {
            Some(Keeping::Spill { directory, quota }) => {
                let path = [directory, format!("/papa-{instance:016x}-{name}").into_bytes()].concat();
                rustix::fs::symlinkat(path.as_slice(), folder, &name)?;
                (rustix::fs::openat(CWD, path.as_slice(), flags, mode), quota)
            }
            Some(Keeping::DropNewest) | None => (rustix::fs::openat(folder, &name, flags, mode), spawn.ring),
        };
        let (entries, size) = layout(captured, ring.next_multiple_of(PAGE));
        let made = opened.map_err(io::Error::from).map(File::from).and_then(|file| {
            write_new(&file, &entries, size, &body)?;
            Ok(Self::of(file, entries))
        });
        if made.is_err() {
            Self::remove(folder, id);
        }
        made
    }

    /// Opens the file of a process of a former core, unless it is `known`, with the request that made it. One whose output is not
    /// captured may be in the ledger instead.
    pub fn open(
        folder: BorrowedFd<'_>,
        ledger: &Ledger,
        (index, id): (usize, ProcessId),
        known: Option<OwnedFd>,
        captured: bool,
    ) -> io::Result<(Self, Spawn)> {
        if !captured && let Some(spawn) = ledger.find(index, id) {
            return Ok((Self::nowhere(), spawn));
        }
        // Nobody but us can put a link there.
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        let open = || rustix::fs::openat(folder, id.0.to_string(), flags, Mode::empty());
        Self::adopt(known.map_or_else(open, Ok)?)
    }

    /// As [`Self::open`], with a file that is open already.
    pub fn adopt(file: OwnedFd) -> io::Result<(Self, Spawn)> {
        let file = File::from(file);
        let mut head = [0; HEAD];
        file.read_exact_at(&mut head, 0)?;
        let mut entries = [StreamEntry::default(); 2];
        for (entry, stream) in entries.iter_mut().zip(Stream::ALL) {
            let at = usize::try_from(StreamEntry::position(stream)).unwrap_or(HEAD);
            let bytes = head.get(at..).and_then(|rest| rest.first_chunk::<64>());
            *entry = bytes.map(StreamEntry::decode).filter(StreamEntry::is_sound).ok_or(io::ErrorKind::InvalidData)?;
        }
        if !head.starts_with(&MAGIC) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let spawn = read_spawn(&file, request_at(&entries))?;
        Ok((Self::of(file, entries), spawn))
    }

    /// Notes another lifetime in the kept request. One byte of it differs, so that a death in between leaves either.
    pub fn save_lifetime(&self, ledger: &Ledger, index: usize, id: ProcessId, lifetime: Lifetime) -> io::Result<()> {
        let Some(Opened { file, entries }) = self.0.as_deref() else {
            let spawn = ledger.find(index, id).ok_or(io::ErrorKind::NotFound)?;
            return ledger.enter(index, id, &encode(&Spawn { lifetime, ..spawn })).map(drop);
        };
        let at = request_at(entries);
        let spawn = read_spawn(file, at)?;
        file.write_all_at(&encode(&Spawn { lifetime, ..spawn }), at + 8)
    }

    /// Of a process that is in the ledger.
    fn nowhere() -> Self {
        Self(None)
    }

    fn of(file: File, entries: [StreamEntry; 2]) -> Self {
        Self(Some(Box::new(Opened { file, entries })))
    }

    /// Whether it has a file of its own.
    pub fn is_somewhere(&self) -> bool {
        self.0.is_some()
    }

    fn file(&self) -> io::Result<&File> {
        self.0.as_ref().map(|opened| &opened.file).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Removes the file of a process; one that is not there is fine.
    pub fn remove(folder: BorrowedFd<'_>, id: ProcessId) {
        Self::remove_entry(folder, OsStr::new(&id.0.to_string()));
    }

    /// Removes what is called so in the rings folder, and the file elsewhere for which it stands.
    pub fn remove_entry(folder: BorrowedFd<'_>, name: &OsStr) {
        if let Ok(spilled) = rustix::fs::readlinkat(folder, name, Vec::new()) {
            let _ = rustix::fs::unlink(spilled);
        }
        let _ = rustix::fs::unlinkat(folder, name, AtFlags::empty());
    }

    /// Gives pages back. Where the file system cannot, they only stay.
    pub fn give_back(&self, stream: Stream, holes: &Holes) {
        let entry = self.entry(stream);
        let Range { start, end } = holes.records;
        let region = StreamEntry { data_at: entry.records_at, capacity: entry.records * Record::SIZE, ..entry };
        let records = region.pieces(start * Record::SIZE, end * Record::SIZE);
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        for hole in entry.pieces(holes.bytes.start, holes.bytes.end).chain(records) {
            let _ = self.file().map(|file| rustix::fs::fallocate(file, flags, hole.at, hole.length));
        }
    }

    /// The geometry of a stream; capacity 0 when it is not captured.
    pub fn entry(&self, stream: Stream) -> StreamEntry {
        self.0.as_ref().map_or_else(StreamEntry::default, |opened| of(opened.entries, stream))
    }

    /// Writes `low` of a stream.
    pub fn write_low(&self, stream: Stream, low: u64) -> io::Result<()> {
        let at = StreamEntry::position(stream) + StreamEntry::LOW_AT;
        self.file()?.write_all_at(&low.to_le_bytes(), at)
    }

    /// Writes a record.
    pub fn write_record(&self, stream: Stream, number: u64, record: &Record) -> io::Result<()> {
        let at = self.entry(stream).record_position(number);
        self.file()?.write_all_at(&record.encode(), at)
    }

    /// Reads a record.
    pub fn read_record(&self, stream: Stream, number: u64) -> Option<Record> {
        let mut bytes = [0; 32];
        let at = self.entry(stream).record_position(number);
        self.file().ok()?.read_exact_at(&mut bytes, at).ok()?;
        Some(Record::decode(&bytes))
    }

    /// Reads output that is still in the ring: at most its capacity, not beyond what was captured.
    pub fn read_output(&self, stream: Stream, from: u64, to: u64) -> io::Result<Vec<u8>> {
        let entry = self.entry(stream);
        let from = from.max(to.saturating_sub(entry.capacity));
        let mut bytes = Vec::new();
        for piece in entry.pieces(from, to) {
            let length = usize::try_from(piece.length).map_err(|_long| io::ErrorKind::InvalidInput)?;
            let mut part = vec![0; length];
            self.file()?.read_exact_at(&mut part, piece.at)?;
            bytes.append(&mut part);
        }
        Ok(bytes)
    }

    /// The file itself, to splice into.
    pub fn target(&self) -> io::Result<BorrowedFd<'_>> {
        self.file().map(AsFd::as_fd)
    }

    /// A descriptor of it that can only read.
    pub fn read_only(&self) -> io::Result<OwnedFd> {
        let path = format!("/proc/self/fd/{}", self.file()?.as_raw_fd());
        Ok(rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
    }
}

/// What is kept of a request: everything but program, environment and additions that mean nothing to us.
pub(super) fn encode(spawn: &Spawn) -> Vec<u8> {
    let ext = spawn.keeping().map(|keeping| keeping.addition()).into_iter().collect();
    let kept = Spawn { argv: Vec::new(), env: Vec::new(), ext, ..spawn.clone() };
    Request::Spawn(kept).body()
}

/// The reverse of [`encode`].
pub(super) fn decode(body: &[u8]) -> io::Result<Spawn> {
    /// The frozen number of `Spawn`.
    const SPAWN: u16 = 3;
    match Request::decode(SPAWN, body) {
        Ok(Request::Spawn(spawn)) => Ok(spawn),
        Ok(_) | Err(_) => Err(io::ErrorKind::InvalidData.into()),
    }
}

fn write_new(file: &File, entries: &[StreamEntry; 2], size: u64, body: &[u8]) -> io::Result<()> {
    let length = u64::try_from(body.len()).unwrap_or(0);
    file.write_all_at(&[&length.to_le_bytes(), body].concat(), size)?;
    let mut head = MAGIC.to_vec();
    for (entry, stream) in entries.iter().zip(Stream::ALL) {
        head.resize(usize::try_from(StreamEntry::position(stream)).unwrap_or(0), 0);
        head.extend(entry.encode());
    }
    file.write_all_at(&head, 0)
}

/// Where the request lies: behind the rings.
fn request_at(entries: &[StreamEntry; 2]) -> u64 {
    entries.iter().map(|entry| entry.data_at + entry.capacity).max().unwrap_or(0).max(PAGE)
}

/// Most requests are as long or shorter, and so read at once.
const USUAL: usize = 1024;

fn read_spawn(file: &File, at: u64) -> io::Result<Spawn> {
    let mut bytes = vec![0; USUAL];
    let count = file.read_at(&mut bytes, at)?;
    bytes.truncate(count);
    let (length, _) = bytes.split_first_chunk::<8>().ok_or(io::ErrorKind::InvalidData)?;
    let length = usize::try_from(u64::from_le_bytes(*length)).unwrap_or(usize::MAX);
    if length > MAX_BODY {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let have = bytes.len().min(8 + length);
    bytes.resize(8 + length, 0);
    let rest = bytes.get_mut(have..).unwrap_or_default();
    file.read_exact_at(rest, at + u64::try_from(have).unwrap_or(u64::MAX))?;
    decode(bytes.get(8..).unwrap_or_default())
}
