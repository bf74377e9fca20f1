//! How far one stream of one process has been taken, and the next portion of it.

use super::tap::Tap;
use ringmaster_protocol::message::StreamState;
use ringmaster_protocol::ring::{Record, Stream};
use std::time::Instant;

/// Bytes taken at once from one stream: large enough that system calls do not show, small enough for a processor's cache
/// and for a fair turn of many processes.
pub(super) const BATCH: u64 = 256 << 10;

/// An unfinished line that waits for its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) since: Instant,
    /// No newline below this offset.
    scanned: u64,
}

/// One captured stream.
#[derive(Debug)]
pub(super) struct Cursor {
    stream: Stream,
    /// Everything below is written and told.
    pub(super) offset: u64,
    /// The offset of the next byte to come, as far as known.
    pub(super) head: u64,
    /// Where the record that covers `offset` is at the earliest.
    record: u64,
    /// The number of the next record to come; `None` when only the end of the output is known.
    records: Option<u64>,
    /// The byte before `offset`; `None` when it cannot be read any more.
    pub(super) previous: Option<u8>,
    pub(super) held: Option<Held>,
    /// Whether more may come.
    pub(super) open: bool,
    /// Bytes lost before `offset` that the log does not tell of yet.
    untold: u64,
}

/// The next bytes of a stream, with what is known about them. Its buffers are used again and again.
#[derive(Debug, Default)]
pub(super) struct Portion {
    buffer: Vec<u8>,
    length: usize,
    /// Offset of the first byte.
    pub(super) from: u64,
    /// The records of the bytes; empty when they were not asked for.
    pub(super) records: Vec<Record>,
    /// Number of the first of `records`.
    first_record: u64,
    /// There is more that did not fit.
    pub(super) cut_off: bool,
}

impl Portion {
    pub(super) fn bytes(&self) -> &[u8] {
        self.buffer.get(..self.length).unwrap_or_default()
    }

    fn resize(&mut self, length: u64) -> &mut [u8] {
        self.length = usize::try_from(length).unwrap_or(0);
        if self.buffer.len() < self.length {
            self.buffer.resize(self.length, 0);
        }
        self.buffer.get_mut(..self.length).unwrap_or_default()
    }

    /// The number of the record that covers `offset` or comes before it.
    pub(super) fn record_at(&self, offset: u64) -> Option<u64> {
        let after_first = self.records.get(1..)?;
        let covered = after_first.iter().take_while(|record| record.offset <= offset);
        Some(self.first_record + u64::try_from(covered.count()).unwrap_or(0))
    }

    pub(super) fn clear(&mut self) {
        self.length = 0;
        self.records.clear();
        self.cut_off = false;
    }
}

/// How far one stream comes by one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    /// The first offset not taken.
    pub(super) offset: u64,
    /// The byte before it.
    pub(super) previous: u8,
    /// The number of the record that covers it or comes before, when the records were read.
    pub(super) record: Option<u64>,
    /// Bytes that the batch tells of as lost.
    pub(super) lost: u64,
}

/// What loading came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Loaded {
    /// Nothing to do now.
    Nothing,
    /// The portion is filled.
    Bytes,
    /// So many bytes before `to` are gone.
    Gap { lost: u64, to: u64 },
}

/// How a portion is wanted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wish {
    /// With records.
    pub(super) records: bool,
    /// Also an unfinished line.
    pub(super) force: bool,
}

impl Cursor {
    /// A stream as it was when its file was opened. `told`: lost bytes that a log tells of already.
    pub(super) fn new(stream: Stream, state: &StreamState, told: u64, tap: &Tap) -> Self {
        let untold = state.lost.saturating_sub(told);
        let previous = if state.low == 0 || untold > 0 { Some(b'\n') } else { tap.byte_before(stream, state.low) };
        Self {
            stream,
            offset: state.low,
            head: state.head,
            record: state.first_record,
            records: Some(state.records),
            previous,
            held: None,
            open: state.open,
            untold,
        }
    }

    /// The core has come as far as `head`.
    pub(super) fn advance(&mut self, head: u64, records: Option<u64>) {
        if head > self.head {
            (self.head, self.records) = (head, records);
        } else if head == self.head && records.is_some() {
            self.records = records.max(self.records);
        }
    }

    /// Whether everything that is known to exist is taken.
    pub(super) fn is_drained(&self) -> bool {
        self.offset >= self.head && self.untold == 0
    }

    /// Fills `portion` with what comes next.
    pub(super) fn load(&mut self, tap: &Tap, wish: Wish, portion: &mut Portion) -> std::io::Result<Loaded> {
        portion.clear();
        if self.untold > 0 {
            let (lost, to) = (self.untold, self.offset);
            return Ok(Loaded::Gap { lost, to });
        }
        if self.offset >= self.head {
            return Ok(Loaded::Nothing);
        }
        if let Some(held) = self.held.filter(|_| !wish.force)
            && self.still_unfinished(held, tap, portion)?
        {
            return Ok(Loaded::Nothing);
        }
        let mut end = self.head.min(self.offset.saturating_add(BATCH.min(tap.capacity(self.stream))));
        if wish.records {
            let limit = self.records.unwrap_or(u64::MAX);
            let range = self.offset..end;
            (portion.first_record, end) = tap.records(self.stream, self.record, limit, range, &mut portion.records)?;
        }
        tap.read(self.stream, self.offset, portion.resize(end - self.offset))?;
        portion.from = self.offset;
        portion.cut_off = end < self.head;
        let low = tap.low(self.stream)?;
        if low > self.offset {
            let (lost, to) = (low - self.offset, low);
            return Ok(Loaded::Gap { lost, to });
        }
        Ok(Loaded::Bytes)
    }

    /// Looks at the bytes that came since an unfinished line was held back.
    fn still_unfinished(&mut self, held: Held, tap: &Tap, portion: &mut Portion) -> std::io::Result<bool> {
        if self.head - self.offset >= BATCH.min(tap.capacity(self.stream)) {
            return Ok(false);
        }
        let fresh = portion.resize(self.head.saturating_sub(held.scanned));
        tap.read(self.stream, held.scanned, fresh)?;
        let unfinished = !fresh.contains(&b'\n');
        if unfinished {
            self.held = Some(Held { scanned: self.head, ..held });
        }
        portion.clear();
        Ok(unfinished)
    }

    /// Remembers that what follows `offset` is an unfinished line. Gives since when it is.
    pub(super) fn hold(&mut self, now: Instant) -> Instant {
        let since = self.held.map_or(now, |held| held.since);
        let scanned = self.head;
        self.held = Some(Held { since, scanned });
        since
    }

    /// What a step covers is taken.
    pub(super) fn settle(&mut self, step: &Step) {
        (self.offset, self.previous, self.held) = (step.offset, Some(step.previous), None);
        self.record = step.record.unwrap_or(self.record);
        self.head = self.head.max(step.offset);
        if step.lost > 0 {
            self.untold = 0;
        }
    }

    /// Takes everything without looking at it.
    pub(super) fn skip(&mut self) {
        (self.offset, self.previous, self.held, self.untold) = (self.head, Some(b'\n'), None, 0);
    }
}
