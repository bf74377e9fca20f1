//! Old files: how many, how old, how large, compressed; and files on the disk itself.

use super::*;
use std::io::{Read, Write};

const SIZED: &[(&str, &str)] = &[("max_bytes", "20"), ("backup_count", "3")];

fn lines(rig: &mut Rig, process: &mut FakeProcess, numbers: std::ops::Range<u32>) {
    for number in numbers {
        rig.write(process, Stdout, 1, format!("line number {number:02}\n").as_bytes());
        rig.settle(process);
    }
}

fn names(rig: &Rig) -> Vec<String> {
    let entries = fs::read_dir(rig.directory.path()).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn unpacked(rig: &Rig, name: &str) -> String {
    let mut text = String::new();
    flate2::read::GzDecoder::new(fs::File::open(rig.path(name)).unwrap()).read_to_string(&mut text).unwrap();
    text
}

fn with(more: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    [SIZED, more].concat()
}

#[test]
fn old_files_are_compressed_and_move_on_as_such() {
    let mut rig = Rig::new();
    rig.one_file("log", &with(&[("compress", "gzip")]));
    let mut process = FakeProcess::new(1);
    rig.orders([process.attach()]);
    lines(&mut rig, &mut process, 0..6);
    assert_eq!(names(&rig), ["log", "log.1.gz", "log.2.gz", "log.3.gz"]);
    assert_eq!(rig.text("log"), "line number 05\n");
    for (age, number) in [(1, 4), (2, 3), (3, 2)] {
        assert_eq!(unpacked(&rig, &format!("log.{age}.gz")), format!("line number {number:02}\n"));
    }
}

/// Killed within a compression, and between its two last steps.
#[test]
fn a_compression_that_was_broken_off_is_done_again() {
    let mut rig = Rig::new();
    fs::write(rig.path("log.1"), "whole\n").unwrap();
    fs::write(rig.path("log.gz.tmp"), "half").unwrap();
    fs::write(rig.path("log.2"), "twice\n").unwrap();
    let mut twice =
        flate2::write::GzEncoder::new(fs::File::create(rig.path("log.2.gz")).unwrap(), flate2::Compression::default());
    twice.write_all(b"twice\n").unwrap();
    twice.finish().unwrap();
    rig.one_file("log", &with(&[("compress", "gzip")]));
    assert_eq!(names(&rig), ["log", "log.1.gz", "log.2.gz"]);
    assert_eq!((unpacked(&rig, "log.1.gz"), unpacked(&rig, "log.2.gz")), ("whole\n".to_owned(), "twice\n".to_owned()));
}

#[test]
fn a_rotation_in_the_middle_of_a_compression_does_no_harm() {
    let mut rig = Rig::new();
    let large = "0123456789abcdef\n".repeat(20_000);
    fs::write(rig.path("log.1"), &large).unwrap();
    let options = rig.options("log", &with(&[("compress", "gzip")]));
    let mut wanted = Wanted::default();
    wanted.fold(Order::SetStreams { watcher: WatcherKey::new("w"), stdout: Some(options), stderr: None });
    rig.worker.apply(wanted, rig.moment());
    rig.worker.work(rig.moment());
    rig.worker.work(rig.moment());
    assert!(rig.path("log.gz.tmp").exists(), "{:?}", names(&rig));
    let mut process = FakeProcess::new(1);
    rig.orders([process.attach()]);
    lines(&mut rig, &mut process, 0..2);
    assert_eq!(names(&rig), ["log", "log.1.gz", "log.2.gz"]);
    assert_eq!(unpacked(&rig, "log.1.gz"), "line number 00\n");
    assert!(unpacked(&rig, "log.2.gz") == large, "the bytes differ");
}

#[test]
fn old_files_are_bounded_in_size_and_age() {
    let mut rig = Rig::new();
    for (number, days) in [(1, 1), (2, 3), (3, 9)] {
        fs::write(rig.path(&format!("log.{number}")), "x".repeat(100)).unwrap();
        let file = fs::File::options().append(true).open(rig.path(&format!("log.{number}"))).unwrap();
        file.set_modified((rig.wall - Duration::from_secs(days * 86_400)).into()).unwrap();
    }
    fs::write(rig.path("log.bak"), "not ours").unwrap();
    rig.one_file("log", &with(&[("max_age", "7")]));
    assert_eq!(names(&rig), ["log", "log.1", "log.2", "log.bak"]);
    rig.kill();
    rig.one_file("log", &with(&[("max_total_bytes", "150")]));
    assert_eq!(names(&rig), ["log", "log.1", "log.bak"]);
}

#[test]
fn files_beyond_the_number_to_keep_are_left_alone() {
    let mut rig = Rig::new();
    for number in 1..=6 {
        fs::write(rig.path(&format!("log.{number}")), number.to_string()).unwrap();
    }
    rig.one_file("log", SIZED);
    let mut process = FakeProcess::new(1);
    rig.orders([process.attach()]);
    lines(&mut rig, &mut process, 0..2);
    let found: Vec<String> = (1..=6).map(|number| rig.text(&format!("log.{number}"))).collect();
    assert_eq!(found, ["line number 00\n", "1", "2", "4", "5", "6"]);
}

#[test]
fn fsync_by_interval_has_a_deadline_only_while_something_waits() {
    let mut rig = Rig::new();
    rig.one_file("log", &with(&[("fsync", "interval")]));
    let mut process = FakeProcess::new(1);
    rig.orders([process.attach()]);
    assert_eq!(rig.worker.next_deadline(), None);
    lines(&mut rig, &mut process, 0..1);
    assert_eq!(rig.worker.next_deadline(), Some(rig.now + Duration::from_secs(1)));
    rig.pass(Duration::from_secs(1));
    assert_eq!(rig.worker.next_deadline(), None, "a timer is left");
    lines(&mut rig, &mut process, 1..5);
    assert_eq!(concatenated(&rig, "log", true).lines().count(), 4);
}

#[test]
fn several_watchers_on_a_terminal_are_named() {
    let mut rig = Rig::new();
    // The master of a pseudo-terminal is a terminal, too.
    let terminal = fs::File::options().read(true).write(true).open("/dev/ptmx").unwrap();
    rig.worker.sinks.insert(SinkKey::Stdout, Sink::inherited(terminal.into()));
    let stdout = StreamOptions { class: StreamClass::BuiltIn("StdoutStream".to_owned()), settings: BTreeMap::new() };
    let set = |name: &str, stdout: Option<StreamOptions>| Order::SetStreams {
        watcher: WatcherKey::new(name),
        stdout,
        stderr: None,
    };
    let looks = |rig: &Rig| -> Vec<String> {
        let routes = rig.worker.watchers.values().filter_map(|routes| routes.stdout.as_ref());
        routes.map(|route| format!("{:?}", route.look)).collect()
    };
    rig.orders([set("one", Some(stdout.clone()))]);
    assert_eq!(looks(&rig), ["Terminal { name: \"\" }"]);
    rig.orders([set("two", Some(stdout))]);
    assert!(looks(&rig)[0].contains("one |") && looks(&rig)[1].contains("two |"), "{:?}", looks(&rig));
    rig.orders([set("one", None)]);
    assert_eq!(looks(&rig), ["Terminal { name: \"\" }"]);
}
