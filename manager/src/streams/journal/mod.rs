//! The journal: what makes a log hold each byte once, whatever instant circusd is killed at.
//!
//! Before a batch is appended to a file, its bytes go into a *region* and then an *entry* says whose bytes they are, how far the
//! streams come by them and where in which file they will lie. After the append the region is emptied. A killed circusd leaves
//! at most the regions of batches that were under way; the next one compares them with the files ([`super::sink`]) and
//! writes what is missing. An entry outlives its batch: the newest one of a process and a target is how far the process has come there,
//! so that nothing depends on acknowledgements, which travel a little later.
//!
//! Because the bytes themselves are kept, nothing has to be rendered again: not the settings, not the time zone, not even the
//! process have to be the same after a restart. A rotation needs no entry of its own: the entry names the file, and wherever
//! that file lies by then, its length tells how far the batch had come.
//!
//! Only files are under this protection. What goes to a terminal, a pipe or a socket is noted after it was written.

mod slot;
mod store;

#[cfg(test)]
mod tests;

pub(super) use slot::{Identity, Place};
pub(super) use store::StoreError;

use super::compose::Commit;
use super::cursor::Step;
use super::per_stream::PerStream;
use super::render::Tail;
use ringmaster_protocol::message::ProcessId;
use ringmaster_protocol::ring::Stream;
use rustix::io::Errno;
use slot::{Entry, Reach};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use store::{Copy, MAX_SLOTS, Store};

/// Its name in the instance directory.
const NAME: &str = "journal";

/// A process and a target.
type Key = (ProcessId, u64);

/// How far a stream has come.
#[derive(Debug, Clone, std::marker::Copy, PartialEq, Eq)]
pub(super) struct Position {
    /// Everything below is in a log.
    pub(super) offset: u64,
    /// The byte before it.
    pub(super) previous: u8,
    /// When that was written, in nanoseconds of the Unix epoch.
    pub(super) at_ns: u64,
}

/// What is known of the end of a file.
#[derive(Debug, Clone, std::marker::Copy, PartialEq, Eq)]
pub(super) struct End {
    pub(super) file: Identity,
    /// Bytes of the file up to there.
    pub(super) size: u64,
    pub(super) tail: Tail,
    /// Seconds of the Unix epoch; `None`: not known.
    pub(super) deadline: Option<i64>,
}

/// A batch that is being written.
#[derive(Debug, Clone, std::marker::Copy, PartialEq, Eq)]
pub(super) struct Batch {
    key: Key,
    number: u64,
    region: u64,
    length: u64,
    /// Its bytes are kept.
    exact: bool,
    placed: bool,
}

/// A batch that an earlier circusd may not have finished.
#[derive(Debug)]
pub(super) struct Unfinished {
    pub(super) batch: Batch,
    pub(super) place: Place,
    /// All of its bytes.
    pub(super) bytes: Vec<u8>,
    pub(super) commit: Commit,
    /// When the time of the file is over, in seconds of the Unix epoch.
    pub(super) deadline: Option<i64>,
}

/// Whether an entry's batch is dealt with.
#[derive(Debug, Clone, std::marker::Copy, PartialEq, Eq)]
enum State {
    Settled,
    UnderWay,
    /// Under way, and to be forgotten then.
    Doomed,
}

#[derive(Debug)]
struct Slot {
    number: u64,
    /// The copy to write next.
    next: Copy,
    entry: Entry,
    /// The one before it, while this one is under way.
    earlier: Option<Entry>,
    state: State,
}

/// Everything that is noted. Without a file (`Journal::default`) it only knows what this circusd has done.
#[derive(Debug, Default)]
pub(super) struct Journal {
    store: Option<Store>,
    slots: BTreeMap<Key, Slot>,
    free: Vec<u64>,
    /// Slots that the file has room for.
    count: u64,
    /// Regions that hold a batch.
    regions: BTreeSet<u64>,
    seq: u64,
    batches: u64,
    /// When each process began, which tells it from one of the same id in an earlier core.
    started: BTreeMap<ProcessId, u64>,
    unfinished: BTreeMap<u64, Vec<Unfinished>>,
}

impl Journal {
    /// As [`Self::open`], once the lock is free. A test that runs beside this one forks, and its child holds a copy of every
    /// descriptor of the process, a lock that was just let go among them, until it executes its program.
    ///
    /// # Panics
    /// When the lock is not free within ten seconds, or the file cannot be opened.
    #[cfg(test)]
    pub(super) fn open_when_free(directory: &Path) -> Self {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        loop {
            match Self::open(directory) {
                Err(StoreError::Locked) if std::time::Instant::now() < deadline => std::thread::yield_now(),
                outcome => return outcome.unwrap(),
            }
        }
    }

    /// Opens that of an instance directory, and reads what is there.
    pub(super) fn open(directory: &Path) -> Result<Self, StoreError> {
        let store = Store::open(&directory.join(NAME))?;
        let found = store.entries().map_err(|error| store.failed(error))?;
        let mut journal = Self::default();
        for (number, entry, next) in found {
            journal.count = journal.count.max(number + 1);
            journal.seq = journal.seq.max(entry.seq);
            journal.batches = journal.batches.max(entry.batch);
            journal.started.insert(entry.process, entry.started_ns);
            let bytes = store.batch(&entry).map_err(|error| store.failed(error))?;
            let key = (entry.process, entry.target);
            let state = if bytes.is_some() { State::UnderWay } else { State::Settled };
            if let Some(bytes) = bytes {
                journal.regions.insert(entry.region);
                journal.unfinished.entry(entry.target).or_default().push(unfinished(&entry, bytes));
            }
            journal.slots.insert(key, Slot { number, next, entry, earlier: None, state });
        }
        let used: BTreeSet<u64> = journal.slots.values().map(|slot| slot.number).collect();
        journal.free = (0..journal.count).filter(|number| !used.contains(number)).collect();
        journal.store = Some(store);
        Ok(journal)
    }

    /// Batches for `target` that may not be whole, oldest first; each is to be settled or withdrawn.
    pub(super) fn take_unfinished(&mut self, target: u64) -> Vec<Unfinished> {
        let mut all = self.unfinished.remove(&target).unwrap_or_default();
        all.sort_by_key(|unfinished| unfinished.batch.number);
        all
    }

    /// How the newest batch left the file of `target`.
    pub(super) fn end(&self, target: u64) -> Option<End> {
        let settled = |slot: &&Slot| slot.entry.target == target && slot.state == State::Settled;
        let newest = self.slots.values().filter(settled).map(|slot| slot.entry).max_by_key(|entry| entry.seq)?;
        let Place { file, position, skipped } = newest.place;
        let size = position + newest.length.saturating_sub(skipped);
        Some(End { file, size, tail: newest.tail, deadline: deadline(&newest) })
    }

    /// A process is there. Gives how far each of its streams has come, as far as is known.
    pub(super) fn attach(&mut self, process: ProcessId, started_ns: u64) -> PerStream<Option<Position>> {
        if self.started.insert(process, started_ns).is_some_and(|before| before != started_ns) {
            self.forget(process);
            self.started.insert(process, started_ns);
        }
        let mut positions = PerStream::default();
        for stream in Stream::ALL {
            let known = self.slots.range((process, 0)..=(process, u64::MAX)).map(|(_, slot)| slot.position(stream));
            *positions.get_mut(stream) = known.max_by_key(|position| position.offset);
        }
        positions
    }

    /// A process is no more.
    pub(super) fn forget(&mut self, process: ProcessId) {
        self.started.remove(&process);
        let mine: Vec<Key> = self.slots.range((process, 0)..=(process, u64::MAX)).map(|(key, _)| *key).collect();
        for key in mine {
            match self.slots.get_mut(&key) {
                Some(slot) if slot.state != State::Settled => slot.state = State::Doomed,
                Some(_) | None => self.release(key),
            }
        }
    }

    /// Forgets all processes but these.
    pub(super) fn retain(&mut self, known: &BTreeSet<ProcessId>) {
        let all: BTreeSet<ProcessId> = self.slots.keys().map(|(process, _)| *process).collect();
        for process in all.difference(known) {
            self.forget(*process);
        }
    }

    /// Takes back a batch whose time has not come.
    pub(super) fn put_back(&mut self, unfinished: Unfinished) {
        let (_, target) = unfinished.batch.key;
        self.unfinished.entry(target).or_default().push(unfinished);
    }

    /// Takes in a batch for `target`: its bytes, when they are to be in the file once (`exact`).
    pub(super) fn begin(&mut self, commit: &Commit, target: u64, bytes: &[u8], exact: bool) -> std::io::Result<Batch> {
        self.batches += 1;
        let region = (0..).find(|region| !self.regions.contains(region)).unwrap_or(0);
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let key = (commit.process, target);
        let batch = Batch { key, number: self.batches, region, length, exact, placed: false };
        if let Some(store) = self.store.as_ref().filter(|_| exact) {
            store.fill(region, batch.number, bytes)?;
            self.regions.insert(region);
        }
        Ok(batch)
    }

    /// Says where the batch, or what is left of it, will lie. To be called before its first byte goes to a file, and to each
    /// further file.
    pub(super) fn place(
        &mut self,
        batch: &mut Batch,
        commit: &Commit,
        place: Place,
        (deadline, at_ns): (Option<i64>, u64),
    ) -> std::io::Result<()> {
        let slot = self.slots.get(&batch.key);
        let mut streams = slot.map_or_else(Default::default, |slot| slot.entry.streams);
        let again = std::mem::replace(&mut batch.placed, true);
        let earlier = if again { slot.and_then(|slot| slot.earlier) } else { slot.map(|slot| slot.entry) };
        for stream in Stream::ALL {
            let reach = streams.get_mut(stream);
            match commit.steps.get(stream) {
                Some(step) => {
                    let (before, previous) = (step.before, step.previous);
                    *reach = Reach { from: step.from, to: step.offset, before, previous };
                }
                None => (reach.from, reach.before) = (reach.to, reach.previous),
            }
        }
        let (process, target) = batch.key;
        let entry = Entry {
            seq: 0,
            process,
            started_ns: self.started.get(&process).copied().unwrap_or(0),
            target,
            batch: batch.number,
            region: batch.region,
            length: batch.length,
            place,
            streams,
            tail: commit.tail,
            deadline: deadline.and_then(|deadline| u64::try_from(deadline).ok()).unwrap_or(0),
            at_ns,
        };
        self.write(batch.key, entry)?;
        if let Some(slot) = self.slots.get_mut(&batch.key) {
            slot.earlier = earlier;
            slot.state = if slot.state == State::Doomed { State::Doomed } else { State::UnderWay };
        }
        Ok(())
    }

    /// The whole batch is where it belongs.
    pub(super) fn settle(&mut self, mut batch: Batch, commit: &Commit, at_ns: u64) -> std::io::Result<()> {
        if !batch.placed {
            self.place(&mut batch, commit, Place::default(), (None, at_ns))?;
        }
        self.finish(batch)
    }

    /// Nothing of the batch is in a file that anybody will see: its streams are where they were before.
    pub(super) fn withdraw(&mut self, batch: Batch) -> std::io::Result<()> {
        if let Some(slot) = self.slots.get(&batch.key).filter(|_| batch.placed) {
            let mut entry = slot.earlier.unwrap_or(slot.entry);
            if slot.earlier.is_none() {
                for stream in Stream::ALL {
                    let reach = entry.streams.get_mut(stream);
                    (reach.to, reach.previous) = (reach.from, reach.before);
                }
            }
            self.write(batch.key, entry)?;
        }
        self.finish(batch)
    }

    fn finish(&mut self, batch: Batch) -> std::io::Result<()> {
        if batch.exact {
            self.regions.remove(&batch.region);
        }
        let doomed = self.slots.get_mut(&batch.key).is_some_and(|slot| {
            slot.earlier = None;
            std::mem::replace(&mut slot.state, State::Settled) == State::Doomed
        });
        let emptied = match self.store.as_ref().filter(|_| batch.exact) {
            Some(store) => store.empty(batch.region, batch.length),
            None => Ok(()),
        };
        if doomed {
            self.release(batch.key);
        }
        emptied
    }

    /// Removes the file when it says nothing that anybody could want.
    pub(super) fn close(self) {
        if let Some(store) = self.store.filter(|_| self.slots.is_empty()) {
            store.remove();
        }
    }

    fn write(&mut self, key: Key, entry: Entry) -> std::io::Result<()> {
        self.seq += 1;
        let entry = Entry { seq: self.seq, ..entry };
        let (number, next) = match self.slots.get(&key) {
            Some(slot) => (slot.number, slot.next),
            None => (self.free_slot()?, Copy::First),
        };
        if let Some(store) = &self.store {
            store.write(number, next, &entry)?;
        }
        let fresh = Slot { number, next, entry, earlier: None, state: State::Settled };
        let slot = self.slots.entry(key).or_insert(fresh);
        (slot.entry, slot.next) = (entry, next.other());
        Ok(())
    }

    fn free_slot(&mut self) -> std::io::Result<u64> {
        if let Some(number) = self.free.pop() {
            return Ok(number);
        }
        if self.count >= MAX_SLOTS {
            return Err(Errno::NOSPC.into());
        }
        if let Some(store) = &self.store {
            store.grow(self.count + 1)?;
        }
        self.count += 1;
        Ok(self.count - 1)
    }

    fn release(&mut self, key: Key) {
        let Some(slot) = self.slots.remove(&key) else {
            return;
        };
        match self.store.as_ref().map(|store| store.clear(slot.number)) {
            // A slot that cannot be emptied is not used again.
            Some(Err(_)) => {}
            Some(Ok(())) | None => self.free.push(slot.number),
        }
    }
}

impl Slot {
    fn position(&self, stream: Stream) -> Position {
        let reach = self.entry.streams.get(stream);
        let at_ns = self.entry.at_ns;
        match self.state {
            State::Settled => Position { offset: reach.to, previous: reach.previous, at_ns },
            State::UnderWay | State::Doomed => Position { offset: reach.from, previous: reach.before, at_ns },
        }
    }
}

fn unfinished(entry: &Entry, bytes: Vec<u8>) -> Unfinished {
    let mut steps = PerStream::default();
    for stream in Stream::ALL {
        let Reach { from, to, before, previous } = *entry.streams.get(stream);
        let step = Step { from, before, offset: to, previous, record: None, lost: None };
        *steps.get_mut(stream) = (to > from).then_some(step);
    }
    let batch = Batch {
        key: (entry.process, entry.target),
        number: entry.batch,
        region: entry.region,
        length: entry.length,
        exact: true,
        placed: true,
    };
    let commit = Commit { process: entry.process, steps, tail: entry.tail };
    Unfinished { batch, place: entry.place, bytes, commit, deadline: deadline(entry) }
}

fn deadline(entry: &Entry) -> Option<i64> {
    i64::try_from(entry.deadline).ok().filter(|deadline| *deadline != 0)
}
