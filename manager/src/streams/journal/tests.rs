//! What a killed circusd leaves, and what the next one reads of it.

use super::*;
use ringmaster_protocol::ring::Stream::{Stderr, Stdout};

const TARGET: u64 = 77;
const FILE: Identity = Identity { device: 1, inode: 2 };
const AT: (Option<i64>, u64) = (Some(1_000), 5);

fn commit(process: u64, from: u64, to: u64) -> Commit {
    let step = Step { from, before: b'a', offset: to, previous: b'\n', record: None, lost: None };
    let steps = PerStream { stdout: Some(step), stderr: None };
    Commit { process: ProcessId(process), steps, tail: Tail::LineStart }
}

fn place(position: u64) -> Place {
    Place { file: FILE, position, skipped: 0 }
}

struct Rig {
    directory: tempfile::TempDir,
}

impl Rig {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn open(&self) -> Journal {
        Journal::open_when_free(self.directory.path())
    }
}

fn begun(journal: &mut Journal, commit: &Commit, bytes: &[u8]) -> Batch {
    journal.attach(commit.process, 9);
    let mut batch = journal.begin(commit, TARGET, bytes, true).unwrap();
    journal.place(&mut batch, commit, place(100), AT).unwrap();
    batch
}

#[test]
fn a_batch_under_way_is_found_and_its_streams_have_not_moved() {
    let rig = Rig::new();
    let mut journal = rig.open();
    begun(&mut journal, &commit(1, 10, 20), b"0123456789");
    drop(journal);
    let mut journal = rig.open();
    assert_eq!(journal.attach(ProcessId(1), 9).stdout.unwrap().offset, 10);
    let [found] = &journal.take_unfinished(TARGET)[..] else { panic!("not one") };
    assert_eq!(
        (found.bytes.as_slice(), found.place, found.deadline),
        (b"0123456789".as_slice(), place(100), Some(1_000))
    );
    assert_eq!(found.commit.steps.stdout.unwrap().offset, 20);
    let (batch, done) = (found.batch, found.commit.clone());
    assert!(journal.take_unfinished(TARGET).is_empty());
    journal.settle(batch, &done, 6).unwrap();
    drop(journal);
    let mut journal = rig.open();
    assert!(journal.take_unfinished(TARGET).is_empty());
    let position = journal.attach(ProcessId(1), 9).stdout.unwrap();
    assert_eq!((position.offset, position.previous), (20, b'\n'));
}

#[test]
fn a_batch_that_is_settled_tells_where_its_file_ended() {
    let rig = Rig::new();
    let mut journal = rig.open();
    let done = commit(1, 0, 10);
    let batch = begun(&mut journal, &done, b"0123456789");
    journal.settle(batch, &done, 6).unwrap();
    drop(journal);
    let end = rig.open().end(TARGET).unwrap();
    assert_eq!(end, End { file: FILE, size: 110, tail: Tail::LineStart, deadline: Some(1_000) });
    assert_eq!(rig.open().end(TARGET + 1), None);
}

#[test]
fn bytes_of_a_batch_without_its_entry_do_not_count() {
    let rig = Rig::new();
    let mut journal = rig.open();
    let first = commit(1, 0, 10);
    let batch = begun(&mut journal, &first, b"0123456789");
    journal.settle(batch, &first, 6).unwrap();
    journal.begin(&commit(1, 10, 20), TARGET, b"9876543210", true).unwrap();
    drop(journal);
    let mut journal = rig.open();
    assert!(journal.take_unfinished(TARGET).is_empty());
    assert_eq!(journal.attach(ProcessId(1), 9).stdout.unwrap().offset, 10);
}

#[test]
fn a_batch_withdrawn_leaves_everything_as_it_was() {
    let rig = Rig::new();
    let mut journal = rig.open();
    let first = commit(1, 0, 10);
    let batch = begun(&mut journal, &first, b"0123456789");
    journal.settle(batch, &first, 6).unwrap();
    let batch = begun(&mut journal, &commit(1, 10, 30), b"xx");
    journal.withdraw(batch).unwrap();
    assert_eq!(journal.attach(ProcessId(1), 9).stdout.unwrap().offset, 10);
    drop(journal);
    let mut journal = rig.open();
    assert!(journal.take_unfinished(TARGET).is_empty());
    assert_eq!(journal.attach(ProcessId(1), 9).stdout.unwrap().offset, 10);
    assert_eq!(journal.end(TARGET).unwrap().size, 110);
}

#[test]
fn several_batches_wait_in_regions_of_their_own() {
    let rig = Rig::new();
    let mut journal = rig.open();
    for (process, text) in [(1, b"one"), (2, b"two")] {
        let commit = commit(process, 0, 3);
        journal.attach(commit.process, 9);
        let mut batch = journal.begin(&commit, process, text, true).unwrap();
        journal.place(&mut batch, &commit, place(0), AT).unwrap();
    }
    drop(journal);
    let mut journal = rig.open();
    assert_eq!(journal.take_unfinished(1)[0].bytes, b"one");
    assert_eq!(journal.take_unfinished(2)[0].bytes, b"two");
}

#[test]
fn both_streams_and_several_targets_of_a_process() {
    let rig = Rig::new();
    let mut journal = rig.open();
    let both = |out: u64, err: u64| {
        let mut commit = commit(1, out, out + 5);
        let step = Step { from: err, offset: err + 7, ..commit.steps.stdout.unwrap() };
        commit.steps.stderr = Some(step);
        commit
    };
    let first = both(0, 0);
    let batch = begun(&mut journal, &first, b"x");
    journal.settle(batch, &first, 6).unwrap();
    let second = commit(1, 5, 9);
    let batch = journal.begin(&second, TARGET + 1, b"y", false).unwrap();
    journal.settle(batch, &second, 7).unwrap();
    drop(journal);
    let positions = rig.open().attach(ProcessId(1), 9);
    let [out, err] = [Stdout, Stderr].map(|stream| positions.get(stream).unwrap());
    assert_eq!((out.offset, out.at_ns), (9, 7));
    assert_eq!((err.offset, err.at_ns), (7, 5));
}

#[test]
fn another_process_of_the_same_id_begins_anew() {
    let rig = Rig::new();
    let mut journal = rig.open();
    let done = commit(1, 0, 10);
    let batch = begun(&mut journal, &done, b"0123456789");
    journal.settle(batch, &done, 6).unwrap();
    assert_eq!(journal.attach(ProcessId(1), 10).stdout, None);
    drop(journal);
    assert_eq!(rig.open().attach(ProcessId(1), 9).stdout, None);
}

#[test]
fn slots_are_used_again_and_an_empty_journal_is_removed() {
    let rig = Rig::new();
    let path = rig.directory.path().join(NAME);
    let mut journal = rig.open();
    for round in 0..1000 {
        let done = commit(round, 0, 10);
        let batch = begun(&mut journal, &done, b"0123456789");
        journal.settle(batch, &done, 6).unwrap();
        journal.forget(ProcessId(round));
    }
    assert_eq!(journal.count, 1);
    let done = commit(1, 0, 10);
    let batch = begun(&mut journal, &done, b"0123456789");
    journal.settle(batch, &done, 6).unwrap();
    journal.close();
    assert!(path.exists());
    let mut journal = rig.open();
    journal.retain(&BTreeSet::from([ProcessId(2)]));
    journal.close();
    assert!(!path.exists());
}

#[test]
fn a_process_that_is_forgotten_while_its_batch_waits_stays_until_that_is_dealt_with() {
    let rig = Rig::new();
    let mut journal = rig.open();
    let done = commit(1, 0, 10);
    let batch = begun(&mut journal, &done, b"0123456789");
    journal.forget(ProcessId(1));
    assert_eq!(journal.slots.len(), 1);
    journal.settle(batch, &done, 6).unwrap();
    assert_eq!(journal.slots.len(), 0);
}

/// Nobody looks at the files while somebody may still write them.
#[test]
fn one_journal_has_one_writer() {
    let rig = Rig::new();
    let first = rig.open();
    assert!(matches!(Journal::open(rig.directory.path()), Err(StoreError::Locked)));
    drop(first);
    rig.open();
}

#[test]
fn a_file_of_another_layout_is_begun_anew_and_a_link_is_refused() {
    let rig = Rig::new();
    let path = rig.directory.path().join(NAME);
    std::fs::write(&path, vec![b'x'; 10_000]).unwrap();
    assert!(rig.open().slots.is_empty());
    std::fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("elsewhere", &path).unwrap();
    assert!(matches!(Journal::open(rig.directory.path()), Err(StoreError::System { .. })));
}

#[test]
fn what_a_large_batch_took_is_given_back() {
    use std::os::unix::fs::MetadataExt;
    let rig = Rig::new();
    let mut journal = rig.open();
    let done = commit(1, 0, 10);
    let batch = begun(&mut journal, &done, &vec![b'x'; 8 << 20]);
    journal.settle(batch, &done, 6).unwrap();
    let blocks = std::fs::metadata(rig.directory.path().join(NAME)).unwrap().blocks();
    assert!(blocks * 512 < 1 << 20, "{blocks} blocks");
}
