//! A process file as the core writes it, and the notices that go with it.

use crate::streams::mailbox::{Attach, Order, WatcherKey};
use ringmaster_protocol::message::{ProcessId, StreamState};
use ringmaster_protocol::ring::{MAGIC, Record, Stream, StreamEntry, layout};
use std::fs::File;
use std::os::unix::fs::FileExt;

/// The smallest ring that the layout allows, so that it wraps often.
pub(super) const CAPACITY: u64 = 4096;

pub(super) struct FakeProcess {
    id: ProcessId,
    file: File,
    entries: [StreamEntry; 2],
    states: [StreamState; 2],
    seq: u64,
}

impl FakeProcess {
    pub(super) fn new(id: u64) -> Self {
        Self::with_ring(id, CAPACITY)
    }

    pub(super) fn with_ring(id: u64, capacity: u64) -> Self {
        let file = tempfile::tempfile().unwrap();
        let (entries, size) = layout([true, true], capacity);
        file.set_len(size).unwrap();
        file.write_all_at(&MAGIC, 0).unwrap();
        for stream in Stream::ALL {
            let entry = entries[stream.index()].encode();
            file.write_all_at(&entry, StreamEntry::position(stream)).unwrap();
        }
        let state = StreamState { captured: true, open: true, ..StreamState::default() };
        Self { id: ProcessId(id), file, entries, states: [state; 2], seq: 1 }
    }

    pub(super) fn id(&self) -> ProcessId {
        self.id
    }

    /// Room of a ring.
    pub(super) fn room(&self, stream: Stream) -> u64 {
        let state = self.states[stream.index()];
        self.entries[stream.index()].capacity - (state.head - state.low)
    }

    /// Bytes arrive at `second`, as one record.
    pub(super) fn write(&mut self, stream: Stream, second: u64, bytes: &[u8]) {
        assert!(bytes.len() as u64 <= self.room(stream), "the core would wait");
        let index = stream.index();
        let (entry, state) = (self.entries[index], &mut self.states[index]);
        assert!(state.records - state.first_record < entry.records, "the core would share a record");
        let record = Record { seq: self.seq, offset: state.head, realtime_ns: second * 1_000_000_000, boottime_ns: 0 };
        self.seq += 1;
        self.file.write_all_at(&record.encode(), entry.record_position(state.records)).unwrap();
        state.records += 1;
        let mut rest = bytes;
        for piece in entry.pieces(state.head, state.head + bytes.len() as u64) {
            let (part, after) = rest.split_at(piece.length as usize);
            self.file.write_all_at(part, piece.at).unwrap();
            rest = after;
        }
        state.head += bytes.len() as u64;
        // As the core does: the header follows lazily, and never exceeds what is acknowledged or dropped.
        if state.head > self.entries[index].low + entry.capacity {
            self.set_low(stream, self.states[index].low);
        }
    }

    fn set_low(&mut self, stream: Stream, low: u64) {
        self.entries[stream.index()].low = low;
        let at = StreamEntry::position(stream) + StreamEntry::LOW_AT;
        self.file.write_all_at(&low.to_le_bytes(), at).unwrap();
    }

    /// The oldest bytes are dropped.
    pub(super) fn lose(&mut self, stream: Stream, bytes: u64) {
        let state = &mut self.states[stream.index()];
        state.low += bytes;
        state.lost += bytes;
        let low = state.low;
        self.release(stream);
        self.set_low(stream, low);
    }

    pub(super) fn ack(&mut self, stream: Stream, offset: u64) {
        let state = &mut self.states[stream.index()];
        assert!((state.low..=state.head).contains(&offset), "{offset} acknowledged, {state:?}");
        state.low = offset;
        self.release(stream);
    }

    fn release(&mut self, stream: Stream) {
        let index = stream.index();
        let (entry, low) = (self.entries[index], self.states[index].low);
        let state = &mut self.states[index];
        while state.first_record + 1 < state.records {
            let mut next = [0; 32];
            self.file.read_exact_at(&mut next, entry.record_position(state.first_record + 1)).unwrap();
            if Record::decode(&next).offset > low {
                break;
            }
            state.first_record += 1;
        }
    }

    pub(super) fn attach(&self) -> Order {
        Order::Attach(Attach {
            process: self.id,
            watcher: WatcherKey::new("w"),
            pid: 42,
            wid: 1,
            file: self.file.try_clone().unwrap().into(),
            streams: self.states,
            started_ns: 1,
        })
    }

    pub(super) fn advance(&self, stream: Stream) -> Order {
        let StreamState { head, records, .. } = self.states[stream.index()];
        Order::Advance { process: self.id, stream, head, records }
    }

    pub(super) fn ended(&self) -> Order {
        Order::Ended { process: self.id, heads: self.states.map(|state| state.head) }
    }
}
