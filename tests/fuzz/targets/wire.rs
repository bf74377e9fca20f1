//! Frames, message bodies, and the entries and records of a process file (`protocol`).

use super::bytes::Bytes;
use ringmaster_protocol::frame::{Frame, FrameError, FrameReader};
use ringmaster_protocol::message::{Notice, Refusal, Reply, Request};
use ringmaster_protocol::ring::{Record, StreamEntry};

/// However a stream is cut, the frames are the same, and a frame written again is read again. First byte: where to cut.
pub fn frames(input: &[u8]) {
    let mut input = Bytes::new(input);
    let cut = usize::from(input.u8()).max(1);
    let stream = input.rest();
    let (frames, end) = read(stream, stream.len().max(1));
    assert_eq!((&frames, &end), (&read(stream, cut).0, &read(stream, cut).1), "in pieces of {cut}");
    let mut again = Vec::new();
    assert!(frames.iter().all(|frame| frame.encode(&mut again)));
    assert_eq!(read(&again, again.len().max(1)), (frames, Ok(0)));
}

/// The frames of a stream that comes in pieces, and what follows them: bytes that wait, or an error.
fn read(stream: &[u8], cut: usize) -> (Vec<Frame>, Result<usize, FrameError>) {
    let (mut reader, mut frames) = (FrameReader::new(), Vec::new());
    for piece in stream.chunks(cut) {
        reader.push(piece);
        loop {
            match reader.next_frame() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Err(error)),
            }
        }
    }
    (frames, Ok(reader.pending()))
}

/// A body that is read is written and read again as the same message. First bytes: direction and number.
pub fn messages(input: &[u8]) {
    let mut input = Bytes::new(input);
    let (direction, number) = (input.u8(), input.u16());
    let body = input.rest();
    match direction % 4 {
        0 => {
            if let Ok(message) = Request::decode(number, body) {
                assert_eq!(Request::decode(number, &message.body()), Ok(message));
            }
        }
        1 => {
            if let Ok(message) = Reply::decode(number, body) {
                assert_eq!(Reply::decode(number, &message.body()), Ok(message));
            }
        }
        2 => {
            if let Ok(message) = Notice::decode(number, body) {
                assert_eq!(Notice::decode(number, &message.body()), Ok(message));
            }
        }
        _ => {
            if let Ok(refusal) = Refusal::decode(number, body) {
                assert!(!refusal.to_string().is_empty());
                assert_eq!(Refusal::decode(number, &refusal.frame(number, 1).body), Ok(refusal));
            }
        }
    }
}

/// Entries and records are numbers until somebody uses them. What an entry that is taken for sound points at lies inside of
/// its regions.
pub fn ring(input: &[u8]) {
    let mut input = Bytes::new(input);
    let entry = input.entry();
    assert_eq!(StreamEntry::decode(&entry.encode()), entry);
    let record = input.array::<32>();
    assert_eq!(Record::decode(&record).encode(), record);
    let (offset, length, number) = (input.u64(), input.u64(), input.u64());
    let end = offset.saturating_add(length.min(entry.capacity));
    if !entry.is_sound() {
        return;
    }
    let pieces: Vec<_> = entry.pieces(offset, end).collect();
    assert_eq!(pieces.iter().map(|piece| piece.length).sum::<u64>(), end - offset);
    for piece in pieces {
        assert!(piece.at >= entry.data_at && piece.at + piece.length <= entry.data_at + entry.capacity, "{piece:?}");
    }
    let at = entry.record_position(number);
    assert!(at >= entry.records_at && at <= entry.records_at + entry.records * Record::SIZE);
}
