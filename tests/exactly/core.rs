//! A core as the scribe sees it: a process file that fills up, and acknowledgements that make room.

use crate::words::{STARTED_NS, Word};
use anyhow::{Result, ensure};
use ringmaster_protocol::message::StreamState;
use ringmaster_protocol::ring::{MAGIC, Record, Stream, StreamEntry, layout};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Small, so that it wraps often and the scribe has to acknowledge.
const CAPACITY: u64 = 128 << 10;

/// The fake core.
#[derive(Debug)]
pub struct Core {
    file: File,
    entries: [StreamEntry; 2],
    states: [StreamState; 2],
    seq: u64,
    /// Everything that was written, in the order of arrival.
    pub arrivals: Vec<Arrival>,
}

/// Bytes that came together.
#[derive(Debug)]
pub struct Arrival {
    /// Where.
    pub stream: Stream,
    /// When, in seconds of the Unix epoch.
    pub second: u64,
    /// What.
    pub bytes: Vec<u8>,
}

impl Core {
    /// With an empty process file at `path`.
    pub fn new(path: &Path) -> Result<Self> {
        let (entries, size) = layout([true, true], CAPACITY);
        let file = File::options().read(true).write(true).create_new(true).open(path)?;
        file.set_len(size)?;
        file.write_all_at(&MAGIC, 0)?;
        for (stream, entry) in Stream::ALL.into_iter().zip(&entries) {
            file.write_all_at(&entry.encode(), StreamEntry::position(stream))?;
        }
        let state = StreamState { captured: true, open: true, ..StreamState::default() };
        Ok(Self { file, entries, states: [state; 2], seq: 1, arrivals: Vec::new() })
    }

    /// As `OpenProcess` tells.
    pub fn states(&self) -> [StreamState; 2] {
        self.states
    }

    fn state(&mut self, stream: Stream) -> &mut StreamState {
        let [out, err] = &mut self.states;
        if stream == Stream::Stdout { out } else { err }
    }

    fn entry(&self, stream: Stream) -> StreamEntry {
        let [out, err] = self.entries;
        if stream == Stream::Stdout { out } else { err }
    }

    /// Bytes arrive as one record; `false`: there is no room.
    pub fn write(&mut self, stream: Stream, bytes: &[u8]) -> Result<bool> {
        let entry = self.entry(stream);
        let seq = self.seq;
        let state = self.state(stream);
        let length = u64::try_from(bytes.len())?;
        let full = state.head - state.low + length > entry.capacity;
        if full || state.records - state.first_record >= entry.records {
            return Ok(false);
        }
        let (head, number, low) = (state.head, state.records, state.low);
        state.head += length;
        state.records += 1;
        self.seq += 1;
        let second = STARTED_NS / 1_000_000_000 + seq;
        // As the core does: nothing below what is acknowledged is promised any more when it is overwritten.
        self.file.write_all_at(&low.to_le_bytes(), StreamEntry::position(stream) + StreamEntry::LOW_AT)?;
        let record = Record { seq, offset: head, realtime_ns: second * 1_000_000_000, boottime_ns: 0 };
        self.file.write_all_at(&record.encode(), entry.record_position(number))?;
        let mut rest = bytes;
        for piece in entry.pieces(head, head + length) {
            let (part, after) = rest.split_at(usize::try_from(piece.length)?);
            self.file.write_all_at(part, piece.at)?;
            rest = after;
        }
        self.arrivals.push(Arrival { stream, second, bytes: bytes.to_vec() });
        Ok(true)
    }

    /// An acknowledgement.
    pub fn ack(&mut self, stream: Stream, offset: u64) -> Result<()> {
        let entry = self.entry(stream);
        let file = self.file.try_clone()?;
        let state = self.state(stream);
        ensure!(offset <= state.head, "{offset} acknowledged of {state:?}");
        state.low = state.low.max(offset);
        while state.first_record + 1 < state.records {
            let mut next = [0; 32];
            file.read_exact_at(&mut next, entry.record_position(state.first_record + 1))?;
            if Record::decode(&next).offset > state.low {
                break;
            }
            state.first_record += 1;
        }
        Ok(())
    }

    /// How far everything has come.
    pub fn advanced(&self) -> Word {
        let heads = self.states.each_ref().map(|state| state.head);
        let records = self.states.each_ref().map(|state| state.records);
        Word::Advanced { heads, records }
    }

    /// The end of the process.
    pub fn ended(&self) -> Word {
        Word::Ended { heads: self.states.each_ref().map(|state| state.head) }
    }
}
