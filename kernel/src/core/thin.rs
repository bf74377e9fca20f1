//! Which pages of a process file hold nothing that anybody will read, and can be given back.
//!
//! Byte `o` lies at `o % capacity`, so what is free are the pages from what was given back before, or from a whole lap below the
//! head, up to the page with the last byte below `low`: that one stays, since a reader that comes back looks at it. Records
//! likewise.

use super::ring::Ring;
use ringmaster_protocol::ring::{PAGE, Record};
use std::ops::Range;

/// Records of a page.
const PER_PAGE: u64 = PAGE / Record::SIZE;

/// What to give back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holes {
    /// Offsets of bytes; whole pages, at most a lap.
    pub bytes: Range<u64>,
    /// Numbers of records; whole pages, at most a lap.
    pub records: Range<u64>,
}

/// What can be given back of a ring, when it is `step` bytes at least; it is taken for done.
pub(super) fn thin(ring: &mut Ring, step: u64) -> Option<Holes> {
    if !ring.is_told() {
        return None;
    }
    let (freed_bytes, freed_records) = ring.freed;
    let (capacity, places) = ring.size();
    let bytes = free(freed_bytes, ring.low().saturating_sub(1), ring.head().saturating_sub(capacity), PAGE);
    let records = free(freed_records, ring.first_record(), ring.records().saturating_sub(places), PER_PAGE);
    let found = (bytes.end - bytes.start) + (records.end - records.start) * Record::SIZE;
    if found < step.max(PAGE) {
        return None;
    }
    ring.freed = (bytes.end, records.end);
    Some(Holes { bytes, records })
}

/// From what was freed, or written over since, to what is still needed.
fn free(freed: u64, needed: u64, overwritten: u64, page: u64) -> Range<u64> {
    let start = freed.max(overwritten.next_multiple_of(page));
    start..start.max(needed - needed % page)
}
