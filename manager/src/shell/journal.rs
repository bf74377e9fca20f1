//! The journal of events as a file in the instance's directory, beside the core's own files.
//!
//! It is there for the next circusd, not for the next boot: bytes that write(2) has taken survive SIGKILL, and the
//! directory is usually in memory anyway. It cannot be written: then circusd runs without one and says so once.

use crate::arbiter::{Chronicle, JournalWrite};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Its name in the instance's directory.
const NAME: &str = "events";

/// What it is called until it is whole.
const NEW: &str = "events.new";

/// The most that is read at the start: twice what a chronicle lets it become.
const MAX_READ: u64 = 4 << 20;

/// An open journal.
#[derive(Debug)]
pub struct Journal {
    directory: PathBuf,
    file: Option<File>,
    complained: bool,
}

impl Journal {
    /// The journal in this directory, and what an earlier circusd has written.
    pub fn open(directory: &Path) -> (Self, Chronicle) {
        let path = directory.join(NAME);
        let read = File::open(&path).and_then(|file| {
            let mut bytes = Vec::new();
            io::Read::read_to_end(&mut io::Read::take(file, MAX_READ), &mut bytes).map(|_| bytes)
        });
        let bytes = match read {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => {
                tracing::warn!("{}: {error}; events of an earlier circusd are not known", path.display());
                Vec::new()
            }
        };
        let journal = Self { directory: directory.to_owned(), file: None, complained: false };
        (journal, Chronicle::load(&bytes))
    }

    /// Writes, or says once that it cannot.
    pub fn write(&mut self, write: JournalWrite) {
        let written = match (&write, &mut self.file) {
            (JournalWrite::Append(lines), Some(file)) => file.write_all(lines),
            // After a failure: what follows makes no whole, but is better than nothing.
            (JournalWrite::Append(lines), None) => self.anew(lines),
            (JournalWrite::Anew(lines), _) => self.anew(lines),
        };
        if let Err(error) = written {
            self.file = None;
            if !std::mem::replace(&mut self.complained, true) {
                let path = self.directory.join(NAME);
                tracing::warn!("{}: {error}; events would not survive a crash of circusd", path.display());
            }
        }
    }

    /// A new file in the place of the old one, which stays until the new one is whole.
    fn anew(&mut self, lines: &[u8]) -> io::Result<()> {
        let new = self.directory.join(NEW);
        let mut file = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(lines)?;
        fs::rename(&new, self.directory.join(NAME))?;
        self.file = Some(file);
        Ok(())
    }

    /// An orderly end: the next circusd begins anew.
    pub fn remove(self) {
        let path = self.directory.join(NAME);
        if let Err(error) = fs::remove_file(&path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!("{}: {error}", path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_replaced_as_a_whole_and_then_grows() {
        let directory = tempfile::tempdir().unwrap();
        let (mut journal, _) = Journal::open(directory.path());
        let read = || fs::read_to_string(directory.path().join(NAME)).unwrap();
        journal.write(JournalWrite::Anew(b"a\n".to_vec()));
        journal.write(JournalWrite::Append(b"b\n".to_vec()));
        assert_eq!(read(), "a\nb\n");
        journal.write(JournalWrite::Anew(b"c\n".to_vec()));
        journal.write(JournalWrite::Append(b"d\n".to_vec()));
        assert_eq!(read(), "c\nd\n");
        journal.remove();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_directory_that_is_not_there_costs_only_the_journal() {
        let directory = tempfile::tempdir().unwrap();
        let (mut journal, _) = Journal::open(&directory.path().join("gone"));
        journal.write(JournalWrite::Anew(b"a\n".to_vec()));
        journal.write(JournalWrite::Append(b"b\n".to_vec()));
        assert!(journal.complained);
        journal.remove();
    }
}
