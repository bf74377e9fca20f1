//! What lies around the core: pipes, process files and slots, in memory, with faults.

use crate::random::Random;
use ringmaster_kernel::core::Holes;
use ringmaster_kernel::core::ring::{Captured, Remains, RingStore, Where};
use ringmaster_protocol::message::*;
use ringmaster_protocol::ring::{Record, Stream};
use std::collections::VecDeque;
use std::ops::Range;

/// More than the floor that each ring may fill when memory is short.
pub const CAPACITY: u64 = 24 << 10;
/// One page of them.
pub const PLACES: u64 = 128;
pub const PIPE: usize = 4096;

/// The byte that a child writes at an offset.
pub fn pattern(process: ProcessId, stream: Stream, offset: u64) -> u8 {
    (offset.wrapping_mul(31).wrapping_add(process.0 * 7).wrapping_add(stream.index() as u64 * 101) % 251) as u8
}

/// Pipe, file and slot of one stream.
pub struct ModelStream {
    pub written: u64,
    pub pipe: VecDeque<u8>,
    pub writers: bool,
    pub watched: bool,
    pub data: Vec<u8>,
    pub records: Vec<Record>,
    pub header_low: u64,
    pub words: Remains,
    pub ended: bool,
    /// Below it everything was acknowledged or dropped, whoever died since.
    pub settled: u64,
    /// How far the manager has read, how many bytes it got, and how many it found missing.
    pub read: u64,
    pub got: u64,
    pub gaps: u64,
    /// What was dropped as it came.
    pub dropped: Vec<Range<u64>>,
}

impl ModelStream {
    pub fn new() -> Self {
        Self {
            written: 0,
            pipe: VecDeque::new(),
            writers: true,
            watched: true,
            data: vec![0; CAPACITY as usize],
            records: vec![Record::default(); PLACES as usize],
            header_low: 0,
            words: Remains::default(),
            ended: false,
            settled: 0,
            read: 0,
            got: 0,
            gaps: 0,
            dropped: vec![],
        }
    }

    /// How far a reader may be told to read: to an open gap, if there is one.
    pub fn readable(&self) -> u64 {
        let head = self.words.head;
        let open = self.dropped.last().filter(|gap| gap.end == head && self.header_low < head);
        open.map_or(head, |gap| gap.start)
    }

    /// Bytes below `offset` that were dropped as they came.
    pub fn dropped_below(&self, offset: u64) -> u64 {
        self.dropped.iter().map(|gap| gap.end.min(offset).saturating_sub(gap.start)).sum()
    }

    /// Pages that are given back read as zeroes.
    pub fn give_back(&mut self, holes: &Holes) {
        let low = self.words.acked + self.words.lost;
        if !holes.bytes.is_empty() {
            assert!(holes.bytes.end < low, "the byte before the first one to read stays");
            assert!(holes.bytes.start + CAPACITY >= self.words.head, "more than a lap");
        }
        assert!(holes.records.is_empty() || holes.records.end <= self.words.first_record);
        for offset in holes.bytes.clone() {
            self.data[(offset % CAPACITY) as usize] = 0;
        }
        for number in holes.records.clone() {
            self.records[(number % PLACES) as usize] = Record::default();
        }
    }
}

pub struct ModelProcess {
    pub spawn: Spawn,
    pub started_ns: u64,
    pub streams: Vec<ModelStream>,
    pub seq: u64,
    pub exit: Option<Exit>,
    pub alive: bool,
    /// Somebody of its tree outlives it.
    pub orphans: bool,
}

pub struct Store<'a> {
    pub id: ProcessId,
    pub stream: Stream,
    pub model: &'a mut ModelStream,
    pub seq: &'a mut u64,
    pub random: &'a mut Random,
    pub fuse: &'a mut Option<u64>,
    pub dead: &'a mut bool,
}

impl Store<'_> {
    /// Whether the core dies before this step.
    pub fn dies(&mut self) -> bool {
        if let Some(fuse) = self.fuse {
            *self.dead |= *fuse == 0;
            *fuse = fuse.saturating_sub(1);
        }
        *self.dead
    }
}

impl RingStore for Store<'_> {
    fn write_low(&mut self, low: u64) -> Result<(), i32> {
        if self.dies() || self.random.one_in(15) {
            return Err(libc::ENOSPC);
        }
        assert!(low >= self.model.header_low, "low goes back");
        self.model.header_low = low;
        Ok(())
    }

    fn store_lost(&mut self, lost: u64, first_record: u64) {
        if !self.dies() {
            self.model.words.lost = lost;
        }
        if !self.dies() {
            self.model.words.first_record = first_record;
        }
    }

    fn write_record(&mut self, number: u64, record: &Record) -> Result<(), i32> {
        if self.dies() || self.random.one_in(200) {
            return Err(libc::ENOSPC);
        }
        assert_eq!(record.offset, self.model.words.head);
        self.model.records[(number % PLACES) as usize] = *record;
        Ok(())
    }

    fn store_records(&mut self, records: u64, seq: u64) {
        if !self.dies() {
            assert!(seq > *self.seq, "a sequence number is used twice");
            *self.seq = seq;
        }
        if !self.dies() {
            self.model.words.records = records;
        }
    }

    fn splice(&mut self, length: u64, to: Where) -> Captured {
        if self.dies() {
            return Captured::Empty;
        }
        if self.model.pipe.is_empty() {
            return if self.model.writers { Captured::Empty } else { Captured::End };
        }
        if self.random.one_in(50) {
            return Captured::Empty;
        }
        let most = length.min(self.model.pipe.len() as u64);
        let count = if self.random.one_in(3) { 1 + self.random.below(most) } else { most };
        if to == Where::Nowhere {
            let from = self.model.words.head;
            match self.model.dropped.last_mut().filter(|gap| gap.end == from && self.model.header_low < from) {
                Some(gap) => gap.end += count,
                None => self.model.dropped.push(from..from + count),
            }
            self.model.pipe.drain(..count as usize);
            self.model.words.head += count;
            return Captured::Bytes(count);
        }
        for _ in 0..count {
            let byte = self.model.pipe.pop_front().unwrap();
            let head = self.model.words.head;
            assert!(head < self.model.header_low + CAPACITY, "overwritten before low was told");
            assert_eq!(byte, pattern(self.id, self.stream, head));
            self.model.data[(head % CAPACITY) as usize] = byte;
            self.model.words.head = head + 1;
        }
        Captured::Bytes(count)
    }
}
