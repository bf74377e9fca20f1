//! State files of released layouts, brought to the present one.
//!
//! A layout is converted into a new file that replaces the old one by rename(2): a core that is killed meanwhile leaves either
//! the old file or the new one.

use super::file::{CHUNK_SLOTS, HEADER_BYTES, LAYOUT, MAGIC, at};
use super::slot::{SLOT_WORDS, SLOT_WORDS_1};
use crate::instance::through;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::BorrowedFd;

/// The header's size, to read no more of a file that needs nothing.
const HEADER: u64 = 4096;

/// What is read of a file at most: twice what a core of layout 1 made. What lies behind it is nobody's.
const MAX_BYTES: u64 = 32 << 20;

/// Converts the file `name`, when it is of an older layout that this build reads.
pub fn convert(directory: BorrowedFd<'_>, name: &str) -> io::Result<()> {
    let mut file = File::open(through(directory, name))?;
    let mut bytes = Vec::new();
    Read::by_ref(&mut file).take(HEADER).read_to_end(&mut bytes)?;
    if !is_old(&bytes) {
        return Ok(());
    }
    Read::by_ref(&mut file).take(MAX_BYTES).read_to_end(&mut bytes)?;
    let converted = converted(&bytes).ok_or(io::ErrorKind::InvalidData)?;
    let new = through(directory, &format!("{name}.new"));
    File::create(&new)?.write_all(&converted)?;
    std::fs::rename(new, through(directory, name))
}

fn is_old(header: &[u8]) -> bool {
    word(header, at::MAGIC) == Some(MAGIC) && word(header, at::LAYOUT) == Some(1)
}

/// Layout 1 has slots of 64 words; the words that layout 2 adds behind them begin as zero.
fn converted(bytes: &[u8]) -> Option<Vec<u8>> {
    let (header, slots) = bytes.split_at_checked(HEADER_BYTES)?;
    let mut converted = header.to_vec();
    for (position, value) in [(at::LAYOUT, LAYOUT), (at::SLOT_BYTES, u64::try_from(SLOT_WORDS * 8).ok()?)] {
        converted.get_mut(position * 8..position * 8 + 8)?.copy_from_slice(&value.to_le_bytes());
    }
    let slots = slots.chunks_exact(SLOT_WORDS_1 * 8);
    let whole = slots.len() - slots.len() % CHUNK_SLOTS;
    for slot in slots.take(whole) {
        converted.extend_from_slice(slot);
        converted.resize(converted.len() + (SLOT_WORDS - SLOT_WORDS_1) * 8, 0);
    }
    Some(converted)
}

fn word(bytes: &[u8], position: usize) -> Option<u64> {
    let (_, rest) = bytes.split_at_checked(position * 8)?;
    rest.first_chunk::<8>().map(|word| u64::from_le_bytes(*word))
}

#[cfg(test)]
mod tests {
    use crate::state::{Phase, StateFile};
    use ringmaster_protocol::message::{ExitStatus, ProcessId};

    /// What a core of layout 1 left that was killed with one process running and one ended.
    const LAYOUT_1: &[u8] = include_bytes!("../../tests/data/state-layout-1");
    const BOOT: u64 = 11_911_791_411_069_624_284;

    #[test]
    fn layout_1_is_read() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("state"), LAYOUT_1).unwrap();
        let at = std::fs::File::open(directory.path()).unwrap();
        let mut ids = Vec::new();
        // The second time it is of the present layout.
        for _ in 0..2 {
            let mut state = StateFile::open(&at, "state", BOOT, 1).unwrap();
            assert_eq!(state.header().instance(), 615_706_455_431_396_178);
            let facts: Vec<_> = state.used().iter().map(|index| state.slot(*index).unwrap().facts().unwrap()).collect();
            let found: Vec<_> = facts.iter().map(|facts| (facts.id.0, facts.pid, facts.start_ticks)).collect();
            assert_eq!(found, [(1, 15450, 1_420_632), (2, 15533, 1_420_662)]);
            assert_eq!(facts[0].phase, Phase::Running);
            assert!(matches!(facts[1].phase, Phase::Exited(exit) if exit.status == ExitStatus::Code(1)));
            assert_eq!(state.slot(0).unwrap().end_of(15450), None);
            assert_eq!(state.header().deaths(), crate::state::Deaths::default());
            let (index, _) = state.take().unwrap();
            state.release(index);
            ids.push(state.header().draw_id());
        }
        assert_eq!(ids, [ProcessId(3), ProcessId(4)]);
    }
}
