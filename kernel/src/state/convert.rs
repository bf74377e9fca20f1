//! State files of released layouts, brought to the present one.
//!
//! A layout is converted into a new file that replaces the old one by rename(2): a core that is killed meanwhile leaves either
//! the old file or the new one.

use super::file::{CHUNK_SLOTS, HEADER_BYTES, LAYOUT, MAGIC, at};
use super::slot::{SLOT_WORDS, SLOT_WORDS_1};
use crate::instance::through;
use crate::limits::MAX_PROCESSES;
use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, Read, Write};
use std::os::fd::BorrowedFd;

/// The header's size, to read no more of a file that needs nothing.
const HEADER: u64 = 4096;

/// Bytes of a slot of layout 1, and what layout 2 adds to it.
const SLOT_BYTES_1: usize = SLOT_WORDS_1 * 8;
const ADDED: [u8; (SLOT_WORDS - SLOT_WORDS_1) * 8] = [0; (SLOT_WORDS - SLOT_WORDS_1) * 8];

/// The largest file that a core of layout 1 made. One that is larger is damaged, and left for its opening to refuse.
const MAX_BYTES: usize = HEADER_BYTES + 2 * MAX_PROCESSES * SLOT_BYTES_1;

/// Converts the file `name`, when it is of an older layout that this build reads.
pub fn convert(directory: BorrowedFd<'_>, name: &str) -> io::Result<()> {
    let mut file = File::open(through(directory, name))?;
    let mut header = Vec::new();
    Read::by_ref(&mut file).take(HEADER).read_to_end(&mut header)?;
    let size = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
    if !is_old(&header) || size > MAX_BYTES {
        return Ok(());
    }
    let header = header.first_chunk_mut::<HEADER_BYTES>().ok_or(ErrorKind::InvalidData)?;
    for (position, value) in [(at::LAYOUT, LAYOUT), (at::SLOT_BYTES, u64::try_from(SLOT_WORDS * 8).unwrap_or(0))] {
        let place = header.get_mut(position * 8..position * 8 + 8).ok_or(ErrorKind::InvalidData)?;
        place.copy_from_slice(&value.to_le_bytes());
    }
    let new = through(directory, &format!("{name}.new"));
    let mut converted = BufWriter::new(File::create(&new)?);
    converted.write_all(header)?;
    let mut chunk = vec![0; CHUNK_SLOTS * SLOT_BYTES_1];
    // A chunk that is not whole was never used.
    while read_whole(&mut file, &mut chunk)? {
        for slot in chunk.chunks_exact(SLOT_BYTES_1) {
            converted.write_all(slot)?;
            converted.write_all(&ADDED)?;
        }
    }
    converted.flush()?;
    std::fs::rename(new, through(directory, name))
}

/// `false`: the file ends before.
fn read_whole(file: &mut File, chunk: &mut [u8]) -> io::Result<bool> {
    match file.read_exact(chunk) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        read => read.map(|()| true),
    }
}

/// Magic and layout are the first two words.
fn is_old(header: &[u8]) -> bool {
    header.starts_with(&[MAGIC, 1].map(u64::to_le_bytes).concat())
}

#[cfg(test)]
mod tests {
    use crate::state::{Phase, StateError, StateFile};
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

    #[test]
    fn a_header_that_is_cut_off_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state");
        std::fs::write(&path, &LAYOUT_1[..2000]).unwrap();
        let at = std::fs::File::open(directory.path()).unwrap();
        let refused = StateFile::open(&at, "state", BOOT, 1).unwrap_err();
        assert!(matches!(refused, StateError::System { action: "converting it", .. }), "{refused}");
        assert_eq!(std::fs::read(&path).unwrap(), &LAYOUT_1[..2000]);
    }

    #[test]
    fn a_file_that_no_core_makes_is_left_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state");
        std::fs::write(&path, LAYOUT_1).unwrap();
        std::fs::File::options().write(true).open(&path).unwrap().set_len(1 << 40).unwrap();
        let at = std::fs::File::open(directory.path()).unwrap();
        let refused = StateFile::open(&at, "state", BOOT, 1).unwrap_err();
        assert!(matches!(refused, StateError::Size { found } if found == 1 << 40), "{refused}");
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 1 << 40);
    }
}
