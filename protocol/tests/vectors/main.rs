//! Golden bytes: what one build writes, every later build reads, for ever.
//!
//! `protocol/vectors/vN` holds the frames of protocol version N, one file a message, one frame a line. Files are added,
//! never changed: an old core with a new manager is the normal case. `samples` says what the frames mean.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test that finds something else than it expects is to fail"
)]

mod samples;

use ringmaster_protocol::frame::{Frame, FrameReader, Kind};
use ringmaster_protocol::message::{Keeping, Notice, PROTOCOL, Refusal, Reply, Request, Spawn};
use ringmaster_protocol::ring::{Record, StreamEntry};
use samples::Sample;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The request number in the frames; any would do.
const REQUEST: u32 = 0x0102_0304;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("vectors/v{PROTOCOL}"))
}

fn frame(sample: &Sample) -> Frame {
    match sample {
        Sample::Request(message) => message.frame(REQUEST),
        Sample::Cast(message) => message.cast(),
        Sample::Reply(message) => message.frame(REQUEST),
        Sample::Notice(message) => message.frame(),
        Sample::Refusal(refusal) => refusal.frame(3, REQUEST),
    }
}

fn decode(frame: &Frame) -> Sample {
    let (number, body) = (frame.message, frame.body.as_slice());
    match frame.kind {
        Kind::Request => Sample::Request(Request::decode(number, body).unwrap()),
        Kind::Cast => Sample::Cast(Request::decode(number, body).unwrap()),
        Kind::Reply => Sample::Reply(Reply::decode(number, body).unwrap()),
        Kind::Notice => Sample::Notice(Notice::decode(number, body).unwrap()),
        Kind::Refusal => Sample::Refusal(Refusal::decode(number, body).unwrap()),
    }
}

/// The file in which a sample's frame stands.
fn file_name(sample: &Sample) -> String {
    let named = |kind: &str, table: &[(u16, &str)], number: u16| {
        let (_, name) = table.iter().find(|(known, _)| *known == number).unwrap();
        format!("{kind}-{number:02}-{name}.hex")
    };
    match sample {
        Sample::Request(message) | Sample::Cast(message) => named("request", Request::TABLE, message.number()),
        Sample::Reply(message) => named("reply", Reply::TABLE, message.number()),
        Sample::Notice(message) => named("notice", Notice::TABLE, message.number()),
        Sample::Refusal(_) => "refusal.hex".to_owned(),
    }
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Vec<u8> {
    (0..text.len() / 2).map(|at| u8::from_str_radix(&text[at * 2..at * 2 + 2], 16).unwrap()).collect()
}

fn encode(sample: &Sample) -> String {
    let mut bytes = Vec::new();
    assert!(frame(sample).encode(&mut bytes));
    to_hex(&bytes)
}

/// The lines of every file that this build would write.
fn expected() -> BTreeMap<String, Vec<String>> {
    let mut files: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for sample in samples::all() {
        files.entry(file_name(&sample)).or_default().push(encode(&sample));
    }
    let records = samples::records().iter().map(|record| to_hex(&record.encode())).collect();
    let entries = samples::stream_entries().iter().map(|entry| to_hex(&entry.encode())).collect();
    let keepings = samples::keepings().iter().map(|keeping| to_hex(&keeping.addition().1)).collect();
    files.insert("addition-01-Keeping.hex".to_owned(), keepings);
    files.insert("ring-record.hex".to_owned(), records);
    files.insert("ring-stream-entry.hex".to_owned(), entries);
    files
}

fn stored() -> BTreeMap<String, Vec<String>> {
    let files = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    files
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect())
        })
        .collect()
}

#[test]
fn this_build_writes_the_golden_bytes() {
    let (expected, stored) = (expected(), stored());
    for (name, lines) in &expected {
        let golden = stored.get(name).unwrap_or_else(|| panic!("no golden bytes of {name}; see the ignored test"));
        assert_eq!(golden, lines, "{name}: released bytes never change; a new meaning is a new message");
    }
    let unknown: Vec<&String> = stored.keys().filter(|name| !expected.contains_key(*name)).collect();
    assert!(unknown.is_empty(), "golden bytes that nothing means any more: {unknown:?}");
}

#[test]
fn the_golden_bytes_mean_what_they_meant() {
    let mut meant: BTreeMap<String, Vec<Sample>> = BTreeMap::new();
    for sample in samples::all() {
        meant.entry(file_name(&sample)).or_default().push(sample);
    }
    let stored = stored();
    for (name, samples) in meant {
        for (line, sample) in stored[&name].iter().zip(samples) {
            let mut reader = FrameReader::new();
            reader.push(&from_hex(line));
            let found = reader.next_frame().unwrap().unwrap();
            assert_eq!(reader.pending(), 0, "{name}: one frame a line");
            assert_eq!(decode(&found), sample, "{name}");
        }
    }
}

#[test]
fn records_and_stream_entries_mean_what_they_meant() {
    let stored = stored();
    let records: Vec<Record> = stored["ring-record.hex"]
        .iter()
        .map(|line| Record::decode(from_hex(line).as_slice().try_into().unwrap()))
        .collect();
    assert_eq!(records, samples::records());
    let entries: Vec<StreamEntry> = stored["ring-stream-entry.hex"]
        .iter()
        .map(|line| StreamEntry::decode(from_hex(line).as_slice().try_into().unwrap()))
        .collect();
    assert_eq!(entries, samples::stream_entries());
}

#[test]
fn additions_mean_what_they_meant() {
    let stored = stored();
    let samples::Sample::Request(Request::Spawn(plain)) = samples::plain_spawn() else { panic!("no spawn") };
    let read = |line: &String| Spawn { ext: vec![(Keeping::TAG, from_hex(line))], ..plain.clone() }.keeping();
    let found: Vec<Option<Keeping>> = stored["addition-01-Keeping.hex"].iter().map(read).collect();
    assert_eq!(found, samples::keepings().into_iter().map(Some).collect::<Vec<_>>());
    for unknown in [vec![], vec![9], vec![0, 0]] {
        let spawn = Spawn { ext: vec![(Keeping::TAG, unknown)], ..plain.clone() };
        assert_eq!(spawn.keeping(), None, "what cannot be read is as if it were not there");
    }
}

#[test]
fn every_message_has_golden_bytes() {
    let stored = stored();
    for (kind, table) in [("request", Request::TABLE), ("reply", Reply::TABLE), ("notice", Notice::TABLE)] {
        for (number, name) in table {
            let file = format!("{kind}-{number:02}-{name}.hex");
            assert!(stored.contains_key(&file), "{file} is missing");
        }
    }
}

#[test]
fn every_refusal_has_golden_bytes() {
    let mut found: Vec<usize> = samples::refusals().iter().map(samples::refusal_index).collect();
    found.sort_unstable();
    found.dedup();
    assert_eq!(found, (0..samples::REFUSALS).collect::<Vec<_>>());
}

/// Run by hand when a message is new: `cargo test -p ringmaster-protocol --test vectors -- --ignored`. What is stored
/// already is not touched.
#[test]
#[ignore = "writes golden bytes of messages that have none"]
fn write_missing_golden_bytes() {
    fs::create_dir_all(folder()).unwrap();
    for (name, lines) in expected() {
        let path = folder().join(name);
        if !path.exists() {
            fs::write(path, lines.join("\n") + "\n").unwrap();
        }
    }
}
