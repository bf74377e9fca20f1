//! One captured stream: what to do with the next bytes of a pipe.
//!
//! [`Ring::plan`] decides, [`carry_out`] does it through a [`RingStore`] in the one order that is safe to be killed in:
//! the new `low` before bytes are overwritten, the record before the bytes that it describes, the bytes and their count in
//! one system call. The simulation runs the same two functions over a model of the file.
//!
//! Bytes that are dropped *before* they come into the ring (`drop-newest`) have offsets like all others: they are moved by the
//! same system call, to nowhere, behind a record that says so. Such a gap is open until everything before it is
//! acknowledged; then the lowest offset moves over it (`reveal`), and it is a gap like any other.

use super::Now;
use super::memory::WhenFull;
use crate::limits::{DROP_STEP, SPLICE_MAX};
use ringmaster_protocol::ring::Record;
use std::collections::VecDeque;

const MS: u64 = 1_000_000;

/// A ring has no more records than one for so many bytes, as its file has (`ringmaster_protocol::ring`).
const BYTES_PER_RECORD: u64 = 256;
/// No stream comes so far: a century at 1 GB/s.
const MAX_OFFSET: u64 = 1 << 62;

/// How far one stream has come, and where its readable part begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ring {
    capacity: u64,
    places: u64,
    acked: u64,
    lost: u64,
    head: u64,
    /// `low` as the process file's header has it: at or below ours, and above everything overwritten.
    header_low: u64,
    /// `lost` as the slot has it; not ours when a capture failed before it was stored.
    saved_lost: u64,
    first_record: u64,
    /// Where the bytes begin that were dropped as they came, while there is something to read before them.
    gap: Option<u64>,
    /// Pages below it were given back: of bytes, and of records.
    pub(super) freed: (u64, u64),
    /// Offsets of the records from `first_record` on; at most `places` of them.
    offsets: VecDeque<u64>,
    /// `CLOCK_BOOTTIME` of the newest record.
    last_record_ns: u64,
    /// When the reader last moved on, or had nothing to do.
    progress_ns: u64,
}

/// What a ring needs to know besides itself.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances {
    /// The time.
    pub now: Now,
    /// The number of the next record of the process.
    pub seq: u64,
    /// The other stream has had a record since this one's newest.
    pub interleaved: bool,
    /// Until when a full ring waits for its reader; `None`: nobody reads.
    pub hold_until: Option<u64>,
    /// What happens when nobody reads.
    pub when_full: WhenFull,
    /// Bytes of memory that the ring may take now.
    pub limit: u64,
}

/// What to do with a readable pipe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// Leave it: the ring is full. Ask again at `until` (`CLOCK_BOOTTIME`), or after an acknowledgement.
    Hold {
        /// `None`: only an acknowledgement helps.
        until: Option<u64>,
    },
    /// Take some.
    Capture(Capture),
}

/// The steps of one capture, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capture {
    /// Write this as `low` into the file's header.
    pub header_low: Option<u64>,
    /// Store the total of lost bytes, and the first record still needed.
    pub lost: Option<(u64, u64)>,
    /// Write this record under this number.
    pub record: Option<(u64, Record)>,
    /// Then move at most so many bytes; 0: none, and the pipe is not looked at.
    pub length: u64,
    /// Where to.
    pub to: Where,
}

/// Where bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Where {
    /// Into the ring.
    Ring,
    /// Nowhere; they are counted as if they did.
    Nowhere,
}

/// How a capture went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Captured {
    /// So many bytes came.
    Bytes(u64),
    /// The pipe was empty.
    Empty,
    /// The pipe has come to its end.
    End,
    /// The file could not take them (errno); they are still in the pipe.
    Failed(i32),
}

/// Where a capture goes: the process file and the slot, or the simulation's model of them.
pub trait RingStore {
    /// Writes `low` into the header of the process file.
    fn write_low(&mut self, low: u64) -> Result<(), i32>;
    /// Stores the total of lost bytes and the first record still needed.
    fn store_lost(&mut self, lost: u64, first_record: u64);
    /// Writes a record into the process file.
    fn write_record(&mut self, number: u64, record: &Record) -> Result<(), i32>;
    /// Stores the number of the next record and of the next arrival.
    fn store_records(&mut self, records: u64, seq: u64);
    /// Moves bytes from the pipe to the present position, or only the position.
    fn splice(&mut self, length: u64, to: Where) -> Captured;
}

/// Does what was planned.
pub fn carry_out(capture: &Capture, store: &mut impl RingStore) -> Captured {
    if let Some(Err(errno)) = capture.header_low.map(|low| store.write_low(low)) {
        return Captured::Failed(errno);
    }
    if let Some((lost, first_record)) = capture.lost {
        store.store_lost(lost, first_record);
    }
    if let Some((number, record)) = &capture.record {
        if let Err(errno) = store.write_record(*number, record) {
            return Captured::Failed(errno);
        }
        store.store_records(number + 1, record.seq.saturating_add(1));
    }
    if capture.length == 0 { Captured::Bytes(0) } else { store.splice(capture.length, capture.to) }
}

/// What a former core left of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Remains {
    /// Bytes acknowledged.
    pub acked: u64,
    /// Bytes dropped.
    pub lost: u64,
    /// The offset of the next byte.
    pub head: u64,
    /// `low` of the file's header.
    pub header_low: u64,
    /// A record at or before the one that covers `low`.
    pub first_record: u64,
    /// The number of the next record.
    pub records: u64,
}

impl Remains {
    /// The same when a core wrote it; a damaged file gives what can at least be reckoned with: nothing is beyond `head`,
    /// no more is kept than there are places for, and no number is near its end.
    fn plausible(self, places: u64) -> Self {
        let head = self.head.min(MAX_OFFSET);
        let acked = self.acked.min(head);
        let lost = self.lost.min(head - acked);
        let records = self.records.min(MAX_OFFSET);
        let first_record = self.first_record.clamp(records.saturating_sub(places), records);
        Self { acked, lost, head, header_low: self.header_low.min(head), first_record, records }
    }
}

impl Ring {
    /// An empty ring of `capacity` bytes with places for `places` records.
    pub fn new(capacity: u64, places: u64, now: Now) -> Self {
        Self {
            capacity,
            places,
            acked: 0,
            lost: 0,
            head: 0,
            header_low: 0,
            saved_lost: 0,
            first_record: 0,
            gap: None,
            freed: (0, 0),
            offsets: VecDeque::new(),
            last_record_ns: 0,
            progress_ns: now.boot_ns,
        }
    }

    /// Takes up what a former core left. `read` gives a record of the file by its number.
    pub fn recover(
        capacity: u64,
        places: u64,
        remains: Remains,
        now: Now,
        read: impl Fn(u64) -> Option<Record>,
    ) -> Self {
        let Remains { head, acked, lost, header_low, first_record, records } = remains.plausible(places);
        let mut ring = Self::new(capacity, places, now);
        ring.acked = acked;
        // The header is written before the slot: bytes below it may be gone although they were not counted yet.
        ring.lost = lost + header_low.saturating_sub(acked + lost);
        ring.head = head;
        ring.header_low = header_low;
        ring.saved_lost = ring.lost;
        ring.first_record = first_record;
        let records: Vec<Record> = (first_record..records).filter_map(read).collect();
        let gap = records.last().filter(|newest| newest.is_gap()).map(|newest| newest.offset);
        ring.gap = gap.filter(|offset| (ring.low()..head).contains(offset));
        // More than a ring holds cannot be there.
        ring.lost += (ring.readable() - ring.low()).saturating_sub(capacity);
        ring.saved_lost = ring.lost;
        ring.offsets = records.iter().map(|record| record.offset.min(head)).collect();
        ring.release_records();
        ring
    }

    /// The first offset that is neither acknowledged nor dropped.
    pub fn low(&self) -> u64 {
        self.acked + self.lost
    }

    /// The offset of the next byte.
    pub fn head(&self) -> u64 {
        self.head
    }

    /// How far it can be read: to the head, or to an open gap.
    pub fn readable(&self) -> u64 {
        self.gap.unwrap_or(self.head)
    }

    /// Bytes in an open gap.
    pub fn missing(&self) -> u64 {
        self.head - self.readable()
    }

    /// Bytes dropped, without those of an open gap.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Bytes of memory that it holds, but for the rest of the pages on which they lie.
    pub fn memory(&self) -> u64 {
        let records = u64::try_from(self.offsets.len()).unwrap_or(u64::MAX);
        self.readable() - self.low() + records.saturating_mul(Record::SIZE)
    }

    /// Bytes of the region, and places of the records.
    pub(super) fn size(&self) -> (u64, u64) {
        (self.capacity, self.places)
    }

    /// Whether readers and the slot have been told of all that was dropped.
    pub(super) fn is_told(&self) -> bool {
        self.saved_lost == self.lost
    }

    /// Bytes of memory that it may come to hold.
    pub fn most_memory(&self) -> u64 {
        self.capacity.saturating_add(self.places.saturating_mul(Record::SIZE))
    }

    /// Bytes acknowledged.
    pub fn acked(&self) -> u64 {
        self.acked
    }

    /// The number of the record that covers `low`.
    pub fn first_record(&self) -> u64 {
        self.first_record
    }

    /// The number of the next record.
    pub fn records(&self) -> u64 {
        let kept = u64::try_from(self.offsets.len()).unwrap_or(u64::MAX);
        self.first_record.saturating_add(kept)
    }

    /// When the reader last moved on, or had nothing to do (`CLOCK_BOOTTIME`).
    pub fn progress_ns(&self) -> u64 {
        self.progress_ns
    }

    /// Decides about a readable pipe.
    pub fn plan(&mut self, about: &Circumstances) -> Plan {
        if let Some(reveal) = self.reveal() {
            return Plan::Capture(reveal);
        }
        let mut to = Where::Ring;
        if self.room(about.limit) == 0 || self.gap.is_some() {
            if let Some(until) = about.hold_until.filter(|until| *until > about.now.boot_ns) {
                return Plan::Hold { until: Some(until) };
            }
            match about.when_full {
                WhenFull::Block => return Plan::Hold { until: None },
                WhenFull::DropOldest => self.drop_oldest(about.limit),
                WhenFull::DropNewest => to = Where::Nowhere,
            }
        }
        let lost = (self.lost != self.saved_lost).then_some((self.lost, self.first_record));
        self.saved_lost = self.lost;
        let lap = self.capacity - self.head % self.capacity;
        let (length, overwritten, record) = match to {
            Where::Ring => {
                let length = self.room(about.limit).min(lap).min(SPLICE_MAX);
                let overwritten = self.head + length > self.header_low + self.capacity;
                (length, overwritten, self.wants_record(about).then(|| self.add_record(about)))
            }
            Where::Nowhere => (lap.min(SPLICE_MAX), false, self.begin_gap(about)),
        };
        // What is dropped may go at once, by overwriting or with its page: readers are told before.
        let header_low = (overwritten || lost.is_some()).then(|| self.low());
        self.header_low = header_low.unwrap_or(self.header_low);
        Plan::Capture(Capture { header_low, lost, record, length, to })
    }

    /// What is to be done about an open gap with nothing left before it.
    pub fn reveal(&self) -> Option<Capture> {
        self.gap.filter(|gap| *gap == self.low())?;
        let lost = Some((self.lost + self.missing(), self.first_record));
        Some(Capture { header_low: Some(self.head), lost, record: None, length: 0, to: Where::Nowhere })
    }

    /// A capture was carried out and `bytes` have come.
    pub fn advance(&mut self, bytes: u64, now: Now) {
        if self.gap == Some(self.low()) {
            // The gap was revealed.
            self.lost += self.missing();
            (self.gap, self.header_low, self.saved_lost) = (None, self.head, self.lost);
            self.release_records();
        }
        if self.head == self.low() {
            self.progress_ns = now.boot_ns;
        }
        self.head += bytes;
    }

    /// A capture was not carried out to its end: what it was to write is written again with the next one.
    pub fn failed(&mut self) {
        self.header_low = 0;
        self.saved_lost = u64::MAX;
    }

    /// Everything below `offset` may go. `false`: that is no offset between `low` and `head`.
    pub fn acknowledge(&mut self, offset: u64, now: Now) -> bool {
        if offset < self.low() || offset > self.readable() {
            return false;
        }
        self.progress_ns = now.boot_ns;
        self.acked += offset - self.low();
        self.release_records();
        true
    }

    /// Bytes that may come: the region has room for them, and so has memory.
    fn room(&self, limit: u64) -> u64 {
        let region = self.capacity.saturating_sub(self.head - self.low());
        region.min(limit.saturating_sub(self.memory()))
    }

    /// Makes room for one step at least, unless there is nothing to drop.
    fn drop_oldest(&mut self, limit: u64) {
        let excess = self.memory().saturating_sub(limit);
        let step = DROP_STEP.min(self.capacity.min(limit) / 4);
        self.lost += excess.saturating_add(step).min(self.head - self.low());
        self.release_records();
    }

    /// The first bytes of a gap get a record that says so; the others belong to it.
    fn begin_gap(&mut self, about: &Circumstances) -> Option<(u64, Record)> {
        if self.gap.is_some_and(|gap| gap < self.head) {
            return None;
        }
        self.gap = Some(self.head);
        let (number, record) = self.add_record(about);
        Some((number, Record { boottime_ns: record.boottime_ns | Record::GAP, ..record }))
    }

    /// Forgets the records that end at or below `low`; the one that covers it stays.
    fn release_records(&mut self) {
        let low = self.low();
        while self.offsets.get(1).is_some_and(|next| *next <= low) {
            self.offsets.pop_front();
            self.first_record += 1;
        }
        if self.offsets.len() <= 4 && self.offsets.capacity() > 64 {
            self.offsets.shrink_to(8);
        }
    }

    /// A new record when a millisecond has passed or the other stream spoke in between; coarser the fuller the region is,
    /// so that the places never run out before the bytes do.
    fn wants_record(&self, about: &Circumstances) -> bool {
        let used = u64::try_from(self.offsets.len()).unwrap_or(u64::MAX);
        let Some(newest) = self.offsets.back() else {
            return true;
        };
        if *newest == self.head {
            // Nothing came after it: it is written anew, with the present time.
            return true;
        }
        let places = self.places.min(about.limit / BYTES_PER_RECORD);
        // The last place is for a gap.
        let (interval, order) = if used + 1 >= places {
            return false;
        } else if used >= places / 8 * 7 {
            (1000 * MS, false)
        } else if used >= places / 4 * 3 {
            (100 * MS, false)
        } else if used >= places / 2 {
            (10 * MS, true)
        } else {
            (MS, true)
        };
        let age = about.now.boot_ns.saturating_sub(self.last_record_ns);
        age >= interval || (order && about.interleaved)
    }

    fn add_record(&mut self, about: &Circumstances) -> (u64, Record) {
        if self.offsets.back() != Some(&self.head) {
            self.offsets.push_back(self.head);
            self.release_records();
        }
        self.last_record_ns = about.now.boot_ns;
        let record = Record {
            seq: about.seq,
            offset: self.head,
            realtime_ns: about.now.real_ns,
            boottime_ns: about.now.boot_ns,
        };
        (self.records() - 1, record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Now {
        Now { boot_ns: ms * MS, real_ns: ms * MS + 7 }
    }

    fn about(ms: u64) -> Circumstances {
        let (when_full, limit) = (WhenFull::DropOldest, u64::MAX);
        Circumstances { now: at(ms), seq: 0, interleaved: false, hold_until: None, when_full, limit }
    }

    fn capture(ring: &mut Ring, about: &Circumstances, bytes: u64) -> Capture {
        let Plan::Capture(capture) = ring.plan(about) else { panic!("held: {ring:?}") };
        ring.advance(bytes.min(capture.length), about.now);
        capture
    }

    #[test]
    fn bursts_within_a_millisecond_share_a_record() {
        let mut ring = Ring::new(4096, 128, at(0));
        assert_eq!(capture(&mut ring, &about(5), 10).record.unwrap().0, 0);
        assert_eq!(capture(&mut ring, &about(5), 10).record, None);
        let other = Circumstances { interleaved: true, ..about(5) };
        assert_eq!(capture(&mut ring, &other, 10).record.unwrap().1.offset, 20);
        assert_eq!(capture(&mut ring, &about(6), 10).record.unwrap().1.offset, 30);
        assert!(ring.acknowledge(25, at(7)));
        assert_eq!((ring.first_record(), ring.records()), (1, 3));
    }

    #[test]
    fn records_never_run_out_before_bytes() {
        let mut ring = Ring::new(4096, 16, at(0));
        for ms in 0..4096 {
            capture(&mut ring, &about(ms * 2000), 1);
            assert!(ring.records() - ring.first_record() <= 16);
        }
        assert_eq!((ring.low(), ring.head()), (0, 4096));
    }

    #[test]
    fn a_full_ring_waits_for_a_reader_then_drops_and_counts() {
        let mut ring = Ring::new(4096, 16, at(0));
        capture(&mut ring, &about(0), 4096);
        let reader = Circumstances { hold_until: Some(9 * MS), ..about(1) };
        assert_eq!(ring.plan(&reader), Plan::Hold { until: Some(9 * MS) });
        let block = Circumstances { when_full: WhenFull::Block, ..about(10) };
        assert_eq!(ring.plan(&block), Plan::Hold { until: None });
        let step = capture(&mut ring, &about(10), 4096);
        assert_eq!((step.lost, step.header_low, step.length), (Some((1024, 0)), Some(1024), 1024));
        assert!(!ring.acknowledge(1023, at(11)));
        assert!(!ring.acknowledge(5121, at(11)));
        assert!(ring.acknowledge(5120, at(11)));
        assert_eq!((ring.acked(), ring.lost(), ring.low()), (4096, 1024, 5120));
    }
}
