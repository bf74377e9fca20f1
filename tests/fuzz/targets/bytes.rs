//! Input bytes as a supply of decisions; an empty supply gives zeroes.

use ringmaster_protocol::ring::StreamEntry;

/// What is left of the input.
#[derive(Debug, Clone)]
pub struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    pub fn new(input: &'a [u8]) -> Self {
        Self(input)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        let taken = self.take(N);
        out[..taken.len()].copy_from_slice(taken);
        out
    }

    pub fn u8(&mut self) -> u8 {
        u8::from_le_bytes(self.array())
    }

    pub fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    pub fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }

    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.u64() % end
    }

    /// Yes once in `times`.
    pub fn one_in(&mut self, times: u8) -> bool {
        self.u8() % times == 1
    }

    /// At most so many bytes.
    pub fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// Geometry of a stream: any numbers, or ones that a core could have written.
    pub fn entry(&mut self) -> StreamEntry {
        if self.one_in(2) {
            return StreamEntry::decode(&self.array());
        }
        let [records_at, records, data_at, capacity, low] = [(); 5].map(|()| u64::from(self.u16()));
        StreamEntry { records_at: records_at * 512, records, data_at: data_at * 512, capacity, low }
    }

    pub fn rest(self) -> &'a [u8] {
        self.0
    }
}
