//! Opening a state file of any size and content (`kernel/src/state/file.rs`): it is read, begun anew, or refused.
//!
//! A state file stays mapped for the life of its process, so a process stands only some thousands of rounds.

use super::bytes::Bytes;
use super::state::{read_header, read_slot};
use ringmaster_kernel::state::StateFile;
use std::fs::File;
use std::os::unix::fs::FileExt;

/// What an undamaged header begins with: magic, layout 2, slots of 640 bytes, instance, boot 1.
const SOUND: [u64; 5] = [u64::from_le_bytes(*b"RMSTATE\x01"), 2, 640, 42, 1];

/// The sizes that a file of two chunks may have been cut to, and some that no core makes.
const SIZES: [u64; 8] = [0, 100, 4096, 45_056, 86_016, 86_015, 5000, 1 << 40];

/// First byte: the size; then words with their places, over an undamaged header.
pub fn state_file(input: &[u8]) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = File::options().write(true).create_new(true).open(folder.path().join("state")).expect("the file");
    let mut input = Bytes::new(input);
    let size = SIZES[usize::from(input.u8() % 8)];
    let header: Vec<u8> = SOUND.iter().flat_map(|word| word.to_le_bytes()).collect();
    file.write_all_at(&header, 0).expect("writing the header");
    let patches = usize::from(input.u8() % 64);
    for _ in 0..patches {
        // The first 80 bytes are the header's words, the others lie in the slots.
        let place = u64::from(input.u16()) % 10_240;
        let at = if place < 16 { place * 8 } else { 4096 + place * 8 };
        file.write_all_at(&input.array::<8>(), at).expect("writing a word");
    }
    file.set_len(size).expect("cutting the file");
    let directory = File::open(folder.path()).expect("the folder");
    match StateFile::open(&directory, "state", 1, 43) {
        Err(refused) => assert!(!refused.to_string().is_empty()),
        Ok(mut state) => {
            read_header(&state);
            for index in state.used() {
                read_slot(state.slot(index).expect("a slot in use"), &mut input);
                state.release(index);
            }
            assert!(state.used().is_empty(), "released slots are in use");
            let (index, slot) = state.take().expect("a free slot");
            assert_eq!((state.used(), slot.facts()), (vec![index], None));
        }
    }
}
