//! The file itself: header, chunks, and which slots are free.

use super::convert::convert;
use super::slot::{SLOT_WORDS, Slot};
use crate::limits::MAX_PROCESSES;
use crate::sys;
use ringmaster_protocol::message::ProcessId;
use rustix::fs::{FallocateFlags, Mode, OFlags};
use std::collections::{HashMap, HashSet};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};

pub(super) const MAGIC: u64 = u64::from_le_bytes(*b"RMSTATE\x01");
pub(super) const LAYOUT: u64 = 2;
pub(super) const HEADER_BYTES: usize = 4096;
pub(super) const CHUNK_SLOTS: usize = 64;
const CHUNK_BYTES: usize = CHUNK_SLOTS * SLOT_WORDS * 8;

/// Twice what the core's processes need, so that a slot is free for those that are about to be made.
const MAX_BYTES: usize = HEADER_BYTES + 2 * MAX_PROCESSES / CHUNK_SLOTS * CHUNK_BYTES;

/// Why the state cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The system refused.
    #[error("the state file: {action}: {source}")]
    System {
        /// What was tried.
        action: &'static str,
        /// Why.
        source: io::Error,
    },
    /// No core makes one of that size.
    #[error(
        "the state file has {found} bytes, at most {MAX_BYTES} are expected; it is damaged: remove it and start again"
    )]
    Size {
        /// As found.
        found: i64,
    },
    /// It is not ours.
    #[error(
        "the state file is of layout {found}; this core reads layouts 1 to {LAYOUT}; let the core that made it end first"
    )]
    Layout {
        /// As found.
        found: u64,
    },
}

/// The first page.
#[derive(Debug, Clone, Copy)]
pub struct Header {
    words: &'static [AtomicU64],
}

/// Positions in the header.
pub(super) mod at {
    pub const MAGIC: usize = 0;
    pub const LAYOUT: usize = 1;
    pub const SLOT_BYTES: usize = 2;
    pub const INSTANCE: usize = 3;
    pub const BOOT: usize = 4;
    pub const NEXT_ID: usize = 5;
    pub const EPOCH: usize = 6;
    pub const LEASED: usize = 7;
    pub const GRACE: usize = 8;
    pub const LOST: usize = 9;
    pub const KERNEL: usize = 10;
    pub const UPGRADE: usize = 11;
    pub const UPGRADE_BEGAN: usize = 12;
    pub const OLD_KERNEL: usize = 13;
    pub const ERRNO: usize = 14;
    pub const KERNEL_DEATHS: usize = 15;
    pub const KEEPER_DEATHS: usize = 16;
    pub const UPGRADES: usize = 17;
    pub const NEW_BINARY: usize = 18;
    pub const TRIAL: usize = 19;
    pub const TRIAL_BEGAN: usize = 20;
    pub const HELD: usize = 32;
}

/// How far an upgrade has come. The two ends of it, committed and abandoned, exclude each other: whoever exchanges the word
/// first has decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpgradePhase {
    /// None is under way.
    None,
    /// The kernel half has handed over and waits.
    HandedOver,
    /// The keeper could not execute the new program; the kernel half goes on.
    NotExecuted,
    /// The new kernel half serves.
    Committed,
    /// The old kernel half has taken the instance back.
    Abandoned,
}

impl UpgradePhase {
    const ALL: [Self; 5] = [Self::None, Self::HandedOver, Self::NotExecuted, Self::Committed, Self::Abandoned];

    fn word(self) -> u64 {
        Self::ALL.iter().position(|phase| *phase == self).and_then(|at| u64::try_from(at).ok()).unwrap_or(0)
    }
}

/// How often a half of the core has died, and how often it was replaced by another build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Deaths {
    /// Of the half that serves.
    pub kernel: u64,
    /// Of the half that owns the children.
    pub keeper: u64,
    /// Upgrades and rollbacks that were committed.
    pub upgrades: u64,
}

impl Header {
    fn get(self, at: usize) -> u64 {
        self.words.get(at).map_or(0, |word| word.load(Ordering::Acquire))
    }

    fn set(self, at: usize, value: u64) {
        if let Some(word) = self.words.get(at) {
            word.store(value, Ordering::Release);
        }
    }

    /// Drawn when the file was made.
    pub fn instance(self) -> u64 {
        self.get(at::INSTANCE)
    }

    /// A process id that was never given before.
    pub fn draw_id(self) -> ProcessId {
        let id = self.get(at::NEXT_ID).max(1);
        self.set(at::NEXT_ID, id.saturating_add(1));
        ProcessId(id)
    }

    /// Leases given so far, whether one is out, and its grace in milliseconds.
    pub fn lease(self) -> (u64, bool, u64) {
        (self.get(at::EPOCH), self.get(at::LEASED) == 1, self.get(at::GRACE))
    }

    /// Notes a lease; the words are independent enough that any mixture of old and new is safe.
    pub fn set_lease(self, epoch: u64, leased: bool, grace_ms: u64) {
        self.set(at::GRACE, grace_ms);
        self.set(at::EPOCH, epoch);
        self.set(at::LEASED, u64::from(leased));
    }

    /// How many ids have been given to processes.
    pub fn drawn(self) -> u64 {
        self.get(at::NEXT_ID)
    }

    /// Which promises have been seen to hold since the system started, a bit for each (`shell/guarantees.rs`).
    pub fn held(self) -> u64 {
        self.get(at::HELD)
    }

    /// Sets it.
    pub fn set_held(self, bits: u64) {
        self.set(at::HELD, bits);
    }

    /// Bytes lost by processes that have been forgotten.
    pub fn lost(self) -> u64 {
        self.get(at::LOST)
    }

    /// Sets it.
    pub fn set_lost(self, bytes: u64) {
        self.set(at::LOST, bytes);
    }

    /// The pid of the kernel half; 0 while there is none.
    pub fn kernel(self) -> i32 {
        i32::try_from(self.get(at::KERNEL)).unwrap_or(0)
    }

    /// Sets it.
    pub fn set_kernel(self, pid: i32) {
        self.set(at::KERNEL, u64::try_from(pid).unwrap_or(0));
    }

    /// How far the upgrade has come.
    pub fn upgrade(self) -> UpgradePhase {
        let at = usize::try_from(self.get(at::UPGRADE)).unwrap_or(0);
        UpgradePhase::ALL.get(at).copied().unwrap_or(UpgradePhase::None)
    }

    /// Moves it on, if it is still where the caller thinks it is. `false`: it is not.
    pub fn move_upgrade(self, from: UpgradePhase, to: UpgradePhase) -> bool {
        let word = self.words.get(at::UPGRADE);
        word.is_some_and(|word| {
            word.compare_exchange(from.word(), to.word(), Ordering::AcqRel, Ordering::Acquire).is_ok()
        })
    }

    /// Begins an upgrade: by which kernel half, when (`CLOCK_BOOTTIME`), and the number of the new program's descriptor.
    pub fn hand_over(self, old_kernel: i32, now_ns: u64, binary: i32) {
        self.set(at::OLD_KERNEL, u64::try_from(old_kernel).unwrap_or(0));
        self.set(at::UPGRADE_BEGAN, now_ns);
        self.set(at::NEW_BINARY, u64::try_from(binary).unwrap_or(0));
        self.set(at::UPGRADE, UpgradePhase::HandedOver.word());
    }

    /// What [`Self::hand_over`] was told: old kernel half, time, descriptor.
    pub fn handed_over(self) -> (i32, u64, i32) {
        let number = |at| i32::try_from(self.get(at)).unwrap_or(0);
        (number(at::OLD_KERNEL), self.get(at::UPGRADE_BEGAN), number(at::NEW_BINARY))
    }

    /// Forgets an upgrade that is over.
    pub fn end_upgrade(self) {
        self.set(at::UPGRADE, UpgradePhase::None.word());
    }

    /// The new program could not be executed: errno.
    pub fn not_executed(self, errno: i32) {
        self.set(at::ERRNO, u64::try_from(errno).unwrap_or(0));
        self.move_upgrade(UpgradePhase::HandedOver, UpgradePhase::NotExecuted);
    }

    /// Why the new program could not be executed.
    pub fn errno(self) -> i32 {
        i32::try_from(self.get(at::ERRNO)).unwrap_or(0)
    }

    /// Begins a dry run (`CLOCK_BOOTTIME`). Gives the word into which the system is to write its pid.
    pub fn begin_trial(self, now_ns: u64) -> Option<&'static AtomicU64> {
        self.set(at::TRIAL, 0);
        self.set(at::TRIAL_BEGAN, now_ns);
        self.words.get(at::TRIAL)
    }

    /// The pid of a dry run, and when it began; the pid is 0 when there is none.
    pub fn trial(self) -> (i32, u64) {
        (i32::try_from(self.get(at::TRIAL) & 0xffff_ffff).unwrap_or(0), self.get(at::TRIAL_BEGAN))
    }

    /// It has come to its end.
    pub fn end_trial(self) {
        self.set(at::TRIAL, 0);
    }

    /// What has been counted.
    pub fn deaths(self) -> Deaths {
        let [kernel, keeper, upgrades] =
            [at::KERNEL_DEATHS, at::KEEPER_DEATHS, at::UPGRADES].map(|word| self.get(word));
        Deaths { kernel, keeper, upgrades }
    }

    /// Counts.
    pub fn set_deaths(self, deaths: Deaths) {
        self.set(at::KERNEL_DEATHS, deaths.kernel);
        self.set(at::KEEPER_DEATHS, deaths.keeper);
        self.set(at::UPGRADES, deaths.upgrades);
    }
}

/// The state file, mapped.
pub struct StateFile {
    file: OwnedFd,
    header: Header,
    chunks: Vec<&'static [AtomicU64]>,
    free: Vec<usize>,
}

impl StateFile {
    /// Opens or makes the file `name` in `directory`. `boot` identifies this run of the system: what an earlier one left
    /// is discarded, because none of its processes lives. `instance` is the number to give to a new file.
    pub fn open(directory: impl AsFd, name: &str, boot: u64, instance: u64) -> Result<Self, StateError> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let directory = directory.as_fd();
        match convert(directory, name) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(StateError::System { action: "converting it", source });
            }
            Ok(()) | Err(_) => {}
        }
        let file = rustix::fs::openat(directory, name, flags, Mode::RUSR | Mode::WUSR).map_err(system("opening"))?;
        Self::adopt(file, boot, instance)
    }

    /// The same file once more, for another process: whatever has become of its name.
    pub fn again(&self) -> Result<Self, StateError> {
        let file = rustix::io::fcntl_dupfd_cloexec(&self.file, 0).map_err(system("copying its descriptor"))?;
        Self::adopt(file, self.header.get(at::BOOT), self.header.instance())
    }

    /// As [`Self::open`], with a file that is open already.
    pub fn adopt(file: OwnedFd, boot: u64, instance: u64) -> Result<Self, StateError> {
        let size = rustix::fs::fstat(&file).map_err(system("reading its size"))?.st_size;
        let fits = usize::try_from(size).ok().filter(|size| *size <= MAX_BYTES);
        let mut size = fits.ok_or(StateError::Size { found: size })?.max(HEADER_BYTES);
        // A file with holes would end us when it is touched and the disk is full.
        allocate(&file, 0, size)?;
        let words = sys::map_words(file.as_fd(), 0, HEADER_BYTES).map_err(mapping)?;
        let header = Header { words };
        let known = header.get(at::MAGIC) == MAGIC;
        let same_boot = header.get(at::BOOT) == boot;
        if known && same_boot && header.get(at::LAYOUT) != LAYOUT {
            return Err(StateError::Layout { found: header.get(at::LAYOUT) });
        }
        let mut state = Self { file, header, chunks: Vec::new(), free: Vec::new() };
        if !known || !same_boot {
            state.initialise(boot, instance)?;
            size = HEADER_BYTES;
        }
        for index in 0..(size - HEADER_BYTES) / CHUNK_BYTES {
            state.map_chunk(index)?;
        }
        Ok(state)
    }

    /// Whether an open file is one.
    pub fn recognises(file: &OwnedFd) -> bool {
        let mut begin = [0; 8];
        rustix::io::pread(file, &mut begin, 0) == Ok(begin.len()) && u64::from_le_bytes(begin) == MAGIC
    }

    /// Whether it is found by that name.
    pub fn is_called(&self, directory: impl AsFd, name: &str) -> bool {
        let found = rustix::fs::statat(directory, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).ok();
        let pair = found.zip(rustix::fs::fstat(&self.file).ok());
        pair.is_some_and(|(found, ours)| (found.st_dev, found.st_ino) == (ours.st_dev, ours.st_ino))
    }

    fn initialise(&mut self, boot: u64, instance: u64) -> Result<(), StateError> {
        self.header.set(at::MAGIC, 0);
        let page = u64::try_from(HEADER_BYTES).unwrap_or(0);
        rustix::fs::ftruncate(&self.file, page).map_err(system("emptying it"))?;
        for word in self.header.words {
            word.store(0, Ordering::Relaxed);
        }
        self.header.set(at::LAYOUT, LAYOUT);
        self.header.set(at::SLOT_BYTES, u64::try_from(SLOT_WORDS * 8).unwrap_or(0));
        self.header.set(at::INSTANCE, instance);
        self.header.set(at::BOOT, boot);
        self.header.set(at::NEXT_ID, 1);
        self.header.set(at::MAGIC, MAGIC);
        Ok(())
    }

    /// The first page.
    pub fn header(&self) -> Header {
        self.header
    }

    /// A free slot, zeroed; the file grows by a chunk when there is none.
    pub fn take(&mut self) -> Result<(usize, Slot), StateError> {
        if self.free.is_empty() {
            let index = self.chunks.len();
            allocate(&self.file, HEADER_BYTES + index * CHUNK_BYTES, CHUNK_BYTES)?;
            self.map_chunk(index)?;
        }
        let index = self.free.pop();
        let slot = index.and_then(|index| Some((index, self.slot(index)?)));
        let (index, slot) = slot.ok_or_else(|| system("taking a slot")(rustix::io::Errno::NOSPC))?;
        slot.reset();
        Ok((index, slot))
    }

    /// Frees a slot.
    pub fn release(&mut self, index: usize) {
        if let Some(slot) = self.slot(index) {
            slot.publish(None);
            self.free.push(index);
        }
    }

    /// A slot by its number.
    pub fn slot(&self, index: usize) -> Option<Slot> {
        let chunk = self.chunks.get(index / CHUNK_SLOTS)?;
        let (_, rest) = chunk.split_at_checked(index % CHUNK_SLOTS * SLOT_WORDS)?;
        rest.first_chunk::<SLOT_WORDS>().map(Slot::new)
    }

    /// The number of its descriptor.
    pub fn number(&self) -> RawFd {
        self.file.as_raw_fd()
    }

    /// Maps what another process of ours has added since.
    pub fn catch_up(&mut self) -> Result<(), StateError> {
        let size = rustix::fs::fstat(&self.file).map_err(system("reading its size"))?.st_size;
        let chunks = usize::try_from(size).unwrap_or(0).saturating_sub(HEADER_BYTES) / CHUNK_BYTES;
        (self.chunks.len()..chunks).try_for_each(|index| self.map_chunk(index))
    }

    /// The slot in whose last process has that pid and has not ended as far as the slot says.
    pub fn find(&self, pid: i32) -> Option<Slot> {
        let mut slots = (0..self.chunks.len() * CHUNK_SLOTS).filter_map(|index| self.slot(index));
        slots.find(|slot| slot.is_of(pid))
    }

    /// All slots that are in use.
    pub fn used(&self) -> Vec<usize> {
        let free: HashSet<usize> = self.free.iter().copied().collect();
        let all = 0..self.chunks.len() * CHUNK_SLOTS;
        all.filter(|index| !free.contains(index)).collect()
    }

    /// The slots by the pid of their last process.
    pub fn by_pid(&self) -> HashMap<i32, usize> {
        let slots = (0..self.chunks.len() * CHUNK_SLOTS).filter_map(|index| Some((index, self.slot(index)?)));
        slots.filter_map(|(index, slot)| Some((slot.last_pid()?, index))).collect()
    }

    fn map_chunk(&mut self, index: usize) -> Result<(), StateError> {
        let offset = u64::try_from(HEADER_BYTES + index * CHUNK_BYTES).unwrap_or(u64::MAX);
        let words = sys::map_words(self.file.as_fd(), offset, CHUNK_BYTES).map_err(mapping)?;
        self.chunks.push(words);
        let first = index * CHUNK_SLOTS;
        for number in (first..first + CHUNK_SLOTS).rev() {
            if self.slot(number).and_then(Slot::facts).is_none() {
                self.free.push(number);
            }
        }
        Ok(())
    }
}

fn allocate(file: &OwnedFd, offset: usize, bytes: usize) -> Result<(), StateError> {
    let offset = u64::try_from(offset).unwrap_or(u64::MAX);
    let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
    rustix::fs::fallocate(file, FallocateFlags::empty(), offset, bytes).map_err(system("allocating space"))
}

fn system(action: &'static str) -> impl Fn(rustix::io::Errno) -> StateError {
    move |errno| StateError::System { action, source: errno.into() }
}

fn mapping(source: io::Error) -> StateError {
    StateError::System { action: "mapping it", source }
}

impl std::fmt::Debug for StateFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StateFile").field("chunks", &self.chunks.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{Facts, Phase};
    use std::fs::File;

    fn facts(id: ProcessId) -> Facts {
        Facts { id, phase: Phase::Running, pid: 1, start_ticks: 0, started_ns: 0, opened_ns: 0, pipes: [0; 2] }
    }

    #[test]
    fn slots_are_found_again_and_discarded_after_a_reboot() {
        let directory = tempfile::tempdir().unwrap();
        let at = File::open(directory.path()).unwrap();
        let mut ids = Vec::new();
        {
            let mut state = StateFile::open(&at, "state", 1, 42).unwrap();
            for _ in 0..150 {
                let id = state.header().draw_id();
                let (index, slot) = state.take().unwrap();
                slot.publish(Some(&facts(id)));
                if id.0.is_multiple_of(3) {
                    state.release(index);
                } else {
                    ids.push(id);
                }
            }
        }
        let state = StateFile::open(&at, "state", 1, 43).unwrap();
        assert_eq!(state.header().instance(), 42);
        let mut found: Vec<_> =
            state.used().into_iter().map(|index| state.slot(index).unwrap().facts().unwrap().id).collect();
        found.sort();
        assert_eq!(found, ids);
        assert_eq!(state.header().draw_id(), ProcessId(151));
        let state = StateFile::open(&at, "state", 2, 44).unwrap();
        assert_eq!((state.header().instance(), state.used().len()), (44, 0));
    }
}
