//! What lies around the core: pipes, process files and slots, in memory, with faults.

use crate::random::Random;
use ringmaster_kernel::core::ring::{Captured, Remains, RingStore};
use ringmaster_protocol::message::*;
use ringmaster_protocol::ring::{Record, Stream};
use std::collections::VecDeque;

pub const CAPACITY: u64 = 8 << 10;
pub const PLACES: u64 = 16;
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
    /// What the manager has read, and what it found missing.
    pub read: u64,
    pub gaps: u64,
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

    fn splice(&mut self, length: u64) -> Captured {
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
