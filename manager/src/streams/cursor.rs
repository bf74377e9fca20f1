//! How far one stream of one process has been taken, and the next portion of it.

use super::journal::Position;
use super::loss::{Loss, LossReason};
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
    /// When what is before `offset` was written, in nanoseconds of the Unix epoch; the start of the process at first.
    pub(super) since_ns: u64,
    /// Bytes lost before `offset` that the log does not tell of yet.
    untold: u64,
    /// What the core knew to be written when its file was opened.
    acknowledged: u64,
    /// They were lost before this circusd looked.
    inherited: bool,
    /// When it began to look.
    attached_ns: u64,
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
    /// The first offset taken.
    pub(super) from: u64,
    /// The byte before it.
    pub(super) before: u8,
    /// The first offset not taken.
    pub(super) offset: u64,
    /// The byte before it.
    pub(super) previous: u8,
    /// The number of the record that covers it or comes before, when the records were read.
    pub(super) record: Option<u64>,
    /// What the batch tells of as lost.
    pub(super) lost: Option<Loss>,
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
    /// Not more bytes than that.
    pub(super) most: u64,
}

impl Cursor {
    /// A stream as it was when its file was opened, of a process that began at `started_ns`. `position`: how far the logs go, by
    /// the journal; without one, what was not lost is taken for written.
    pub(super) fn new(
        stream: Stream,
        state: &StreamState,
        (position, started_ns, now_ns): (Option<Position>, u64, u64),
        tap: &Tap,
    ) -> Self {
        let position = position.filter(|position| position.offset <= state.head);
        let written = position.map(|position| position.offset);
        // What was taken for no log, because there was none, is not lost.
        let untold = written.map_or(state.lost, |written| state.low.saturating_sub(written).min(state.lost));
        let offset = written.map_or(state.low, |written| written.max(state.low));
        let previous = match position {
            Some(position) if position.offset == offset => Some(position.previous),
            _ if offset == 0 || untold > 0 => Some(b'\n'),
            _ => tap.byte_before(stream, offset),
        };
        Self {
            stream,
            offset,
            head: state.head,
            record: state.first_record,
            records: Some(state.records),
            previous,
            held: None,
            open: state.open,
            since_ns: position.map_or(started_ns, |position| position.at_ns),
            untold,
            acknowledged: state.low,
            attached_ns: now_ns,
            inherited: untold > 0,
        }
    }

    /// How far the core may forget although nothing new is written: at the start.
    pub(super) fn unacknowledged(&self) -> Option<u64> {
        (self.offset > self.acknowledged && self.untold == 0).then_some(self.offset)
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
        let mut end = self.head.min(self.offset.saturating_add(wish.most.min(tap.capacity(self.stream))));
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

    /// The number in the order of arrival of what comes after `head`, if it has come already and only its notice has not.
    pub(super) fn ahead(&self, tap: &Tap) -> std::io::Result<Option<u64>> {
        let Some(number) = self.records else {
            return Ok(None);
        };
        // A place that was not written yet, or in an earlier round, has an offset that has passed.
        let record = tap.record(self.stream, number)?;
        let comes = record.seq > 0 && record.offset >= self.head && !record.is_gap();
        Ok((comes && self.open).then_some(record.seq))
    }

    /// Remembers that what follows `offset` waits: for the end of a line, or (`lines`) whole lines for earlier ones of the other
    /// stream. Gives since when.
    pub(super) fn hold(&mut self, now: Instant, lines: bool) -> Instant {
        let since = self.held.map_or(now, |held| held.since);
        let scanned = if lines { self.offset } else { self.head };
        self.held = Some(Held { since, scanned });
        since
    }

    /// What a step covers is taken, at `now_ns`.
    pub(super) fn settle(&mut self, step: &Step, now_ns: u64) {
        (self.offset, self.previous, self.held) = (step.offset, Some(step.previous), None);
        self.record = step.record.unwrap_or(self.record);
        self.head = self.head.max(step.offset);
        self.since_ns = now_ns;
        if step.lost.is_some() {
            (self.untold, self.inherited) = (0, false);
        }
    }

    /// The record that covers `offset`; `None`: nothing is there yet.
    fn record_of(&self, tap: &Tap, offset: u64) -> Option<Record> {
        let mut records = Vec::new();
        let limit = self.records.unwrap_or(u64::MAX);
        tap.records(self.stream, self.record, limit, offset..self.head, &mut records).ok()?;
        records.first().copied()
    }

    /// What is known of a gap before `to`, at `now_ns`.
    pub(super) fn loss(&self, tap: &Tap, (bytes, to): (u64, u64), now_ns: u64) -> Loss {
        let began = self.record_of(tap, self.offset).filter(Record::is_gap).map(|record| record.realtime_ns);
        let away = self.inherited || began.is_some_and(|began| began < self.attached_ns);
        Loss {
            bytes,
            since_ns: began.unwrap_or(self.since_ns),
            until_ns: self.record_of(tap, to).map_or(now_ns, |record| record.realtime_ns),
            reason: if away { LossReason::Away } else { LossReason::TooSlow },
        }
    }

    /// Takes everything without looking at it.
    pub(super) fn skip(&mut self) {
        (self.offset, self.previous, self.held, self.untold) = (self.head, Some(b'\n'), None, 0);
    }
}
