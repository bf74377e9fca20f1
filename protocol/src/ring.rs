//! The process file: where the core keeps the captured output of one process, and where the manager reads it.
//!
//! ```text
//! 0            header, one page: magic, version, then two stream entries (stdout, stderr)
//! page 1 …     per captured stream: records region, then data region, both page aligned
//! ```
//! A stream is a sequence of bytes numbered from 0 by their *offset*. Byte `o` lies in the data region at
//! `o % capacity`. A [`Record`] says when a run of bytes arrived; record number `n` lies in the records region at
//! `n % records`. A record is written before the bytes that it describes; it covers the bytes from its `offset` to the
//! next record's. Offsets identify output; times never do.
//!
//! The manager learns how far a stream has come from notices, and reads with `pread`. While it holds the lease and
//! acknowledges, nothing that it has not acknowledged is overwritten. When it has stopped doing so, the core may drop
//! the oldest bytes; it writes the new `low` into the stream entry *before* the first byte is overwritten. A reader
//! therefore reads data, then `low` ([`StreamEntry::LOW_AT`]), and treats what lies below `low` as a gap.
//!
//! When the *newest* bytes are dropped instead, they have their offsets like all others, but are nowhere: the record at the
//! first of them says so ([`Record::is_gap`]). No head beyond that offset is told before everything below it is
//! acknowledged; then `low` moves over the gap, so that a reader finds it in its place and in the same way.
//!
//! Pages that hold nothing but acknowledged or dropped bytes may be given back (they read as zeroes); the one with the last
//! byte before the first unacknowledged one stays.

use crate::limits::{MAX_RECORDS, MAX_RING, MAX_SPILL};

/// Bytes of the header and alignment of all regions.
pub const PAGE: u64 = 4096;

/// `RMPROC` and the layout version, at offset 0.
pub const MAGIC: [u8; 8] = *b"RMPROC\x00\x01";

/// Which output of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub enum Stream {
    /// fd 1, and fd 2 when merged into it.
    Stdout,
    /// fd 2.
    Stderr,
}

impl Stream {
    /// Both, in the order of their entries.
    pub const ALL: [Self; 2] = [Self::Stdout, Self::Stderr];

    /// Position of the entry in the header.
    pub fn index(self) -> usize {
        match self {
            Self::Stdout => 0,
            Self::Stderr => 1,
        }
    }

    /// `stdout` or `stderr`, as Circus names them.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// Geometry of one stream in the process file, plus the first offset that is still readable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StreamEntry {
    /// File position of the records region.
    pub records_at: u64,
    /// Number of records in it; 0: the stream is not captured.
    pub records: u64,
    /// File position of the data region.
    pub data_at: u64,
    /// Bytes in it.
    pub capacity: u64,
    /// The lowest offset not yet overwritten. Written before an overwrite, so a reader that sees it unchanged after
    /// reading has read what the child wrote.
    pub low: u64,
}

impl StreamEntry {
    /// Bytes of one entry.
    pub const SIZE: u64 = 64;
    /// File position of the first entry.
    pub const FIRST_AT: u64 = 64;
    /// Position of `low` inside an entry.
    pub const LOW_AT: u64 = 32;

    /// File position of the entry of `stream`.
    pub fn position(stream: Stream) -> u64 {
        match stream {
            Stream::Stdout => Self::FIRST_AT,
            Stream::Stderr => Self::FIRST_AT + Self::SIZE,
        }
    }

    /// Little-endian words in declaration order, zero padded.
    pub fn encode(&self) -> [u8; 64] {
        let mut out = [0; 64];
        let words = [self.records_at, self.records, self.data_at, self.capacity, self.low];
        for (slot, word) in out.chunks_exact_mut(8).zip(words) {
            slot.copy_from_slice(&word.to_le_bytes());
        }
        out
    }

    /// The reverse of [`Self::encode`].
    pub fn decode(bytes: &[u8; 64]) -> Self {
        let [records_at, records, data_at, capacity, low] = words(bytes);
        Self { records_at, records, data_at, capacity, low }
    }

    /// Whether the geometry is one that can be: not captured, or regions behind the header, no larger than the largest ring or
    /// spill asks for, at positions that a file can have. What is not sound is not used.
    pub fn is_sound(&self) -> bool {
        let positions = PAGE..4 * MAX_SPILL;
        let sizes = self.records <= MAX_RING / 256 && self.capacity <= MAX_SPILL;
        let regions = positions.contains(&self.records_at) && positions.contains(&self.data_at);
        match (self.records, self.capacity) {
            (0, 0) => self.records_at == 0 && self.data_at == 0,
            (0, _) | (_, 0) => false,
            _ => sizes && regions,
        }
    }

    /// Where to find `[offset, end)` in the file: one piece, or two when it wraps. Empty pieces are left out.
    /// The caller makes sure that `end - offset <= capacity`.
    pub fn pieces(&self, offset: u64, end: u64) -> impl Iterator<Item = Piece> + use<> {
        let length = end.saturating_sub(offset);
        let inside = if self.capacity == 0 { 0 } else { offset % self.capacity };
        let first = length.min(self.capacity - inside);
        let data_at = self.data_at;
        [Piece { at: data_at + inside, length: first }, Piece { at: data_at, length: length - first }]
            .into_iter()
            .filter(|piece| piece.length > 0)
    }

    /// File position of record number `n`.
    pub fn record_position(&self, n: u64) -> u64 {
        self.records_at + (if self.records == 0 { 0 } else { n % self.records }) * Record::SIZE
    }
}

/// A run of bytes in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// File position.
    pub at: u64,
    /// Bytes.
    pub length: u64,
}

/// When the bytes from `offset` on arrived at the core.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Record {
    /// Counts the records of both streams of the process together: the order of arrival.
    pub seq: u64,
    /// The first byte that it describes.
    pub offset: u64,
    /// Nanoseconds since the Unix epoch (`CLOCK_REALTIME`).
    pub realtime_ns: u64,
    /// Nanoseconds of `CLOCK_BOOTTIME`; the highest bit says that the bytes were not kept.
    pub boottime_ns: u64,
}

impl Record {
    /// Bytes of a record; divides a page, so that no record crosses one.
    pub const SIZE: u64 = 32;

    /// The bit in `boottime_ns`.
    pub const GAP: u64 = 1 << 63;

    /// Whether the bytes that it describes were dropped when they came.
    pub fn is_gap(&self) -> bool {
        self.boottime_ns & Self::GAP != 0
    }

    /// Little-endian words in declaration order.
    pub fn encode(&self) -> [u8; 32] {
        let mut out = [0; 32];
        let words = [self.seq, self.offset, self.realtime_ns, self.boottime_ns];
        for (slot, word) in out.chunks_exact_mut(8).zip(words) {
            slot.copy_from_slice(&word.to_le_bytes());
        }
        out
    }

    /// The reverse of [`Self::encode`].
    pub fn decode(bytes: &[u8; 32]) -> Self {
        let [seq, offset, realtime_ns, boottime_ns] = words(bytes);
        Self { seq, offset, realtime_ns, boottime_ns }
    }
}

/// The first `N` little-endian words of `bytes`; missing ones are 0.
fn words<const N: usize>(bytes: &[u8]) -> [u64; N] {
    let mut out = [0; N];
    for (word, chunk) in out.iter_mut().zip(bytes.chunks_exact(8)) {
        *word = chunk.try_into().map_or(0, u64::from_le_bytes);
    }
    out
}

/// The geometry of a process file that captures the given streams with rings of `capacity` bytes (a multiple of
/// [`PAGE`]): the entries by [`Stream::index`], and the size of the file.
pub fn layout(captured: [bool; 2], capacity: u64) -> ([StreamEntry; 2], u64) {
    let records = records_for(capacity);
    let mut at = PAGE;
    let entries = captured.map(|captured| {
        if !captured {
            return StreamEntry::default();
        }
        let entry = StreamEntry { records_at: at, records, data_at: at + records * Record::SIZE, capacity, low: 0 };
        at = entry.data_at + capacity;
        entry
    });
    (entries, at)
}

/// How many records belong to a ring: one for each 256 bytes, at least a page of them, at most [`MAX_RECORDS`]. A child that writes shorter
/// runs than that shares a record among several when the region fills up; the time of a byte is then late, never wrong in order.
fn records_for(capacity: u64) -> u64 {
    let per_page = PAGE / Record::SIZE;
    (capacity / 256).next_multiple_of(per_page).clamp(per_page, MAX_RECORDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_and_records_survive_their_encoding() {
        let entry = StreamEntry { records_at: 1, records: 2, data_at: 3, capacity: 4, low: u64::MAX };
        assert_eq!(StreamEntry::decode(&entry.encode()), entry);
        let record = Record { seq: 1, offset: 2, realtime_ns: 3, boottime_ns: u64::MAX };
        assert_eq!(Record::decode(&record.encode()), record);
    }

    #[test]
    fn regions_do_not_overlap_and_are_page_aligned() {
        let ([out, err], size) = layout([true, true], 2 << 20);
        assert_eq!(out.records_at, PAGE);
        assert_eq!(out.data_at, PAGE + out.records * Record::SIZE);
        assert_eq!(err.records_at, out.data_at + out.capacity);
        assert_eq!(size, err.data_at + err.capacity);
        for at in [out.records_at, out.data_at, err.records_at, err.data_at] {
            assert_eq!(at % PAGE, 0);
        }
        let ([none, only], _) = layout([false, true], 64 << 10);
        assert_eq!((none.records, none.capacity), (0, 0));
        assert_eq!(only.records_at, PAGE);
    }

    #[test]
    fn a_run_that_wraps_comes_in_two_pieces() {
        let entry = StreamEntry { records_at: 0, records: 1, data_at: 1000, capacity: 100, low: 0 };
        let pieces: Vec<Piece> = entry.pieces(290, 310).collect();
        assert_eq!(pieces, [Piece { at: 1090, length: 10 }, Piece { at: 1000, length: 10 }]);
        assert_eq!(entry.pieces(300, 300).count(), 0);
        assert_eq!(entry.pieces(300, 400).collect::<Vec<_>>(), [Piece { at: 1000, length: 100 }]);
    }
}
