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

/// Converts the file `name`, when it is of an older layout that this build reads.
pub fn convert(directory: BorrowedFd<'_>, name: &str) -> io::Result<()> {
    let mut file = File::open(through(directory, name))?;
    let mut bytes = Vec::new();
    Read::by_ref(&mut file).take(HEADER).read_to_end(&mut bytes)?;
    if !is_old(&bytes) {
        return Ok(());
    }
    file.read_to_end(&mut bytes)?;
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
