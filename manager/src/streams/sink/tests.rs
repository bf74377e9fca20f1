//! Pipes and other things that are no files. What becomes of files is tested with the worker.

use super::*;
use crate::streams::journal::Journal;
use crate::streams::per_stream::PerStream;
use crate::streams::schedule::{Schedule, Unit};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use ringmaster_protocol::message::ProcessId;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use std::io::{PipeReader, Read, pipe};
use std::os::unix::fs::FileTypeExt as _;

/// Appends without a journal's file.
fn append(sink: &mut Sink, bytes: &[u8]) -> Result<(), Failure> {
    append_at(sink, bytes, Timestamp::UNIX_EPOCH)
}

fn append_at(sink: &mut Sink, bytes: &[u8], now: Timestamp) -> Result<(), Failure> {
    let mut journal = Journal::default();
    let commit = Commit { process: ProcessId(1), steps: PerStream::default(), tail: Tail::LineStart };
    let mut batch = journal.begin(&commit, 1, bytes, false).unwrap();
    let mut ledger = Ledger { journal: &mut journal, commit: &commit, batch: &mut batch, done: 0 };
    sink.append(bytes, &mut ledger, now)
}

fn piped() -> (Sink, PipeReader) {
    let (reader, writer) = pipe().unwrap();
    (Sink::inherited(writer.into()), reader)
}

#[test]
fn a_full_pipe_never_blocks_and_goes_on_where_it_stopped() {
    let (mut sink, mut reader) = piped();
    let text: Vec<u8> = (0..200_000u32).map(|n| n.to_le_bytes()[0]).collect();
    let (mut done, mut seen) = (0, Vec::new());
    let mut stops = 0;
    while done < text.len() {
        match append(&mut sink, &text[done..]) {
            Ok(()) => done = text.len(),
            Err(failure) => {
                assert!(is_full(&failure.error), "{failure:?}");
                assert!(failure.written > 0, "no progress after {done}");
                done += failure.written;
                stops += 1;
                let mut part = vec![0; done - seen.len()];
                reader.read_exact(&mut part).unwrap();
                seen.extend(part);
            }
        }
    }
    assert!(stops > 0 && !sink.is_gone());
    drop(sink);
    reader.read_to_end(&mut seen).unwrap();
    assert!(seen == text, "the bytes differ");
}

#[test]
fn a_pipe_without_reader_is_given_up() {
    let (mut sink, reader) = piped();
    drop(reader);
    let failure = append(&mut sink, b"x").unwrap_err();
    assert_eq!(failure.error.kind(), ErrorKind::BrokenPipe);
    assert!(sink.is_gone());
    assert!(append(&mut sink, b"y").is_ok());
}

/// As root, moving `/dev/null` away would be the end of the machine.
#[test]
fn what_is_no_file_is_never_rotated() {
    let rotations = [
        Rotation::BySize { max_bytes: 10, backup_count: 2 },
        Rotation::BySize { max_bytes: 10, backup_count: 0 },
        Rotation::ByTime(Schedule { unit: Unit::Second, interval: 1, backup_count: 1, zone: TimeZone::UTC }),
    ];
    for rotation in rotations {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("fifo");
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let upkeep = Upkeep { rotation, moves: Moves::Told, retention: Retention::default(), fsync: Fsync::Never };
        let mut sink = Sink::file(path.clone(), upkeep);
        let mut now = Timestamp::UNIX_EPOCH;
        for _ in 0..5 {
            append_at(&mut sink, b"a line of some length\n", now).unwrap();
            sink.tidy(now);
            now += SignedDuration::from_secs(100);
        }
        assert!(sink.take_rotation_change().is_none());
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
        assert!(std::fs::symlink_metadata(&path).unwrap().file_type().is_fifo());
    }
}
