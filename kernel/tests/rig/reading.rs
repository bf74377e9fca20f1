//! A process file, read as the protocol says.

use ringmaster_protocol::message::*;
use ringmaster_protocol::ring::{Record, Stream, StreamEntry};
use std::collections::HashMap;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

/// A process file and what was read from it.
pub struct Reading {
    file: File,
    pub info: ProcessInfo,
    read: HashMap<Stream, (u64, Vec<u8>)>,
    /// Bytes found below `low` when they were to be read.
    pub gaps: u64,
}

impl Reading {
    pub fn new(fd: OwnedFd, info: ProcessInfo) -> Self {
        let read = Stream::ALL.map(|stream| (stream, (info.streams[stream.index()].low, Vec::new()))).into();
        Self { file: File::from(fd), info, read, gaps: 0 }
    }

    pub fn file(&self) -> &File {
        &self.file
    }

    pub fn captured(&self) -> usize {
        self.info.streams.iter().filter(|stream| stream.captured).count()
    }

    pub fn entry(&self, stream: Stream) -> StreamEntry {
        let mut bytes = [0; 64];
        self.file.read_exact_at(&mut bytes, StreamEntry::position(stream)).unwrap();
        StreamEntry::decode(&bytes)
    }

    pub fn record(&self, stream: Stream, number: u64) -> Record {
        let mut bytes = [0; 32];
        self.file.read_exact_at(&mut bytes, self.entry(stream).record_position(number)).unwrap();
        Record::decode(&bytes)
    }

    /// Reads up to `head` as the protocol says: data first, then `low`, and what lies below it is a gap.
    pub fn read_to(&mut self, stream: Stream, head: u64) -> u64 {
        let entry = self.entry(stream);
        let (at, bytes) = self.read.get_mut(&stream).unwrap();
        let from = (*at).max(entry.low).min(head);
        let mut fresh = Vec::new();
        for piece in entry.pieces(from, head) {
            let mut part = vec![0; usize::try_from(piece.length).unwrap()];
            self.file.read_exact_at(&mut part, piece.at).unwrap();
            fresh.extend(part);
        }
        let mut low = [0; 8];
        self.file.read_exact_at(&mut low, StreamEntry::position(stream) + StreamEntry::LOW_AT).unwrap();
        let low = u64::from_le_bytes(low).clamp(from, head);
        self.gaps += low - *at;
        bytes.extend(&fresh[usize::try_from(low - from).unwrap()..]);
        *at = head;
        head
    }

    pub fn bytes(&self, stream: Stream) -> Vec<u8> {
        self.read[&stream].1.clone()
    }
}
