//! One slot: 80 words of shared memory for one process.

use super::facts::{Facts, Phase, WORDS};
use ringmaster_protocol::message::{ExitStatus, Rusage};
use ringmaster_protocol::ring::Stream;
use std::sync::atomic::{AtomicU64, Ordering, fence};

/// Words of a slot.
pub(super) const SLOT_WORDS: usize = 80;

/// Words of a slot of layout 1, which are the first ones here.
pub(super) const SLOT_WORDS_1: usize = 64;

const PID: usize = 0;
const PIDFD: usize = 1;
const FAILURE: usize = 2;
const SELECTOR: usize = 3;
const STREAMS: usize = 4;
const STREAM_WORDS: usize = 8;
const SEQ: usize = 20;
const COPIES: usize = 24;
const COPY_WORDS: usize = WORDS + 1;
const END: usize = 64;
const END_WORDS: usize = 5;

const _: () = assert!(COPIES + 2 * COPY_WORDS <= SLOT_WORDS_1);
const _: () = assert!(END + END_WORDS <= SLOT_WORDS);
const _: () = assert!(STREAMS + 2 * STREAM_WORDS <= SEQ);

/// Bits of the word that seals the keeper's note; the low half is the pid.
const END_SET: u32 = 63;
const END_KIND: u32 = 48;
const END_VALUE: u32 = 32;

/// How a process ended, as its parent saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// Exit status or signal.
    pub status: ExitStatus,
    /// What it used.
    pub rusage: Rusage,
    /// Nanoseconds since the Unix epoch.
    pub realtime_ns: u64,
}

/// A view of one slot.
#[derive(Debug, Clone, Copy)]
pub struct Slot {
    words: &'static [AtomicU64; SLOT_WORDS],
}

impl Slot {
    pub(super) fn new(words: &'static [AtomicU64; SLOT_WORDS]) -> Self {
        Self { words }
    }

    /// Where clone3 writes the pid.
    pub fn pid(self) -> &'static AtomicU64 {
        self.word::<PID>()
    }

    /// The last process that was made in it, whatever became of that.
    pub fn last_pid(self) -> Option<i32> {
        let low = u32::try_from(self.pid().load(Ordering::Acquire) & 0xffff_ffff).ok()?;
        Some(low.cast_signed()).filter(|pid| *pid != 0)
    }

    /// Whether its last process has that pid and has not ended as far as the slot says.
    pub fn is_of(self, pid: i32) -> bool {
        let open = |facts: Facts| !matches!(facts.phase, Phase::Exited(_));
        self.last_pid() == Some(pid) && self.facts().is_some_and(open)
    }

    /// Where clone3 writes the pidfd.
    pub fn pidfd(self) -> &'static AtomicU64 {
        self.word::<PIDFD>()
    }

    /// Where the child writes what kept it from its program.
    pub fn failure(self) -> &'static AtomicU64 {
        self.word::<FAILURE>()
    }

    /// The number of the next record of either stream, in order of arrival.
    pub fn seq(self) -> &'static AtomicU64 {
        self.word::<SEQ>()
    }

    /// The words of a stream.
    pub fn stream(self, stream: Stream) -> StreamWords {
        match stream {
            Stream::Stdout => StreamWords { words: self.part::<STREAMS, STREAM_WORDS>() },
            Stream::Stderr => StreamWords { words: self.part::<{ STREAMS + STREAM_WORDS }, STREAM_WORDS>() },
        }
    }

    /// The keeper's note of how process `pid`, the last one of this slot, ended: the kernel half reads it at leisure.
    pub fn end_of(self, pid: i32) -> Option<End> {
        let [seal, at, user, system, rss] = self.part::<END, END_WORDS>();
        let word = seal.load(Ordering::Acquire);
        let noted = u32::try_from(word & 0xffff_ffff).ok()?.cast_signed();
        if word >> END_SET == 0 || noted != pid {
            return None;
        }
        let value = i32::try_from(word >> END_VALUE & 0xffff).ok()?;
        let status = match word >> END_KIND & 3 {
            1 => ExitStatus::Code(value),
            2 => ExitStatus::Signal(value),
            _ => ExitStatus::Unknown,
        };
        let usage = [user, system, rss].map(|word| word.load(Ordering::Acquire));
        let [user_us, system_us, max_rss_kib] = usage;
        let rusage = Rusage { user_us, system_us, max_rss_kib };
        Some(End { status, rusage, realtime_ns: at.load(Ordering::Acquire) })
    }

    /// Notes how process `pid` ended. The word that makes it valid names the pid and comes last, so that a note that is cut
    /// short, or that belongs to an earlier process of the slot, is not read.
    pub fn note_end(self, pid: i32, end: &End) {
        let (kind, value) = match end.status {
            ExitStatus::Code(code) => (1, code),
            ExitStatus::Signal(signal) => (2, signal),
            ExitStatus::Unknown => (3, 0),
        };
        let [seal, at, user, system, rss] = self.part::<END, END_WORDS>();
        seal.store(0, Ordering::Release);
        at.store(end.realtime_ns, Ordering::Release);
        user.store(end.rusage.user_us, Ordering::Release);
        system.store(end.rusage.system_us, Ordering::Release);
        rss.store(end.rusage.max_rss_kib, Ordering::Release);
        let value = u64::try_from(value & 0xffff).unwrap_or(0);
        let pid = u64::from(pid.cast_unsigned());
        seal.store(1 << END_SET | kind << END_KIND | value << END_VALUE | pid, Ordering::Release);
    }

    /// What the slot says, or `None` when it is free or neither copy has its checksum.
    pub fn facts(self) -> Option<Facts> {
        let generation = self.word::<SELECTOR>().load(Ordering::Acquire);
        let words = read(self.copy(generation)).or_else(|| read(self.copy(generation.wrapping_add(1))))?;
        Facts::decode(&words)
    }

    /// Replaces the facts; `None` frees the slot. Whenever the process is killed, either the old or the new ones are
    /// there.
    pub fn publish(self, facts: Option<&Facts>) {
        let selector = self.word::<SELECTOR>();
        let next = selector.load(Ordering::Relaxed).wrapping_add(1);
        let encoded = Facts::encode(facts);
        let checksum = checksum(&encoded);
        for (word, value) in self.copy(next).iter().zip(encoded.into_iter().chain([checksum])) {
            word.store(value, Ordering::Relaxed);
        }
        fence(Ordering::Release);
        selector.store(next, Ordering::Release);
    }

    /// Zeroes everything that belongs to one process, before the slot is given to the next.
    pub fn reset(self) {
        let before_copies = self.part::<0, COPIES>();
        let around = before_copies.iter().enumerate().filter(|(index, _)| *index != SELECTOR).map(|(_, word)| word);
        for word in around.chain(self.part::<END, END_WORDS>()) {
            word.store(0, Ordering::Relaxed);
        }
        fence(Ordering::Release);
    }

    fn copy(self, generation: u64) -> &'static [AtomicU64; COPY_WORDS] {
        if generation & 1 == 0 {
            self.part::<COPIES, COPY_WORDS>()
        } else {
            self.part::<{ COPIES + COPY_WORDS }, COPY_WORDS>()
        }
    }

    fn word<const AT: usize>(self) -> &'static AtomicU64 {
        const { assert!(AT < SLOT_WORDS) };
        #[allow(clippy::indexing_slicing, reason = "AT is checked when this is compiled")]
        &self.words[AT]
    }

    fn part<const AT: usize, const N: usize>(self) -> &'static [AtomicU64; N] {
        const { assert!(AT + N <= SLOT_WORDS) };
        let (_, rest) = self.words.split_at(AT);
        let (part, _) = rest.split_at(N);
        // The length is N by the assertion above; the fallback is never taken and still valid.
        part.try_into().unwrap_or_else(|_| Self::nothing::<N>())
    }

    fn nothing<const N: usize>() -> &'static [AtomicU64; N] {
        Box::leak(Box::new([const { AtomicU64::new(0) }; N]))
    }
}

fn read(copy: &[AtomicU64; COPY_WORDS]) -> Option<[u64; WORDS]> {
    let (body, rest) = copy.split_first_chunk::<WORDS>()?;
    let words = body.each_ref().map(|word| word.load(Ordering::Relaxed));
    let stored = rest.first()?.load(Ordering::Relaxed);
    (stored == checksum(&words)).then_some(words)
}

/// FNV-1a over the words, never 0: a page of zeroes is not a valid copy. Recovery computes it several times for each process.
fn checksum(words: &[u64; WORDS]) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for word in words {
        for byte in word.to_le_bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
    }
    hash | 1
}

/// How far one stream has come, a word for each fact, so that each change is one store.
///
/// `head` is not stored but derived from what splice(2) advances: `base · capacity + (position[base & 1] − data_at)`. `low`
/// is not stored either: it is `acked + lost`.
#[derive(Debug, Clone, Copy)]
pub struct StreamWords {
    words: &'static [AtomicU64; STREAM_WORDS],
}

impl StreamWords {
    /// The two file positions, used in turn; splice advances the one of the present lap.
    fn positions(self) -> [&'static AtomicU64; 2] {
        let [first, second, ..] = self.words;
        [first, second]
    }

    /// Completed laps of the ring.
    fn base(self) -> &'static AtomicU64 {
        let [_, _, base, ..] = self.words;
        base
    }

    /// Bytes acknowledged.
    pub fn acked(self) -> &'static AtomicU64 {
        let [_, _, _, acked, ..] = self.words;
        acked
    }

    /// Bytes dropped.
    pub fn lost(self) -> &'static AtomicU64 {
        let [_, _, _, _, lost, ..] = self.words;
        lost
    }

    /// The number of the next record.
    pub fn records(self) -> &'static AtomicU64 {
        let [_, _, _, _, _, records, ..] = self.words;
        records
    }

    /// A record at or before the one that covers `low`, whose place has not been used again.
    pub fn first_record(self) -> &'static AtomicU64 {
        let [_, _, _, _, _, _, first, _] = self.words;
        first
    }

    /// 1 when the pipe has come to its end.
    pub fn ended(self) -> &'static AtomicU64 {
        let [.., ended] = self.words;
        ended
    }

    /// Starts the first lap of a ring whose data region lies at `data_at`.
    pub fn begin(self, data_at: u64) {
        for position in self.positions() {
            position.store(data_at, Ordering::Release);
        }
    }

    /// The word for splice in this lap. When the lap is complete the next begins first: the other word is set, then
    /// `base` makes it the current one, so that `head` is the same before and after.
    pub fn position(self, data_at: u64, capacity: u64) -> &'static AtomicU64 {
        let base = self.base().load(Ordering::Acquire);
        let current = self.lap(base);
        if current.load(Ordering::Acquire) < data_at + capacity {
            return current;
        }
        let after = base.wrapping_add(1);
        let next = self.lap(after);
        next.store(data_at, Ordering::Release);
        self.base().store(after, Ordering::Release);
        next
    }

    /// The offset of the next byte.
    pub fn head(self, data_at: u64, capacity: u64) -> u64 {
        let base = self.base().load(Ordering::Acquire);
        let inside = self.lap(base).load(Ordering::Acquire).saturating_sub(data_at);
        base.saturating_mul(capacity).saturating_add(inside)
    }

    fn lap(self, base: u64) -> &'static AtomicU64 {
        let [even, odd] = self.positions();
        if base & 1 == 0 { even } else { odd }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringmaster_protocol::message::ProcessId;

    fn slot() -> Slot {
        Slot::new(Slot::nothing())
    }

    fn facts(id: u64) -> Facts {
        Facts {
            id: ProcessId(id),
            phase: Phase::Running,
            pid: 1,
            start_ticks: 2,
            started_ns: 3,
            opened_ns: 4,
            pipes: [0, 0],
        }
    }

    #[test]
    fn a_torn_copy_leaves_the_one_before() {
        let slot = slot();
        assert_eq!(slot.facts(), None);
        slot.publish(Some(&facts(1)));
        slot.publish(Some(&facts(2)));
        assert_eq!(slot.facts(), Some(facts(2)));
        // A writer that was killed in the middle of the next publication:
        slot.copy(slot.word::<SELECTOR>().load(Ordering::Relaxed) + 1)[1].store(99, Ordering::Relaxed);
        assert_eq!(slot.facts(), Some(facts(2)));
        slot.publish(None);
        assert_eq!(slot.facts(), None);
    }

    #[test]
    fn a_note_of_an_end_is_of_one_process() {
        let slot = slot();
        let rusage = Rusage { user_us: u64::MAX, system_us: 2, max_rss_kib: 3 };
        for status in [ExitStatus::Code(255), ExitStatus::Signal(64), ExitStatus::Unknown] {
            let end = End { status, rusage, realtime_ns: 9 };
            slot.note_end(4711, &end);
            assert_eq!(slot.end_of(4711), Some(end));
            assert_eq!(slot.end_of(4712), None);
        }
        slot.reset();
        assert_eq!(slot.end_of(4711), None);
    }

    #[test]
    fn a_lap_keeps_the_head() {
        let words = slot().stream(Stream::Stderr);
        words.begin(1000);
        assert_eq!(words.head(1000, 100), 0);
        for lap in 0..5 {
            let position = words.position(1000, 100);
            assert_eq!(position.load(Ordering::Relaxed), 1000);
            assert_eq!(words.head(1000, 100), lap * 100);
            position.store(1100, Ordering::Relaxed);
            assert_eq!(words.head(1000, 100), lap * 100 + 100);
        }
    }
}
