//! A process file of any content, as the manager reads it (`manager/src/streams/tap.rs`).

use super::bytes::Bytes;
use super::config::memory_file;
use ringmaster_manager::streams::Tap;
use ringmaster_protocol::ring::{MAGIC, Stream, StreamEntry};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, PoisonError};

/// The one file, written anew for each round.
static FILE: Mutex<Option<File>> = Mutex::new(None);

/// Two entries, where to read, and what lies behind the header. What comes out is in order and inside of what was asked for.
pub fn process_file(input: &[u8]) {
    let mut file = FILE.lock().unwrap_or_else(PoisonError::into_inner);
    let file = file.get_or_insert_with(memory_file);
    let mut input = Bytes::new(input);
    file.set_len(0).expect("emptying the file");
    file.write_all_at(&MAGIC, 0).expect("writing the magic");
    for stream in Stream::ALL {
        file.write_all_at(&input.entry().encode(), StreamEntry::position(stream)).expect("writing an entry");
    }
    let length = u64::from(input.u16());
    let [from, limit, start] = [(); 3].map(|()| if input.one_in(2) { input.u64() } else { u64::from(input.u8()) });
    file.write_all_at(input.rest(), 4096).expect("writing the regions");
    let tap = match Tap::open(file.try_clone().expect("a second descriptor").into()) {
        Ok(tap) => tap,
        Err(refused) => return assert!(!refused.to_string().is_empty()),
    };
    let (mut records, mut bytes) = (Vec::new(), vec![0; 4096]);
    for stream in Stream::ALL {
        let end = start.saturating_add(length);
        if let Ok((first, reached)) = tap.records(stream, from, limit, start..end, &mut records) {
            assert!(first >= from && reached <= end && records.len() <= 1024, "{first} {reached} {}", records.len());
            assert!(records.is_sorted_by(|a, b| a.seq < b.seq && a.offset <= b.offset));
        }
        let wanted = usize::try_from(length).unwrap_or(0).min(bytes.len());
        drop(tap.read(stream, start, &mut bytes[..wanted]));
        let low = tap.low(stream).expect("the header is there");
        if let Some(_byte) = tap.byte_before(stream, start) {
            assert!(low < start);
        }
    }
}
