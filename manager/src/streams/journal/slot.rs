//! One entry of the journal as 256 bytes: how far a process has come in one target, and where its last batch lies there.
//! Pure.

use crate::streams::per_stream::PerStream;
use crate::streams::render::{Source, Tail};
use ringmaster_protocol::message::ProcessId;
use ringmaster_protocol::ring::Stream;

/// Bytes of an encoded entry; two of them make a slot, and slots never cross a page.
pub(super) const SIZE: usize = 256;

/// Words before the check word.
const WORDS: usize = 24;

/// Which file is open (stat(2): `st_dev`, `st_ino`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::streams) struct Identity {
    pub(in crate::streams) device: u64,
    pub(in crate::streams) inode: u64,
}

/// How far one stream has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::streams) struct Reach {
    /// The offset before the batch.
    pub(in crate::streams) from: u64,
    /// The offset after it.
    pub(in crate::streams) to: u64,
    /// The byte before `from`.
    pub(in crate::streams) before: u8,
    /// The byte before `to`.
    pub(in crate::streams) previous: u8,
}

/// Where a batch lies in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::streams) struct Place {
    pub(in crate::streams) file: Identity,
    /// Bytes of the file before it.
    pub(in crate::streams) position: u64,
    /// Bytes of the batch that lie in earlier files of the rotation.
    pub(in crate::streams) skipped: u64,
}

/// One entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::streams) struct Entry {
    /// Counts all entries that were written: of two copies the larger one holds.
    pub(in crate::streams) seq: u64,
    pub(in crate::streams) process: ProcessId,
    /// `ProcessInfo::started_ns`: ids begin anew with a new core.
    pub(in crate::streams) started_ns: u64,
    /// Names the target (`SinkKey::hash`).
    pub(in crate::streams) target: u64,
    /// Number of the batch, and the region that holds its bytes until it is written.
    pub(in crate::streams) batch: u64,
    pub(in crate::streams) region: u64,
    /// Bytes of the batch.
    pub(in crate::streams) length: u64,
    pub(in crate::streams) place: Place,
    pub(in crate::streams) streams: PerStream<Reach>,
    /// Where the target's last line is after the batch.
    pub(in crate::streams) tail: Tail,
    /// When the time of the file is over, in seconds of the Unix epoch; 0: not known.
    pub(in crate::streams) deadline: u64,
    /// When it was published, in nanoseconds of the Unix epoch.
    pub(in crate::streams) at_ns: u64,
}

impl Entry {
    /// Little-endian words and a check word, zero padded.
    pub(super) fn encode(&self) -> [u8; SIZE] {
        let (tail, owner) = match self.tail {
            Tail::LineStart => (0, 0),
            Tail::WithinUnknown => (1, 0),
            Tail::Within(Source { process, stream: Stream::Stdout }) => (2, process.0),
            Tail::Within(Source { process, stream: Stream::Stderr }) => (3, process.0),
        };
        let [out, err] = [self.streams.stdout, self.streams.stderr];
        let bytes = |reach: Reach| u64::from(reach.before) << 8 | u64::from(reach.previous);
        let words: [u64; WORDS] = [
            self.seq,
            self.process.0,
            self.started_ns,
            self.target,
            self.batch,
            self.region,
            self.length,
            self.place.file.device,
            self.place.file.inode,
            self.place.position,
            self.place.skipped,
            out.from,
            out.to,
            bytes(out),
            err.from,
            err.to,
            bytes(err),
            tail,
            owner,
            self.deadline,
            self.at_ns,
            0,
            0,
            0,
        ];
        let mut encoded = [0; SIZE];
        for (place, word) in encoded.chunks_exact_mut(8).zip(words.into_iter().chain([check(&words)])) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        encoded
    }

    /// The reverse; `None`: nothing was written there, or only a part.
    pub(super) fn decode(encoded: &[u8]) -> Option<Self> {
        let mut words = [0; WORDS];
        let mut all = encoded.chunks_exact(8).map(|word| word.try_into().map_or(0, u64::from_le_bytes));
        for word in &mut words {
            *word = all.next()?;
        }
        let valid = all.next()? == check(&words);
        let [
            seq,
            process,
            started_ns,
            target,
            batch,
            region,
            length,
            device,
            inode,
            position,
            skipped,
            out_from,
            out_to,
            out_bytes,
            err_from,
            err_to,
            err_bytes,
            tail,
            owner,
            deadline,
            at_ns,
            ..,
        ] = words;
        if seq == 0 || !valid {
            return None;
        }
        let reach = |from, to, bytes: u64| {
            let [previous, before, ..] = bytes.to_le_bytes();
            Reach { from, to, before, previous }
        };
        let source = |stream| Source { process: ProcessId(owner), stream };
        let tail = match tail {
            0 => Tail::LineStart,
            2 => Tail::Within(source(Stream::Stdout)),
            3 => Tail::Within(source(Stream::Stderr)),
            _ => Tail::WithinUnknown,
        };
        Some(Self {
            seq,
            process: ProcessId(process),
            started_ns,
            target,
            batch,
            region,
            length,
            place: Place { file: Identity { device, inode }, position, skipped },
            streams: PerStream {
                stdout: reach(out_from, out_to, out_bytes),
                stderr: reach(err_from, err_to, err_bytes),
            },
            tail,
            deadline,
            at_ns,
        })
    }
}

/// FNV-1a over words, never 0 for the zero words of an empty place.
fn check(words: &[u64]) -> u64 {
    words.iter().fold(0xcbf2_9ce4_8422_2325, |hash, word| (hash ^ word).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn reach() -> impl Strategy<Value = Reach> {
        (any::<u64>(), any::<u64>(), any::<u8>(), any::<u8>()).prop_map(|(from, to, before, previous)| Reach {
            from,
            to,
            before,
            previous,
        })
    }

    fn tail() -> impl Strategy<Value = Tail> {
        let within = |stream| move |id| Tail::Within(Source { process: ProcessId(id), stream });
        prop_oneof![
            Just(Tail::LineStart),
            Just(Tail::WithinUnknown),
            any::<u64>().prop_map(within(Stream::Stdout)),
            any::<u64>().prop_map(within(Stream::Stderr)),
        ]
    }

    proptest! {
        #[test]
        fn an_entry_survives_its_encoding_and_no_changed_byte_goes_unseen(
            words in prop::array::uniform12(any::<u64>()),
            streams in (reach(), reach()),
            tail in tail(),
            at in 0..8 * (WORDS + 1),
        ) {
            let [seq, process, started_ns, target, batch, region, length, device, inode, position, skipped, deadline] = words;
            let entry = Entry {
                seq: seq.max(1),
                process: ProcessId(process),
                started_ns,
                target,
                batch,
                region,
                length,
                place: Place { file: Identity { device, inode }, position, skipped },
                streams: PerStream { stdout: streams.0, stderr: streams.1 },
                tail,
                deadline,
                at_ns: seq ^ 1,
            };
            let mut encoded = entry.encode();
            prop_assert_eq!(Entry::decode(&encoded), Some(entry));
            encoded[at] ^= 0x10;
            prop_assert_eq!(Entry::decode(&encoded), None);
        }
    }

    #[test]
    fn an_empty_place_holds_nothing() {
        assert_eq!(Entry::decode(&[0; SIZE]), None);
    }
}
