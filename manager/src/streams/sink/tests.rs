//! Pipes. What becomes of files is tested with the worker.

use super::*;
use crate::streams::journal::Journal;
use crate::streams::per_stream::PerStream;
use jiff::Timestamp;
use ringmaster_protocol::message::ProcessId;
use std::io::{PipeReader, Read, pipe};

/// Appends without a journal's file.
fn append(sink: &mut Sink, bytes: &[u8]) -> Result<(), Failure> {
    let mut journal = Journal::default();
    let commit = Commit { process: ProcessId(1), steps: PerStream::default(), tail: Tail::LineStart };
    let mut batch = journal.begin(&commit, 1, bytes, false).unwrap();
    let mut ledger = Ledger { journal: &mut journal, commit: &commit, batch: &mut batch, done: 0 };
    sink.append(bytes, &mut ledger, Timestamp::UNIX_EPOCH)
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
