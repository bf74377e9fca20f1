//! Root's policy file: which other users may use root's core, and for what. It is read anew whenever one of them connects, so
//! there is nothing to reload. A file that is not exactly right lets nobody in.

use crate::core::Right;
use rustix::fs::{CWD, FileType, Mode, OFlags};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Where it is, unless `--policy` says otherwise.
pub const POLICY: &str = "/etc/circus/papa.policy";

/// Bytes of the file: a thousand users, and still read in a moment.
const MAX_BYTES: u64 = 16 << 10;

/// The roles by their names in the file.
const ROLES: &[(&str, Right)] = &[("observe", Right::Observe), ("spawn", Right::Spawn), ("operate", Right::Operate)];

/// Why the file lets nobody in.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// It cannot be read.
    #[error("{}: {source}", path.display())]
    System {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others than root could write it.
    #[error("{}: owned by user {owner} with mode {mode:o}; expected a file of root that nobody else can write", path.display())]
    Unsafe {
        /// The file.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// Its mode.
        mode: u32,
    },
    /// It is too long.
    #[error("{}: more than {MAX_BYTES} bytes", path.display())]
    Long {
        /// The file.
        path: PathBuf,
    },
    /// A line that means nothing.
    #[error("{}:{number}: {text:?}; expected UID ROLE, with one of observe, spawn, operate, and each user once", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Which line, from 1.
        number: usize,
        /// As it is there.
        text: String,
    },
}

/// Users and their rights; none when there is no file.
///
/// # Errors
/// See [`PolicyError`].
pub fn read(path: &Path) -> Result<BTreeMap<u32, Right>, PolicyError> {
    let fail = |source| PolicyError::System { path: path.to_owned(), source };
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::openat(CWD, path, flags, Mode::empty()) {
        Ok(file) => file,
        Err(rustix::io::Errno::NOENT) => return Ok(BTreeMap::new()),
        Err(errno) => return Err(fail(errno.into())),
    };
    let stat = rustix::fs::fstat(&file).map_err(|errno| fail(errno.into()))?;
    let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    if !is_file || stat.st_uid != 0 || stat.st_mode & 0o022 != 0 {
        let mode = stat.st_mode & 0o7777;
        return Err(PolicyError::Unsafe { path: path.to_owned(), owner: stat.st_uid, mode });
    }
    let mut text = String::new();
    let bytes = File::from(file).take(MAX_BYTES + 1).read_to_string(&mut text).map_err(fail)?;
    if u64::try_from(bytes).unwrap_or(u64::MAX) > MAX_BYTES {
        return Err(PolicyError::Long { path: path.to_owned() });
    }
    parse(&text).map_err(|(number, text)| PolicyError::Line { path: path.to_owned(), number, text })
}

/// `UID ROLE` a line; empty lines and those that begin with `#` mean nothing. The error is the first wrong line.
fn parse(text: &str) -> Result<BTreeMap<u32, Right>, (usize, String)> {
    let mut rights = BTreeMap::new();
    for (number, line) in (1..).zip(text.lines()) {
        let mut words = line.split_whitespace();
        let (user, role) = match (words.next(), words.next(), words.next()) {
            (None, ..) => continue,
            (Some(first), ..) if first.starts_with('#') => continue,
            (Some(user), Some(role), None) => (user.parse::<u32>().ok(), ROLES.iter().find(|(name, _)| *name == role)),
            (Some(_), ..) => (None, None),
        };
        let known = user.zip(role).map(|(user, (_, right))| rights.insert(user, *right));
        if known != Some(None) {
            return Err((number, line.to_owned()));
        }
    }
    Ok(rights)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_line_is_a_number_and_a_role() {
        let rights = parse("# who\n\n1000 observe\n  33\toperate\n4294967294 spawn").unwrap();
        let expected = [(33, Right::Operate), (1000, Right::Observe), (4_294_967_294, Right::Spawn)];
        assert_eq!(rights.into_iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn anything_else_is_an_error_with_its_line() {
        for (text, number) in [
            ("web observe", 1),
            ("-1 observe", 1),
            ("1000", 1),
            ("1 observe\n1000 root", 2),
            ("1000 observe # me", 1),
            ("1000 Observe", 1),
            ("1 observe\n\n1 spawn", 3),
        ] {
            assert_eq!(parse(text).unwrap_err().0, number, "{text}");
        }
    }

    #[test]
    fn no_file_means_nobody() {
        let folder = tempfile::tempdir().unwrap();
        assert!(read(&folder.path().join("policy")).unwrap().is_empty());
        let error = read(folder.path()).unwrap_err().to_string();
        assert!(error.contains("expected a file of root"), "{error}");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "([0-9]{1,11}|observe|spawn|#|\\PC|[ \t\n]){0,20}") {
            let _ = parse(&text);
        }
    }
}
