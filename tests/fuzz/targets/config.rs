//! Configuration texts: the reader of lines, the expansion, and a whole file with its typed options (`manager/src/config`).

use super::bytes::Bytes;
use ringmaster_manager::config::{self, Document, expand, fnmatch, words};
use rustix::fs::MemfdFlags;
use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::{Mutex, PoisonError};

/// A file and one that it includes, parted by a NUL. Every entry has a line that exists and is found in its section.
pub fn ini(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let mut document = Document::default();
    let file: Arc<Path> = Arc::from(Path::new("circus.ini"));
    for part in text.splitn(2, '\0') {
        let lines = part.split(['\n', '\r']).count();
        for error in document.add(&file, part) {
            assert!(!error.to_string().is_empty());
        }
        assert!(document.repeats.iter().all(|repeat| repeat.place.line <= lines.max(text.len() + 1)));
    }
    for section in &document.sections {
        assert_eq!(document.section(&section.name).map(|found| &found.name), Some(&section.name));
        let items = document.items(section);
        for (index, item) in items.iter().enumerate() {
            let twice = items.iter().skip(index + 1).any(|other| other.entry.key == item.entry.key);
            assert!(!twice, "a key is there twice: {:?}", item.entry.key);
        }
    }
}

/// Variables, `$NAME`s, shell words and patterns in one text. Unknown names change nothing; a value is not expanded again.
pub fn expansion(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    assert_eq!(expand::expand(&text, &|_| None), text);
    let value = |name: &str| name.starts_with("env.").then(|| "$(circus.env.a)$A".to_owned());
    let expanded = expand::expand(&text, &value);
    assert!(expanded.len() <= text.len() * 2, "a variable is at least half as long as this value");
    let environment = BTreeMap::from([("A".to_owned(), "$A".to_owned())]);
    assert!(expand::substitute_names(&text, &environment).len() <= text.len());
    assert!(expand::expand_wid(&text, 3).len() <= text.len());
    if let Ok(found) = words::split(&text) {
        assert!(found.iter().map(String::len).sum::<usize>() <= text.len());
    }
    let (name, pattern) = text.split_at(text.char_indices().nth(text.chars().count() / 3).map_or(0, |(at, _)| at));
    fnmatch::matches(name, pattern);
    assert!(fnmatch::matches(name, "*"));
}

/// A file as `circusd --check` reads it. Includes are left out: they name files of this machine.
pub fn configuration(input: &[u8]) {
    /// The one file, written anew for each round.
    static FILE: Mutex<Option<File>> = Mutex::new(None);
    if Bytes::new(input).rest().windows(7).any(|window| window == b"include") {
        return;
    }
    let mut file = FILE.lock().unwrap_or_else(PoisonError::into_inner);
    let file = file.get_or_insert_with(memory_file);
    file.set_len(0).expect("emptying the file");
    file.write_all_at(input, 0).expect("writing the file");
    let environment = BTreeMap::from([("HOME".to_owned(), "/root".to_owned()), ("A".to_owned(), "1".to_owned())]);
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    match config::load(Path::new(&path), &environment) {
        Ok(config) => {
            assert!(config.watchers.is_sorted_by(|a, b| a.name <= b.name));
            assert!(!config::check::report(&config).is_empty());
        }
        Err(errors) => assert!(!errors.to_string().is_empty()),
    }
}

/// A file in memory, without a name.
pub fn memory_file() -> File {
    File::from(rustix::fs::memfd_create("fuzz", MemfdFlags::CLOEXEC).expect("a file in memory"))
}
