//! The slots of the state file, filled by somebody else (`kernel/src/state/slot.rs`), and the rings that are taken up from them.

use super::bytes::Bytes;
use ringmaster_kernel::core::Now;
use ringmaster_kernel::core::ring::{Remains, Ring};
use ringmaster_kernel::state::{Slot, StateFile};
use ringmaster_protocol::ring::{Record, Stream, StreamEntry};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};

/// Where the words of the header lie that a round overwrites: all but what says which file it is.
const HEADER_AT: u64 = 40;
const HEADER_WORDS: usize = 6;

/// Where the slots begin, and their size.
const SLOTS_AT: u64 = 4096;
const SLOT: usize = 640;

/// The first word of the two copies of a slot's facts, the words of a copy, and those that its checksum covers.
const COPIES: [usize; 2] = [24, 44];
const COPY: usize = 20;

/// A mapped state file, and the same file to write into. It stays mapped, so there is one for all rounds.
struct Mapped {
    state: StateFile,
    file: File,
    slot: usize,
}

static MAPPED: Mutex<Option<Mapped>> = Mutex::new(None);

/// Whether the checksums are put right; words of the header and of one slot with their places; entries of its process file.
pub fn state(input: &[u8]) {
    let mut mapped = MAPPED.lock().unwrap_or_else(PoisonError::into_inner);
    let mapped = mapped.get_or_insert_with(map);
    let mut input = Bytes::new(input);
    let choice = input.u8();
    let mut words = [0; HEADER_WORDS + SLOT / 8];
    for _ in 0..input.u8() {
        let place = usize::from(input.u8()) % words.len();
        words[place] = if input.one_in(2) { input.u64() } else { u64::from(input.u16()) };
    }
    let (header, words) = words.split_at_mut(HEADER_WORDS);
    mapped.file.write_all_at(&little_endian(header), HEADER_AT).expect("writing the header");
    for at in COPIES.into_iter().filter(|_| choice & 1 != 0) {
        words[at + COPY - 1] = checksum(&words[at..at + COPY - 1]);
    }
    let at = SLOTS_AT + u64::try_from(mapped.slot * SLOT).expect("a small number");
    mapped.file.write_all_at(&little_endian(words), at).expect("writing the slot");
    read_header(&mapped.state);
    let slot = mapped.state.slot(mapped.slot).expect("the slot was taken");
    read_slot(slot, &mut input);
}

fn little_endian(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn map() -> Mapped {
    let folder = tempfile::tempdir().expect("a folder");
    let directory = File::open(folder.path()).expect("the folder");
    let mut state = StateFile::open(&directory, "state", 1, 42).expect("a state file");
    let (slot, _) = state.take().expect("a slot");
    let file = File::options().write(true).open(folder.path().join("state")).expect("the file");
    Mapped { state, file, slot }
}

/// FNV-1a over the words with the lowest bit set: the layout's checksum, which a hostile file gets right.
fn checksum(words: &[u64]) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    little_endian(words).into_iter().fold(0xcbf2_9ce4_8422_2325, step) | 1
}

/// What the core reads of the header when it starts, and what it draws from it.
pub fn read_header(state: &StateFile) {
    let header = state.header();
    let (epoch, leased, grace_ms) = header.lease();
    let first = header.draw_id();
    assert!(header.draw_id() >= first && first.0 > 0);
    header.set_lease(epoch, leased, grace_ms);
    header.set_lost(header.lost());
    assert_eq!(header.lease(), (epoch, leased, grace_ms));
}

/// What recovery reads of a slot; then the slot is used as if it were sound.
pub fn read_slot(slot: Slot, input: &mut Bytes<'_>) {
    let facts = slot.facts();
    for stream in Stream::ALL {
        let entry = input.entry();
        if entry.is_sound() && entry.capacity > 0 {
            recover(slot, stream, &entry, input);
        }
    }
    slot.publish(facts.as_ref());
    assert_eq!(slot.facts(), facts, "what was read is not what is published");
    slot.publish(None);
    assert_eq!(slot.facts(), None);
    slot.reset();
    assert_eq!(slot.seq().load(Ordering::Relaxed), 0);
}

/// As `kernel/src/shell/recover.rs` does.
fn recover(slot: Slot, stream: Stream, entry: &StreamEntry, input: &mut Bytes<'_>) {
    let words = slot.stream(stream);
    let remains = Remains {
        acked: words.acked().load(Ordering::Relaxed),
        lost: words.lost().load(Ordering::Relaxed),
        head: words.head(entry.data_at, entry.capacity),
        header_low: entry.low,
        first_record: words.first_record().load(Ordering::Relaxed),
        records: words.records().load(Ordering::Relaxed),
    };
    let record = Record { offset: input.u64(), ..Record::default() };
    let read = |number: u64| {
        (!number.is_multiple_of(3)).then(|| Record { offset: record.offset.wrapping_add(number), ..record })
    };
    let ring = Ring::recover(entry.capacity, entry.records.min(4096), remains, Now::default(), read);
    assert!(ring.low() <= ring.head(), "{ring:?}");
    assert!(ring.head() - ring.low() <= entry.capacity, "more bytes than places: {ring:?}");
    assert!(ring.records() - ring.first_record() <= entry.records.min(4096), "more records than places: {ring:?}");
    words.position(entry.data_at, entry.capacity);
}
