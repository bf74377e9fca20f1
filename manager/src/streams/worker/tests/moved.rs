//! Files that somebody moves, deletes or truncates.

use super::*;

/// Moves or deletes the file between two batches, for a class; gives the reports.
fn story(class: &str, disturb: impl FnOnce(&Rig)) -> (Rig, Vec<ScribeReport>) {
    let mut rig = Rig::new();
    rig.one_of(class, "log", &[]);
    let mut process = FakeProcess::new(1);
    rig.orders([process.attach()]);
    rig.write(&mut process, Stdout, 1, b"old\n");
    disturb(&rig);
    rig.write(&mut process, Stdout, 2, b"new\n");
    rig.write(&mut process, Stderr, 3, b"more\n");
    let others = rig.settle(&mut process);
    (rig, others)
}

#[test]
fn a_file_that_was_moved_is_left_and_that_is_told_once() {
    let (rig, others) = story("FileStream", |rig| {
        fs::rename(rig.path("log"), rig.path("moved")).unwrap();
    });
    assert_eq!(rig.text("moved"), "old\n");
    assert_eq!(rig.text("log"), "new\nmore\n");
    assert!(matches!(&others[..], [ScribeReport::Moved { path }] if *path == rig.path("log")), "{others:?}");
}

#[test]
fn a_file_that_was_deleted_comes_back() {
    let (rig, others) = story("FileStream", |rig| fs::remove_file(rig.path("log")).unwrap());
    assert_eq!(rig.text("log"), "new\nmore\n");
    assert!(matches!(others[..], [ScribeReport::Moved { .. }]), "{others:?}");
}

#[test]
fn a_watched_file_may_be_moved_or_replaced_without_a_word() {
    let (rig, others) = story("WatchedFileStream", |rig| {
        fs::rename(rig.path("log"), rig.path("moved")).unwrap();
        fs::write(rig.path("log"), "torn").unwrap();
    });
    assert_eq!(rig.text("moved"), "old\n");
    // The new file ends within a line, and the batch begins one.
    assert_eq!(rig.text("log"), "torn\nnew\nmore\n");
    assert!(others.is_empty(), "{others:?}");
}

#[test]
fn a_directory_that_is_gone_is_trouble_and_nothing_is_lost() {
    let mut rig = Rig::new();
    fs::create_dir(rig.path("d")).unwrap();
    rig.one_file("d/log", &[]);
    let mut process = FakeProcess::new(1);
    rig.orders([process.attach()]);
    rig.write(&mut process, Stdout, 1, b"old\n");
    fs::rename(rig.path("d"), rig.path("e")).unwrap();
    rig.write(&mut process, Stdout, 2, b"new\n");
    let others = rig.settle(&mut process);
    assert!(
        matches!(&others[..], [ScribeReport::Moved { .. }, ScribeReport::Trouble(trouble)] if trouble.action == Action::Open),
        "{others:?}"
    );
    assert!(process.room(Stdout) < CAPACITY, "acknowledged without a write");
    fs::create_dir(rig.path("d")).unwrap();
    rig.pass(Duration::from_secs(1));
    assert_eq!((rig.text("e/log"), rig.text("d/log")), ("old\n".to_owned(), "new\n".to_owned()));
}

/// As `copytruncate` of logrotate(8) does.
#[test]
fn a_file_truncated_within_a_line_begins_anew() {
    let mut rig = Rig::new();
    rig.one_file("log", &[("time_format", "%S")]);
    let mut process = FakeProcess::new(1);
    rig.orders([process.attach()]);
    rig.write(&mut process, Stdout, 1, b"prompt");
    rig.pass(HOLD);
    assert_eq!(rig.text("log"), "01 [42] | prompt");
    fs::write(rig.path("log"), "").unwrap();
    rig.write(&mut process, Stderr, 2, b"other\n");
    assert_eq!(rig.text("log"), "02 [42] | other\n");
}
