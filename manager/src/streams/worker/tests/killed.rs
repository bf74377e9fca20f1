//! A circusd that was killed in the middle of a batch, and what others did to the file before the next one came.

use super::*;
use crate::streams::compose::Commit;
use crate::streams::cursor::Step;
use crate::streams::journal::Place;
use crate::streams::render::Tail;
use crate::streams::sink::SinkKey;
use std::io::Write;
use std::os::unix::fs::MetadataExt;

/// What the batch comes to; [`OLD`] was in the file before.
const BATCH: &[u8] = b"one\ntwo\nthree\n";
const OLD: &[u8] = b"old\n";

/// The intent is in the journal and `written` bytes of the batch are in the file when circusd dies; then `disturb` happens, then
/// the next circusd begins. Gives what it told, apart from acknowledgements.
fn story(written: usize, disturb: impl FnOnce(&Rig), more: &[(&str, &str)]) -> (Rig, Vec<ScribeReport>) {
    let mut rig = Rig::new();
    rig.worker = worker(&rig.reports, Journal::default());
    let mut process = FakeProcess::new(1);
    process.write(Stdout, 1, BATCH);
    fs::write(rig.path("log"), OLD).unwrap();
    let file = fs::metadata(rig.path("log")).unwrap();
    {
        let mut journal = Journal::open_when_free(rig.instance.path());
        journal.attach(process.id(), 1);
        let to = BATCH.len() as u64;
        let step = Step { from: 0, before: b'\n', offset: to, previous: b'\n', record: None, lost: None };
        let steps = PerStream { stdout: Some(step), stderr: None };
        let commit = Commit { process: process.id(), steps, tail: Tail::LineStart };
        let key = SinkKey::File(rig.path("log"));
        let mut batch = journal.begin(&commit, key.hash(), BATCH, true).unwrap();
        let identity = crate::streams::journal::Identity { device: file.dev(), inode: file.ino() };
        let place = Place { file: identity, position: OLD.len() as u64, skipped: 0 };
        journal.place(&mut batch, &commit, place, (None, 1)).unwrap();
    }
    append(&rig, "log", &BATCH[..written]);
    disturb(&rig);
    rig.kill();
    rig.one_file("log", more);
    rig.orders([process.attach(), process.ended()]);
    let others = rig.settle(&mut process);
    assert_eq!(process.room(Stdout), CAPACITY, "not acknowledged");
    let drained = |report: &ScribeReport| matches!(report, ScribeReport::Drained { .. });
    (rig, others.into_iter().filter(|report| !drained(report)).collect())
}

fn append(rig: &Rig, name: &str, bytes: &[u8]) {
    fs::File::options().append(true).open(rig.path(name)).unwrap().write_all(bytes).unwrap();
}

fn whole() -> Vec<u8> {
    [OLD, BATCH].concat()
}

fn is_repeated(others: &[ScribeReport]) -> bool {
    matches!(others, [ScribeReport::Repeated { bytes, .. }] if *bytes == BATCH.len())
}

#[test]
fn what_is_missing_of_a_batch_is_written_whatever_is_there() {
    for written in 0..=BATCH.len() {
        let (rig, others) = story(written, |_| {}, &[]);
        assert_eq!(fs::read(rig.path("log")).unwrap(), whole(), "{written} written before");
        assert!(others.is_empty(), "{others:?}");
    }
}

/// Whatever the settings are now: the batch was rendered when it was noted.
#[test]
fn a_batch_is_finished_as_it_was_begun() {
    let (rig, others) = story(5, |_| {}, &[("time_format", "%S")]);
    assert_eq!(fs::read(rig.path("log")).unwrap(), whole());
    assert!(others.is_empty(), "{others:?}");
}

#[test]
fn a_file_that_was_moved_has_the_beginning_and_the_new_one_the_rest() {
    let (rig, others) = story(5, |rig| fs::rename(rig.path("log"), rig.path("log.1")).unwrap(), &[]);
    assert_eq!(rig.text("log.1"), "old\none\nt");
    assert_eq!(rig.text("log"), "wo\nthree\n");
    assert!(others.is_empty(), "{others:?}");
}

#[test]
fn a_file_that_was_deleted_takes_its_part_of_the_batch_with_it() {
    let (rig, others) = story(5, |rig| fs::remove_file(rig.path("log")).unwrap(), &[]);
    assert_eq!(fs::read(rig.path("log")).unwrap(), BATCH);
    // A new file may get the number of the old one at once; then it looks like a truncated one.
    assert!(others.is_empty() || is_repeated(&others), "{others:?}");
}

/// As copytruncate of logrotate(8): what was written is in a copy, nobody knows how much.
#[test]
fn a_truncated_file_gets_the_whole_batch_and_that_is_told() {
    let (rig, others) = story(5, |rig| fs::write(rig.path("log"), "").unwrap(), &[]);
    assert_eq!(fs::read(rig.path("log")).unwrap(), BATCH);
    assert!(is_repeated(&others), "{others:?}");
}

#[test]
fn bytes_of_others_after_or_before_a_whole_batch_change_nothing() {
    let (rig, others) = story(BATCH.len(), |rig| append(rig, "log", b"foreign\n"), &[]);
    assert_eq!(fs::read(rig.path("log")).unwrap(), [OLD, BATCH, b"foreign\n"].concat());
    assert!(others.is_empty(), "{others:?}");
    let before = |rig: &Rig| {
        append(rig, "log", b"foreign\n");
        append(rig, "log", BATCH);
    };
    let (rig, others) = story(0, before, &[]);
    assert_eq!(fs::read(rig.path("log")).unwrap(), [OLD, b"foreign\n", BATCH].concat());
    assert!(others.is_empty(), "{others:?}");
}

#[test]
fn bytes_of_others_within_a_batch_cost_a_repetition_that_is_told_and_no_byte() {
    let (rig, others) = story(5, |rig| append(rig, "log", b"foreign\n"), &[]);
    assert_eq!(fs::read(rig.path("log")).unwrap(), [OLD, &BATCH[..5], b"foreign\n", BATCH].concat());
    assert!(is_repeated(&others), "{others:?}");
}

#[test]
fn a_rotation_in_the_middle_of_the_rest_keeps_lines_whole() {
    let (rig, others) = story(5, |_| {}, &[("max_bytes", "13"), ("backup_count", "5")]);
    assert_eq!((rig.text("log.1"), rig.text("log")), ("old\none\ntwo\n".to_owned(), "three\n".to_owned()));
    assert!(others.is_empty(), "{others:?}");
}

/// The directory is not there yet when the next circusd begins; its file is lost with it.
#[test]
fn a_directory_that_comes_later_gets_the_batch() {
    let mut rig = Rig::new();
    fs::create_dir(rig.path("d")).unwrap();
    rig.one_file("d/log", &[]);
    let mut process = FakeProcess::new(1);
    rig.orders([process.attach()]);
    rig.write(&mut process, Stdout, 1, b"before\n");
    rig.settle(&mut process);
    fs::rename(rig.path("d"), rig.path("away")).unwrap();
    rig.kill();
    rig.one_file("d/log", &[]);
    rig.orders([process.attach()]);
    rig.write(&mut process, Stdout, 1, b"after\n");
    assert!(matches!(rig.settle(&mut process)[..], [ScribeReport::Trouble(_)]));
    fs::create_dir(rig.path("d")).unwrap();
    rig.pass(Duration::from_secs(1));
    assert_eq!((rig.text("away/log"), rig.text("d/log")), ("before\n".to_owned(), "after\n".to_owned()));
}

/// A part of a batch is written when the disk is full; circusd is killed; there is room again.
#[test]
fn a_part_that_is_owed_survives_a_kill() {
    let mut rig = Rig::new();
    let limit = 20_000;
    rig.one_file("log", &[]);
    let mut process = FakeProcess::with_ring(1, 1 << 20);
    let text: Vec<u8> = (0..5_000).flat_map(|n| format!("line {n}\n").into_bytes()).collect();
    process.write(Stdout, 1, &text);
    let key = SinkKey::File(rig.path("log"));
    rig.worker.sinks.get_mut(&key).unwrap().full_at(limit);
    rig.orders([process.attach(), process.advance(Stdout)]);
    assert!(matches!(rig.settle(&mut process)[..], [ScribeReport::Trouble(_)]));
    assert_eq!(fs::metadata(rig.path("log")).unwrap().len(), limit);
    // Another log goes on meanwhile, through the same journal.
    let other = rig.options("other", &[]);
    rig.orders([stream_of("v", Some(other.clone()))]);
    let mut neighbour = FakeProcess::new(2);
    neighbour.write(Stdout, 1, b"hello\n");
    let Order::Attach(mut attach) = neighbour.attach() else { unreachable!() };
    attach.watcher = WatcherKey::new("v");
    rig.orders([Order::Attach(attach), neighbour.advance(Stdout)]);
    assert_eq!(rig.text("other"), "hello\n");
    rig.kill();
    rig.one_file("log", &[]);
    assert_eq!(fs::metadata(rig.path("log")).unwrap().len(), text.len() as u64, "finished before anything else");
    rig.orders([process.attach(), process.ended()]);
    assert!(fs::read(rig.path("log")).unwrap() == text, "the bytes differ");
    assert!(matches!(rig.settle(&mut process)[..], [ScribeReport::Drained { .. }]));
}

/// Output that was dropped while the disk was full is told with its time and its reason, once.
#[test]
fn what_a_full_disk_cost_is_a_line_with_the_reason() {
    let mut rig = Rig::new();
    rig.one_file("log", &[]);
    let mut process = FakeProcess::new(1);
    rig.orders([process.attach()]);
    rig.write(&mut process, Stdout, 1, b"first\n");
    rig.settle(&mut process);
    let key = SinkKey::File(rig.path("log"));
    rig.worker.sinks.get_mut(&key).unwrap().full_at(6);
    rig.pass(Duration::from_secs(5));
    let arrival = rig.wall.as_second().unsigned_abs() + 1;
    rig.write(&mut process, Stdout, arrival, b"lost\nlost\nkept\n");
    process.lose(Stdout, 10);
    rig.pass(Duration::from_secs(30));
    rig.worker.sinks.get_mut(&key).unwrap().full_at(u64::MAX);
    rig.pass(Duration::from_secs(60));
    assert_eq!(without_times(&rig.text("log")), "first\n[ringmaster: 10 bytes lost from stdout: disk full]\nkept\n");
    let others = rig.settle(&mut process);
    let told: Vec<&ScribeReport> =
        others.iter().filter(|report| matches!(report, ScribeReport::Gap { .. } | ScribeReport::Trouble(_))).collect();
    assert_eq!(told.len(), 2, "{others:?}");
}

#[test]
fn gaps_have_true_times() {
    let mut rig = Rig::new();
    rig.wall = "2026-07-15T10:00:00Z".parse().unwrap();
    rig.one_file("log", &[]);
    let mut process = FakeProcess::new(1);
    rig.orders([process.attach()]);
    rig.write(&mut process, Stdout, 1, b"first\n");
    rig.settle(&mut process);
    rig.kill();
    let arrival = rig.wall.as_second().unsigned_abs() + 90;
    process.write(Stdout, arrival - 30, b"lost\n");
    process.write(Stdout, arrival, b"kept\n");
    process.lose(Stdout, 5);
    rig.one_file("log", &[]);
    rig.orders([process.attach()]);
    assert_eq!(
        rig.text("log"),
        "first\n[ringmaster: 5 bytes lost from stdout between 2026-07-15T10:00:00+00:00 and 2026-07-15T10:01:30+00:00: \
         circusd was away]\nkept\n"
    );
}
