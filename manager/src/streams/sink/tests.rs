//! Pipes. What becomes of files is tested with the worker.

use super::*;
use jiff::Timestamp;
use std::io::{PipeReader, Read, pipe};

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
        match sink.append(&text[done..], Timestamp::UNIX_EPOCH) {
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
    let failure = sink.append(b"x", Timestamp::UNIX_EPOCH).unwrap_err();
    assert_eq!(failure.error.kind(), ErrorKind::BrokenPipe);
    assert!(sink.is_gone());
    assert!(sink.append(b"y", Timestamp::UNIX_EPOCH).is_ok());
}
