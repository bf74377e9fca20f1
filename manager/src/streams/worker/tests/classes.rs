//! What only single classes do: rotation by time, JSON, output that goes nowhere.

use super::*;

fn names(rig: &Rig) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(rig.directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn timed(more: &[(&str, &str)]) -> Rig {
    let mut rig = Rig::new();
    rig.wall = "2026-07-15T10:20:30.5Z".parse().unwrap();
    let mut settings = vec![("rotate_when", "s"), ("rotate_interval", "10"), ("utc", "1")];
    settings.extend(more);
    rig.one_of("TimedRotatingFileStream", "log", &settings);
    rig
}

/// The file is moved at the first write after the deadline, by no timer, and the oldest goes.
#[test]
fn a_file_is_moved_away_by_the_clock() {
    let mut rig = timed(&[("backup_count", "2")]);
    let mut process = FakeProcess::new(1);
    rig.orders([process.attach()]);
    for (pause, line) in [(0, "a\n"), (9, "b\n"), (1, "c\n"), (10, "d\n"), (60, "e\n"), (9, "f\n")] {
        rig.pass(Duration::from_secs(pause));
        assert_eq!(rig.worker.next_deadline(), None, "a timer is left");
        rig.write(&mut process, Stdout, 1, line.as_bytes());
    }
    assert_eq!(names(&rig), ["log", "log.20260715102040", "log.20260715102050"]);
    assert_eq!(rig.text("log.20260715102040"), "c\n");
    assert_eq!(rig.text("log.20260715102050"), "d\n");
    assert_eq!(rig.text("log"), "e\nf\n");
    assert!(rig.settle(&mut process).is_empty());
}

#[test]
fn the_first_deadline_is_made_from_the_age_of_the_file() {
    let mut rig = timed(&[]);
    fs::write(rig.path("log"), "from before\n").unwrap();
    let file = fs::File::options().append(true).open(rig.path("log")).unwrap();
    file.set_modified((rig.wall - Duration::from_secs(12)).into()).unwrap();
    // As after a start: nothing is known of the file.
    rig.kill();
    let settings = [("rotate_when", "S"), ("rotate_interval", "10"), ("utc", "x")];
    rig.one_of("TimedRotatingFileStream", "log", &settings);
    let mut process = FakeProcess::new(1);
    rig.orders([process.attach()]);
    rig.write(&mut process, Stdout, 1, b"new\n");
    assert_eq!(names(&rig), ["log", "log.20260715102018"]);
    assert_eq!(rig.text("log"), "new\n");
}

#[test]
fn a_line_is_finished_in_the_file_in_which_it_began() {
    let mut rig = timed(&[]);
    let mut process = FakeProcess::new(1);
    rig.orders([process.attach()]);
    rig.write(&mut process, Stdout, 1, b"begin ");
    rig.pass(HOLD);
    rig.pass(Duration::from_secs(11));
    rig.write(&mut process, Stdout, 1, b"end\nnext\n");
    assert_eq!(rig.text("log.20260715102030"), "begin end\n");
    assert_eq!(rig.text("log"), "next\n");
}

#[test]
fn a_rotation_by_time_that_fails_is_told_and_tried_again_at_the_next_write() {
    let mut rig = timed(&[("backup_count", "1")]);
    let mut process = FakeProcess::new(1);
    rig.orders([process.attach()]);
    rig.write(&mut process, Stdout, 1, b"a\n");
    // An old file that cannot be removed: it is a directory.
    fs::create_dir(rig.path("log.20000101000000")).unwrap();
    rig.pass(Duration::from_secs(10));
    rig.write(&mut process, Stdout, 1, b"b\n");
    assert_eq!((rig.text("log.20260715102030"), rig.text("log")), ("a\n".to_owned(), "b\n".to_owned()));
    let others = rig.settle(&mut process);
    assert!(matches!(&others[..], [ScribeReport::Trouble(trouble)] if trouble.action == Action::Rotate), "{others:?}");
    fs::remove_dir(rig.path("log.20000101000000")).unwrap();
    rig.pass(Duration::from_secs(10));
    rig.write(&mut process, Stdout, 1, b"c\n");
    assert_eq!(names(&rig), ["log", "log.20260715102040"]);
    assert!(matches!(rig.settle(&mut process)[..], [ScribeReport::Cleared { .. }]));
}

#[test]
fn json_has_one_object_a_line_with_the_time_of_its_first_byte() {
    let mut rig = Rig::new();
    rig.one_of("JsonFileStream", "log", &[]);
    let mut process = FakeProcess::new(1);
    rig.orders([process.attach()]);
    process.write(Stdout, 1, b"one");
    process.write(Stdout, 2, b" line\nsecond\n");
    process.write(Stdout, 3, b"third\n");
    rig.write(&mut process, Stderr, 4, b"error \"4\"\n");
    let order = process.advance(Stdout);
    rig.orders([order]);
    rig.write(&mut process, Stdout, 5, b"prompt> ");
    rig.pass(HOLD);
    rig.write(&mut process, Stdout, 6, b"answer\n");
    let seen: Vec<String> = rig
        .text("log")
        .lines()
        .map(|line| {
            let object: serde_json::Value = serde_json::from_str(line).unwrap();
            let [time, stream, data] = ["time", "stream", "data"].map(|key| object[key].as_str().unwrap());
            assert_eq!((&object["watcher"], &object["pid"]), (&"w".into(), &42.into()));
            let partial = if object["partial"] == true { " ..." } else { "" };
            format!("{} {stream} {data}{partial}", time.get(17..19).unwrap())
        })
        .collect();
    let mut sorted = seen.clone();
    sorted.sort();
    assert_eq!(
        sorted,
        [
            "01 stdout one line",
            "02 stdout second",
            "03 stdout third",
            "04 stderr error \"4\"",
            "05 stdout prompt>  ...",
            "06 stdout answer",
        ]
    );
}

#[test]
fn a_torn_object_is_ended_before_the_next() {
    let mut rig = Rig::new();
    fs::write(rig.path("log"), "{\"time\":\"20").unwrap();
    rig.one_of("JsonFileStream", "log", &[]);
    let mut process = FakeProcess::new(1);
    rig.orders([process.attach()]);
    rig.write(&mut process, Stdout, 1, b"x\n");
    let text = rig.text("log");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text:?}");
    assert!(serde_json::from_str::<serde_json::Value>(lines[1]).is_ok(), "{text:?}");
}

#[test]
fn lost_output_is_an_object_of_its_own() {
    let mut rig = Rig::new();
    rig.one_of("JsonFileStream", "log", &[("max_bytes", "300"), ("backup_count", "99")]);
    let mut process = FakeProcess::new(1);
    rig.orders([process.attach()]);
    process.write(Stdout, 1, &b"0123456789abcde\n".repeat(100));
    process.lose(Stdout, 8);
    rig.orders([process.advance(Stdout)]);
    let text = concatenated(&rig, "log", false);
    assert!(without_times(&text).contains("[ringmaster: 8 bytes lost from stdout: not read in time]\"}"), "{text}");
    for line in text.lines() {
        assert!(serde_json::from_str::<serde_json::Value>(line).is_ok(), "{line}");
    }
}

#[test]
fn a_queue_takes_output_and_keeps_none() {
    let mut rig = Rig::new();
    rig.one_of("QueueStream", "log", &[]);
    let mut process = FakeProcess::new(1);
    rig.orders([process.attach()]);
    rig.write(&mut process, Stdout, 1, b"x\n");
    assert!(rig.settle(&mut process).is_empty());
    assert_eq!(process.room(Stdout), CAPACITY);
    assert!(names(&rig).is_empty());
}
