//! Reading a process file (layout: [`ringmaster_protocol::ring`]). Only pread(2); the file belongs to the core.

use ringmaster_protocol::ring::{MAGIC, Record, Stream, StreamEntry};
use std::fs::File;
use std::io::{Error, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

use super::per_stream::PerStream;

/// Records read at once: 32 KiB of them.
const RECORDS_AT_ONCE: u64 = 1024;

/// An open process file.
#[derive(Debug)]
pub struct Tap {
    file: File,
    entries: PerStream<StreamEntry>,
}

impl Tap {
    /// Reads the header.
    pub fn open(fd: OwnedFd) -> std::io::Result<Self> {
        let file = File::from(fd);
        let mut magic = [0; MAGIC.len()];
        file.read_exact_at(&mut magic, 0)?;
        if magic != MAGIC {
            return Err(Error::new(ErrorKind::InvalidData, "it is not a process file of a known version"));
        }
        let mut entries = PerStream::default();
        for stream in Stream::ALL {
            let mut bytes = [0; 64];
            file.read_exact_at(&mut bytes, StreamEntry::position(stream))?;
            let entry = StreamEntry::decode(&bytes);
            if !entry.is_sound() {
                return Err(Error::new(ErrorKind::InvalidData, "the header of the process file is damaged"));
            }
            *entries.get_mut(stream) = entry;
        }
        Ok(Self { file, entries })
    }

    /// Bytes of the ring: more lie between two offsets only when there is a gap.
    pub(super) fn capacity(&self, stream: Stream) -> u64 {
        self.entries.get(stream).capacity
    }

    /// The lowest offset that can still be read.
    pub fn low(&self, stream: Stream) -> std::io::Result<u64> {
        let mut word = [0; 8];
        self.file.read_exact_at(&mut word, StreamEntry::position(stream) + StreamEntry::LOW_AT)?;
        Ok(u64::from_le_bytes(word))
    }

    /// Reads bytes from `offset` on into all of `out`. What lies below [`Self::low`] *afterwards* is not what the child wrote.
    pub fn read(&self, stream: Stream, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        let length = u64::try_from(out.len()).unwrap_or(u64::MAX);
        let mut rest = out;
        for piece in self.entries.get(stream).pieces(offset, offset.saturating_add(length)) {
            let (part, after) = rest.split_at_mut(usize::try_from(piece.length).unwrap_or(0).min(rest.len()));
            self.file.read_exact_at(part, piece.at)?;
            rest = after;
        }
        Ok(())
    }

    /// The byte before `offset`, if it can still be read.
    pub fn byte_before(&self, stream: Stream, offset: u64) -> Option<u8> {
        let before = offset.checked_sub(1)?;
        let mut byte = [0];
        self.read(stream, before, &mut byte).ok()?;
        let low = self.low(stream).ok()?;
        let [byte] = byte;
        (low <= before).then_some(byte)
    }

    /// Record number `number`, or what is in its place.
    pub(super) fn record(&self, stream: Stream, number: u64) -> std::io::Result<Record> {
        let mut place = [0; 32];
        self.file.read_exact_at(&mut place, self.entries.get(stream).record_position(number))?;
        Ok(Record::decode(&place))
    }

    /// Reads the records that describe `[offset, end)`, from record number `from` on and below number `limit`, into `out`:
    /// the one that covers `offset` and its followers, at most [`RECORDS_AT_ONCE`]. Gives the number of the first
    /// of them, and the offset up to which they reach.
    ///
    /// `from` may be long ago: what was acknowledged or dropped since has made room, and its places hold later records, which
    /// begin after `offset`. A place that was not written yet, or holds a record of an earlier round, has no larger `seq`
    /// than the one before it.
    pub fn records(
        &self,
        stream: Stream,
        from: u64,
        limit: u64,
        range: std::ops::Range<u64>,
        out: &mut Vec<Record>,
    ) -> std::io::Result<(u64, u64)> {
        out.clear();
        let entry = self.entries.get(stream);
        let from = if limit == u64::MAX { from } else { from.max(limit.saturating_sub(entry.records)) };
        let mut first = from;
        let mut number = from;
        let mut bytes = Vec::new();
        // Once around from where the search begins, and once around from what it finds.
        while number < limit.min(first.saturating_add(entry.records)) {
            let inside = number.checked_rem(entry.records).unwrap_or(0);
            let run = (entry.records - inside).min(RECORDS_AT_ONCE).min(limit - number);
            bytes.resize(usize::try_from(run * Record::SIZE).unwrap_or(0), 0);
            self.file.read_exact_at(&mut bytes, entry.record_position(number))?;
            let (places, _) = bytes.as_chunks::<32>();
            for place in places {
                let record = Record::decode(place);
                let covers = record.offset <= range.start;
                if let Some(last) = out.last() {
                    let follows = record.seq > last.seq && record.offset >= last.offset;
                    if !follows || record.offset >= range.end {
                        return Ok((first, range.end));
                    }
                }
                if covers {
                    out.clear();
                    first = number;
                }
                if covers || !out.is_empty() {
                    out.push(record);
                }
                number += 1;
                if out.len() > usize::try_from(RECORDS_AT_ONCE).unwrap_or(usize::MAX) {
                    // The last one only says where the one before it ends.
                    return Ok((first, out.pop().map_or(range.end, |record| record.offset)));
                }
            }
        }
        Ok((first, range.end))
    }
}
