//! The file of the journal: where slots and regions lie, and the system calls on it.
//!
//! ```text
//! 0                      header: magic, number of slots ever used
//! one page …             slots of 512 bytes: two copies of an entry, written in turn
//! REGIONS_AT + n * SPAN  regions: number of the batch, its length, its bytes
//! ```
//! The file is sparse, and lies in the memory file system of the instance directory. It survives every death of a process; after
//! the death of the machine there is nothing that it could be about. What one pwrite(2) puts into one page is there whole or not
//! at all when the writer is killed: the system copies without a break between two pages, and looks for signals there.

use super::slot::{Entry, SIZE};
use crate::streams::failpoint::{self, Failpoint};
use rustix::fs::{FallocateFlags, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io::IoSlice;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// `RMJRNL` and the version of the layout.
const MAGIC: [u8; 8] = *b"RMJRNL\x00\x01";

/// Position of the number of slots in the header.
const COUNT_AT: u64 = 8;

/// Slots begin here.
const SLOTS_AT: u64 = 4096;

/// Bytes of a slot.
const SLOT: u64 = 512;

/// Slots that fit: eight for each process that the core can have; one has two targets at a time, more only when they are changed.
pub(super) const MAX_SLOTS: u64 = 128 << 10;

/// Regions begin here, after all slots.
const REGIONS_AT: u64 = 128 << 20;

/// Bytes between two regions; more than any batch comes to.
const SPAN: u64 = 1 << 30;

/// Bytes of a region's header.
const REGION_HEADER: u64 = 16;

/// Bytes of a region that stay allocated between batches: those of an ordinary batch with a prefix.
const KEEP: u64 = 512 << 10;

/// Why there is no journal.
#[derive(Debug, thiserror::Error)]
pub(in crate::streams) enum StoreError {
    /// An earlier circusd has not quite ended.
    #[error("another circusd still writes")]
    Locked,
    /// It cannot be opened, read or written.
    #[error("{}: {source}", path.display())]
    System {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// The open and locked file.
#[derive(Debug)]
pub(super) struct Store {
    file: File,
    path: PathBuf,
}

impl Store {
    /// Opens or makes the file `path` and locks it. The lock ends with the last descriptor, so a circusd that was killed in the
    /// middle of a long write(2) still has it until that write has ended: nobody looks at its files before.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let failed = |source| StoreError::System { path: path.to_owned(), source };
        loop {
            let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let opened = rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR);
            let file = File::from(opened.map_err(|errno| failed(errno.into()))?);
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => return Err(StoreError::Locked),
                Err(errno) => return Err(failed(errno.into())),
            }
            // The one who had the lock may have removed the file before it let go.
            let ours = file.metadata().map_err(failed)?;
            let there = std::fs::symlink_metadata(path);
            if !there.is_ok_and(|there| (there.dev(), there.ino()) == (ours.dev(), ours.ino())) {
                continue;
            }
            let store = Self { file, path: path.to_owned() };
            store.prepare().map_err(failed)?;
            return Ok(store);
        }
    }

    /// Writes the header of a new file, or of one with a layout that is not ours.
    fn prepare(&self) -> std::io::Result<()> {
        let mut magic = [0; MAGIC.len()];
        match self.file.read_exact_at(&mut magic, 0) {
            Ok(()) if magic == MAGIC => return Ok(()),
            Ok(()) | Err(_) => {}
        }
        self.file.set_len(0)?;
        self.file.write_all_at(&[0; 16], 0)?;
        self.file.write_all_at(&MAGIC, 0)
    }

    /// All entries by the number of their slot; for each, the copy that was not written last.
    pub(super) fn entries(&self) -> std::io::Result<Vec<(u64, Entry, Copy)>> {
        let count = self.word(COUNT_AT)?.min(MAX_SLOTS);
        let mut found = Vec::new();
        let mut slot = [0; 2 * SIZE];
        for number in 0..count {
            self.file.read_exact_at(&mut slot, SLOTS_AT + number * SLOT)?;
            let (first, second) = slot.split_at(SIZE);
            let newest = match (Entry::decode(first), Entry::decode(second)) {
                (Some(first), Some(second)) if second.seq > first.seq => Some((second, Copy::First)),
                (Some(first), _) => Some((first, Copy::Second)),
                (None, Some(second)) => Some((second, Copy::First)),
                (None, None) => None,
            };
            found.extend(newest.map(|(entry, copy)| (number, entry, copy)));
        }
        Ok(found)
    }

    /// Makes room for slots below `count`.
    pub(super) fn grow(&self, count: u64) -> std::io::Result<()> {
        let zeros = [0; 2 * SIZE];
        self.file.write_all_at(&zeros, SLOTS_AT + count.saturating_sub(1) * SLOT)?;
        self.file.write_all_at(&count.to_le_bytes(), COUNT_AT)
    }

    /// Writes one copy of an entry.
    pub(super) fn write(&self, number: u64, copy: Copy, entry: &Entry) -> std::io::Result<()> {
        let offset = match copy {
            Copy::First => 0,
            Copy::Second => u64::try_from(SIZE).unwrap_or(0),
        };
        failpoint::hit(Failpoint::BeforeEntry);
        self.file.write_all_at(&entry.encode(), SLOTS_AT + number * SLOT + offset)?;
        failpoint::hit(Failpoint::AfterEntry);
        Ok(())
    }

    /// Empties a slot.
    pub(super) fn clear(&self, number: u64) -> std::io::Result<()> {
        self.file.write_all_at(&[0; 2 * SIZE], SLOTS_AT + number * SLOT)
    }

    /// Puts a batch into a region: its number first, so that whatever was there before is void from the first byte on.
    pub(super) fn fill(&self, region: u64, batch: u64, bytes: &[u8]) -> std::io::Result<()> {
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let at = region_at(region);
        if length > SPAN - REGION_HEADER {
            return Err(Errno::FBIG.into());
        }
        failpoint::hit(Failpoint::BeforeData);
        let mut header = [0; 16];
        for (place, word) in header.chunks_exact_mut(8).zip([batch, length]) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        let parts = [IoSlice::new(&header), IoSlice::new(bytes)];
        let written = rustix::io::pwritev(&self.file, &parts, at)?;
        let done = written.saturating_sub(header.len());
        if written < header.len() {
            self.file.write_all_at(&header, at)?;
        }
        let rest = bytes.get(done..).unwrap_or_default();
        let done = u64::try_from(done).unwrap_or(0);
        self.file.write_all_at(rest, at + REGION_HEADER + done)
    }

    /// The batch in a region, if it is this one.
    pub(super) fn batch(&self, entry: &Entry) -> std::io::Result<Option<Vec<u8>>> {
        let at = region_at(entry.region);
        if self.word(at)? != entry.batch || self.word(at + 8)? != entry.length {
            return Ok(None);
        }
        let mut bytes = vec![0; usize::try_from(entry.length).unwrap_or(0)];
        self.file.read_exact_at(&mut bytes, at + REGION_HEADER)?;
        Ok(Some(bytes))
    }

    /// The batch in a region is dealt with. What was allocated for a large one is given back.
    pub(super) fn empty(&self, region: u64, length: u64) -> std::io::Result<()> {
        let at = region_at(region);
        self.file.write_all_at(&[0; 8], at)?;
        if length > KEEP {
            let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            match rustix::fs::fallocate(&self.file, hole, at + KEEP, length) {
                // A file system that cannot do it keeps the blocks.
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }

    /// Removes the file; the lock goes with the descriptor.
    pub(super) fn remove(self) {
        // What stays is taken over by the next circusd.
        let _ = std::fs::remove_file(&self.path);
    }

    pub(super) fn failed(&self, source: std::io::Error) -> StoreError {
        StoreError::System { path: self.path.clone(), source }
    }

    /// 0 beyond the end.
    fn word(&self, at: u64) -> std::io::Result<u64> {
        let mut word = [0; 8];
        match self.file.read_exact_at(&mut word, at) {
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(0),
            Err(error) => Err(error),
            Ok(()) => Ok(u64::from_le_bytes(word)),
        }
    }
}

/// One of the two copies of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Copy {
    First,
    Second,
}

impl Copy {
    pub(super) fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }
}

fn region_at(region: u64) -> u64 {
    REGIONS_AT + region.saturating_mul(SPAN)
}
