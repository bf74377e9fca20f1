//! Rotation: where a file ends, and the chain of old files of rotation by size (spec h). [`super::schedule`] has what goes by time.
//!
//! Circus compares before each chunk of at most 1 KiB; here whole lines are compared, so that no line is split over
//! two files unless it is longer than a file may be.

use super::compression::names;
use super::failpoint::{self, Failpoint};
use super::schedule::Schedule;
use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// How far a line that began in a file may go beyond `max_bytes` to be finished there.
const LINE_SLACK: usize = 64 << 10;

/// When to rotate and what to keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Rotation {
    /// Not at all.
    Never,
    /// Before a file grows too large.
    BySize {
        /// A file stays below this many bytes.
        max_bytes: u64,
        /// Old files that are kept; 0: none is made and the file grows on (spec h).
        backup_count: u32,
    },
    /// At the first write after a deadline.
    ByTime(Schedule),
}

impl Rotation {
    /// Where an old file stands among the others, by what follows the name of the log and a dot: the younger the larger. `None`:
    /// it is none of ours.
    pub(super) fn order(&self, suffix: &str) -> Option<(String, u32)> {
        match self {
            Self::Never => None,
            Self::BySize { .. } => {
                let number: u32 = suffix.parse().ok().filter(|number| *number > 0)?;
                (suffix == number.to_string()).then(|| (String::new(), u32::MAX - number))
            }
            Self::ByTime(schedule) => schedule.order(suffix).map(|(date, number)| (date.to_owned(), number)),
        }
    }
}

/// How many of `bytes` still go into a file of `size` bytes; 0: it has to be rotated first. Never 0 for an empty file.
pub(super) fn cut(bytes: &[u8], size: u64, max_bytes: u64, line_start: bool) -> usize {
    let room = usize::try_from(max_bytes.saturating_sub(1).saturating_sub(size)).unwrap_or(usize::MAX);
    if bytes.len() <= room {
        return bytes.len();
    }
    let head = bytes.get(..room).unwrap_or(bytes);
    if let Some(newline) = head.iter().rposition(|byte| *byte == b'\n') {
        return newline + 1;
    }
    if size > 0 && line_start {
        return 0;
    }
    let near = bytes.get(..room.saturating_add(LINE_SLACK)).unwrap_or(bytes);
    match near.iter().position(|byte| *byte == b'\n') {
        Some(newline) => newline + 1,
        None if size > 0 && room == 0 => 0,
        None => room.max(1).min(bytes.len()),
    }
}

/// How many of `bytes` still go into a file whose time is over: the rest of a line that began there, if its end is near.
pub(super) fn finish_line(bytes: &[u8], line_start: bool) -> usize {
    if line_start {
        return 0;
    }
    let near = bytes.get(..LINE_SLACK).unwrap_or(bytes);
    let newline = near.iter().position(|byte| *byte == b'\n');
    newline.map_or(0, |newline| newline + 1)
}

/// `path.N`.
fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(format!(".{number}"));
    PathBuf::from(name)
}

/// Moves `path` to `path.1`, after `path.1` to `path.2` and so on up to the first number that is free; with none free the
/// oldest is removed first. Compressed files move with the others. Broken off at any step, the next call finds the gap that
/// was left and goes on from there. Numbers above `backup_count` are left alone.
pub(super) fn shift(path: &Path, backup_count: u32) -> std::io::Result<()> {
    let all = |number: u32| names(&numbered(path, number)).collect::<Vec<_>>();
    let taken = |number: u32| all(number).iter().any(|path| path.symlink_metadata().is_ok());
    let free = (1..=backup_count).find(|number| !taken(*number));
    if free.is_none() {
        for oldest in all(backup_count) {
            failpoint::hit(Failpoint::Rename);
            match std::fs::remove_file(oldest) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
    }
    for number in (1..free.unwrap_or(backup_count)).rev() {
        for (from, to) in all(number).iter().zip(all(number + 1)) {
            rename_if_there(from, &to)?;
        }
    }
    rename_if_there(path, &numbered(path, 1))
}

fn rename_if_there(from: &Path, to: &Path) -> std::io::Result<()> {
    failpoint::hit(Failpoint::Rename);
    match std::fs::rename(from, to) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs;

    fn listing(directory: &Path) -> Vec<(String, String)> {
        let mut found: Vec<(String, String)> = fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|entry| {
                let name = entry.file_name().into_string().unwrap();
                (name, fs::read_to_string(entry.path()).unwrap())
            })
            .collect();
        found.sort();
        found
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn the_chain_moves_on_and_drops_the_oldest() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        for text in ["a", "b", "c", "d"] {
            fs::write(&path, text).unwrap();
            shift(&path, 3).unwrap();
        }
        assert_eq!(listing(directory.path()), pairs(&[("log.1", "d"), ("log.2", "c"), ("log.3", "b")]));
    }

    /// The chain is broken off after each possible number of renames and then done again: nothing but the oldest is lost.
    #[test]
    fn a_chain_that_was_broken_off_is_finished_by_the_next() {
        for renames_done in 0..3 {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("log");
            fs::write(&path, "new").unwrap();
            fs::write(numbered(&path, 1), "1").unwrap();
            fs::write(numbered(&path, 2), "2").unwrap();
            let steps = [(numbered(&path, 2), numbered(&path, 3)), (numbered(&path, 1), numbered(&path, 2))];
            for (from, to) in steps.iter().take(renames_done) {
                fs::rename(from, to).unwrap();
            }
            shift(&path, 3).unwrap();
            let expected = pairs(&[("log.1", "new"), ("log.2", "1"), ("log.3", "2")]);
            assert_eq!(listing(directory.path()), expected, "after {renames_done} renames");
        }
    }

    #[test]
    fn a_file_ends_at_a_line_end_when_there_is_one() {
        assert_eq!(cut(b"aa\nbb\n", 0, 100, true), 6);
        assert_eq!(cut(b"aa\nbb\n", 95, 100, true), 3);
        assert_eq!(cut(b"aa\nbb\n", 98, 100, true), 0);
        assert_eq!(cut(b"aa\nbb\n", 98, 100, false), 3);
        assert_eq!(cut(b"aa\nbb\n", 200, 100, true), 0);
        assert_eq!(cut(&[b'x'; 300], 0, 100, true), 99);
        assert_eq!(cut(&[b'x'; 300], 99, 100, false), 0);
    }

    proptest! {
        #[test]
        fn an_empty_file_always_takes_something(
            bytes in prop::collection::vec(prop_oneof![Just(b'\n'), Just(b'x')], 1..50),
            max in 1u64..60,
            line_start: bool,
        ) {
            let taken = cut(&bytes, 0, max, line_start);
            prop_assert!(taken > 0 && taken <= bytes.len());
        }
    }
}
