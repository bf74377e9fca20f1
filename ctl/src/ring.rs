//! Reading a process file backwards from its newest record: what a ring still has, acknowledged or not.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use ringmaster_protocol::ring::{Record, Stream, StreamEntry};

/// Bytes that arrived together.
#[derive(Debug, PartialEq, Eq)]
pub struct Run {
    /// Offset of the first.
    pub from: u64,
    /// When they reached the core, in nanoseconds since the Unix epoch.
    pub realtime_ns: u64,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// One stream of a process file.
#[derive(Debug)]
pub struct Ring {
    file: File,
    stream: Stream,
    entry: StreamEntry,
}

impl Ring {
    /// Reads the geometry.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn open(file: File, stream: Stream) -> io::Result<Self> {
        let mut ring = Self { file, stream, entry: StreamEntry::default() };
        ring.entry = ring.read_entry()?;
        Ok(ring)
    }

    fn read_entry(&self) -> io::Result<StreamEntry> {
        let mut bytes = [0; 64];
        self.file.read_exact_at(&mut bytes, StreamEntry::position(self.stream))?;
        Ok(StreamEntry::decode(&bytes))
    }

    fn record(&self, number: u64) -> io::Result<Record> {
        let mut bytes = [0; 32];
        self.file.read_exact_at(&mut bytes, self.entry.record_position(number))?;
        Ok(Record::decode(&bytes))
    }

    /// What is still there of `[from, head)`, oldest first. `records` is the number of the next record to come.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn runs(&self, from: u64, head: u64, records: u64) -> io::Result<Vec<Run>> {
        let from = from.max(head.saturating_sub(self.entry.capacity));
        let mut runs = Vec::new();
        let (mut end, mut seq, mut number) = (head, u64::MAX, records);
        while end > from && number > 0 {
            number -= 1;
            let record = self.record(number)?;
            if record.seq >= seq {
                // Its place has been used again.
                break;
            }
            seq = record.seq;
            if record.offset >= end {
                continue;
            }
            let begin = record.offset.max(from);
            runs.push(Run { from: begin, realtime_ns: record.realtime_ns, bytes: self.bytes(begin, end)? });
            end = begin;
        }
        // What was overwritten meanwhile is not what the process wrote (`ringmaster_protocol::ring`).
        let low = self.read_entry()?.low;
        runs.retain_mut(|run| {
            let gone = usize::try_from(low.saturating_sub(run.from)).unwrap_or(usize::MAX).min(run.bytes.len());
            run.bytes.drain(..gone);
            run.from = run.from.max(low);
            !run.bytes.is_empty()
        });
        runs.reverse();
        Ok(runs)
    }

    fn bytes(&self, from: u64, to: u64) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        for piece in self.entry.pieces(from, to) {
            let start = out.len();
            out.resize(start + usize::try_from(piece.length).map_err(io::Error::other)?, 0);
            self.file.read_exact_at(out.get_mut(start..).unwrap_or_default(), piece.at)?;
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringmaster_protocol::ring::layout;

    fn ring(capacity: u64, written: &str, records: &[(u64, u64)], low: u64) -> Ring {
        let file = tempfile::tempfile().unwrap();
        let ([mut entry, _], size) = layout([true, false], capacity);
        entry.low = low;
        file.set_len(size).unwrap();
        file.write_all_at(&entry.encode(), StreamEntry::position(Stream::Stdout)).unwrap();
        for (at, byte) in written.bytes().enumerate() {
            file.write_all_at(&[byte], entry.data_at + u64::try_from(at).unwrap() % capacity).unwrap();
        }
        for (number, (seq, offset)) in records.iter().enumerate() {
            let record = Record { seq: *seq, offset: *offset, realtime_ns: 100 + seq, boottime_ns: 0 };
            let at = entry.record_position(u64::try_from(number).unwrap());
            file.write_all_at(&record.encode(), at).unwrap();
        }
        Ring::open(file, Stream::Stdout).unwrap()
    }

    fn texts(runs: Vec<Run>) -> Vec<(u64, String)> {
        runs.into_iter().map(|run| (run.from, String::from_utf8(run.bytes).unwrap())).collect()
    }

    #[test]
    fn runs_come_oldest_first_from_where_they_are_wanted() {
        let ring = ring(4096, "onetwothree", &[(1, 0), (4, 3), (5, 6)], 0);
        let all = texts(ring.runs(0, 11, 3).unwrap());
        assert_eq!(all, [(0, "one".to_owned()), (3, "two".to_owned()), (6, "three".to_owned())]);
        assert_eq!(texts(ring.runs(4, 8, 3).unwrap()), [(4, "wo".to_owned()), (6, "th".to_owned())]);
        assert!(ring.runs(11, 11, 3).unwrap().is_empty());
    }

    #[test]
    fn what_was_overwritten_is_left_out() {
        let ring = ring(4096, "onetwothree", &[(1, 0), (4, 3), (5, 6)], 4);
        assert_eq!(texts(ring.runs(0, 11, 3).unwrap()), [(4, "wo".to_owned()), (6, "three".to_owned())]);
    }

    #[test]
    fn a_record_whose_place_was_used_again_ends_the_walk() {
        let ring = ring(4096, "onetwothree", &[(9, 0), (4, 3), (5, 6)], 0);
        assert_eq!(texts(ring.runs(0, 11, 3).unwrap()), [(3, "two".to_owned()), (6, "three".to_owned())]);
    }
}
