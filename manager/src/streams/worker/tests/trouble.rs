//! Files that cannot be written, rotation and reopening.

use super::*;

#[test]
fn a_missing_directory_is_told_once_and_nothing_is_lost_when_it_comes() {
    let mut rig = Rig::new();
    rig.one_file("no/log", &[]);
    let mut process = FakeProcess::new(1);
    rig.orders([process.attach()]);
    rig.write(&mut process, Stdout, 1, b"kept\n");
    rig.orders([process.ended()]);
    let mut told = Vec::new();
    for _ in 0..8 {
        let pause = rig.worker.next_deadline().unwrap() - rig.now;
        told.push(pause.as_secs());
        rig.pass(pause);
    }
    assert_eq!(told, [1, 2, 4, 8, 16, 30, 30, 30]);
    let others = rig.settle(&mut process);
    assert!(
        matches!(&others[..], [ScribeReport::Trouble(trouble)] if trouble.to_string().contains("No such file")),
        "{others:?}"
    );
    fs::create_dir(rig.path("no")).unwrap();
    rig.pass(Duration::from_secs(30));
    assert_eq!(rig.text("no/log"), "kept\n");
    let others = rig.settle(&mut process);
    assert!(matches!(others[..], [ScribeReport::Cleared { .. }, ScribeReport::Drained { .. }]), "{others:?}");
    assert_eq!(rig.worker.next_deadline(), None, "a timer is left");
}

/// `/dev/full` answers every write with ENOSPC (full(4)).
#[test]
fn a_full_disk_keeps_the_batch_until_there_is_room() {
    let mut rig = Rig::new();
    std::os::unix::fs::symlink("/dev/full", rig.path("log")).unwrap();
    rig.one_file("log", &[]);
    let mut process = FakeProcess::new(1);
    rig.orders([process.attach()]);
    rig.write(&mut process, Stdout, 1, b"first\n");
    rig.write(&mut process, Stdout, 1, b"second\n");
    let others = rig.settle(&mut process);
    assert!(
        matches!(&others[..], [ScribeReport::Trouble(trouble)] if trouble.to_string().contains("No space left")),
        "{others:?}"
    );
    assert!(process.room(Stdout) < CAPACITY, "acknowledged without a write");
    fs::remove_file(rig.path("log")).unwrap();
    rig.pass(Duration::from_secs(1));
    assert_eq!(rig.text("log"), "first\nsecond\n");
    assert!(matches!(rig.settle(&mut process)[..], [ScribeReport::Cleared { .. }]));
    assert_eq!(process.room(Stdout), CAPACITY);
}

#[test]
fn rotated_files_hold_whole_lines_and_all_of_them() {
    let mut rig = Rig::new();
    rig.one_file("log", &[("max_bytes", "100"), ("backup_count", "50")]);
    let mut process = FakeProcess::new(1);
    rig.orders([process.attach()]);
    let mut expected = String::new();
    for number in 0..40 {
        let lines = format!("line {number} of many\nand {number} again\n");
        rig.write(&mut process, Stdout, 1, lines.as_bytes());
        rig.settle(&mut process);
        expected += &lines;
    }
    assert_eq!(concatenated(&rig, "log", true), expected);
}

#[test]
fn a_rotation_that_fails_is_told_and_logging_goes_on() {
    let mut rig = Rig::new();
    rig.one_file("log", &[("max_bytes", "10"), ("backup_count", "1")]);
    fs::create_dir_all(rig.path("log.1/in the way")).unwrap();
    let mut process = FakeProcess::new(1);
    rig.orders([process.attach()]);
    rig.write(&mut process, Stdout, 1, b"12345\n12345\n12345\n");
    rig.write(&mut process, Stdout, 1, b"12345\n");
    assert_eq!(rig.text("log"), "12345\n".repeat(4));
    let others = rig.settle(&mut process);
    assert!(matches!(&others[..], [ScribeReport::Trouble(trouble)] if trouble.action == Action::Rotate), "{others:?}");
    assert_eq!(rig.rotations, 0);
    fs::remove_dir_all(rig.path("log.1")).unwrap();
    rig.write(&mut process, Stdout, 1, b"new\n");
    assert_eq!((rig.text("log"), rig.text("log.1")), ("new\n".to_owned(), "12345\n".repeat(4)));
    assert!(matches!(rig.settle(&mut process)[..], [ScribeReport::Cleared { .. }]));
    assert_eq!(rig.rotations, 1);
}

#[test]
fn a_file_without_backups_grows_and_comes_back_when_moved_away() {
    let mut rig = Rig::new();
    rig.one_file("log", &[("max_bytes", "10")]);
    let mut process = FakeProcess::new(1);
    rig.orders([process.attach()]);
    rig.write(&mut process, Stdout, 1, b"12345\n12345\n12345\n");
    assert_eq!(rig.text("log").len(), 18);
    fs::rename(rig.path("log"), rig.path("moved")).unwrap();
    rig.write(&mut process, Stdout, 1, b"here\n");
    assert_eq!(rig.text("log"), "here\n");
}

#[test]
fn reopen_follows_a_file_that_was_moved() {
    let mut rig = Rig::new();
    rig.one_file("log", &[]);
    let mut process = FakeProcess::new(1);
    rig.orders([process.attach()]);
    rig.write(&mut process, Stdout, 1, b"old\n");
    fs::rename(rig.path("log"), rig.path("moved")).unwrap();
    rig.orders([Order::Reopen]);
    rig.write(&mut process, Stdout, 1, b"new\n");
    assert_eq!((rig.text("moved"), rig.text("log")), ("old\n".to_owned(), "new\n".to_owned()));
}

#[test]
fn a_file_that_is_no_process_file_is_told_and_counts_as_drained() {
    let mut rig = Rig::new();
    rig.one_file("log", &[]);
    let process = FakeProcess::new(1);
    let Order::Attach(mut attach) = process.attach() else { unreachable!() };
    attach.file = tempfile::tempfile().unwrap().into();
    rig.orders([Order::Attach(attach), process.ended()]);
    let reports = rig.reports.take();
    assert!(matches!(reports[..], [ScribeReport::Unreadable { .. }, ScribeReport::Drained { .. }]), "{reports:?}");
}

#[test]
fn a_file_truncated_by_somebody_is_not_rotated_too_early() {
    let mut rig = Rig::new();
    rig.one_file("log", &[("max_bytes", "20"), ("backup_count", "3")]);
    let mut process = FakeProcess::new(1);
    rig.orders([process.attach()]);
    rig.write(&mut process, Stdout, 1, b"0123456789\n");
    fs::write(rig.path("log"), "").unwrap();
    rig.write(&mut process, Stdout, 1, b"0123456789\n");
    assert_eq!(rig.text("log"), "0123456789\n");
    assert!(!rig.path("log.1").exists());
}

/// A FIFO takes a part of a batch and then nothing until somebody reads: the rest comes where it stopped.
#[test]
fn a_batch_that_was_written_in_part_is_finished_where_it_stopped() {
    let mut rig = Rig::new();
    nix::unistd::mkfifo(&rig.path("log"), nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    let mut reader = fs::File::options().read(true).write(true).open(rig.path("log")).unwrap();
    rig.one_file("log", &[]);
    let mut process = FakeProcess::with_ring(1, 2 << 20);
    let text: Vec<u8> = (0..30_000).flat_map(|n| format!("line {n}\n").into_bytes()).collect();
    process.write(Stdout, 1, &text);
    rig.orders([process.attach(), process.ended()]);
    let mut seen = Vec::new();
    let mut part = vec![0; 50_000];
    while seen.len() < text.len() {
        let length = part.len().min(text.len() - seen.len());
        std::io::Read::read_exact(&mut reader, &mut part[..length]).unwrap();
        seen.extend_from_slice(&part[..length]);
        rig.pass(Duration::from_secs(1));
    }
    assert!(seen == text, "the bytes differ");
    let others = rig.settle(&mut process);
    assert!(matches!(others[..], [ScribeReport::Drained { .. }]), "{others:?}");
}
