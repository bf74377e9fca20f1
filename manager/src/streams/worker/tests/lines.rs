//! What reaches a file: times, unfinished lines, several writers, gaps, ends, restarts.

use super::*;

#[test]
fn output_is_written_and_acknowledged_around_the_end_of_the_ring() {
    let mut rig = Rig::new();
    rig.one_file("log", &[]);
    let mut process = FakeProcess::new(1);
    rig.orders([process.attach()]);
    let mut expected = String::new();
    for number in 0..1000 {
        let line = format!("line number {number}\n");
        rig.write(&mut process, Stdout, 1, line.as_bytes());
        expected += &line;
        assert!(rig.settle(&mut process).is_empty());
        assert_eq!(process.room(Stdout), CAPACITY);
    }
    assert_eq!(rig.text("log"), expected);
}

#[test]
fn lines_have_the_time_at_which_they_reached_the_core() {
    let mut rig = Rig::new();
    rig.one_file("log", &[("time_format", "%M:%S")]);
    let mut process = FakeProcess::new(1);
    process.write(Stdout, 61, b"while nobody ");
    process.write(Stdout, 62, b"listened\nsecond\n");
    rig.orders([process.attach()]);
    rig.write(&mut process, Stdout, 63, b"third\n");
    assert_eq!(rig.text("log"), "01:01 [42] | while nobody listened\n01:02 [42] | second\n01:03 [42] | third\n");
}

#[test]
fn an_unfinished_line_waits_a_little_and_is_then_shown() {
    let mut rig = Rig::new();
    rig.one_file("log", &[("time_format", "%S")]);
    let mut process = FakeProcess::new(1);
    rig.orders([process.attach()]);
    rig.write(&mut process, Stdout, 1, b"done\npro");
    rig.write(&mut process, Stdout, 2, b"mpt");
    assert_eq!(rig.text("log"), "01 [42] | done\n");
    assert_eq!(rig.worker.next_deadline(), Some(rig.now + HOLD));
    rig.pass(HOLD);
    assert_eq!(rig.text("log"), "01 [42] | done\n01 [42] | prompt");
    assert_eq!(rig.worker.next_deadline(), None, "a timer is left");
    rig.write(&mut process, Stdout, 3, b"> ");
    rig.pass(HOLD / 2);
    rig.write(&mut process, Stdout, 4, b"answer\nnext");
    assert_eq!(rig.text("log"), "01 [42] | done\n01 [42] | prompt> answer\n");
    rig.pass(HOLD / 2);
    assert_eq!(rig.text("log"), "01 [42] | done\n01 [42] | prompt> answer\n", "too early");
    rig.pass(HOLD / 2);
    assert_eq!(rig.text("log"), "01 [42] | done\n01 [42] | prompt> answer\n04 [42] | next");
    assert_eq!(rig.worker.next_deadline(), None, "a timer is left");
}

#[test]
fn two_streams_in_one_file_keep_the_order_of_arrival_and_whole_lines() {
    let mut rig = Rig::new();
    rig.one_file("log", &[]);
    let mut process = FakeProcess::new(1);
    process.write(Stdout, 1, b"o1\no2 is ");
    process.write(Stderr, 1, b"e1\n");
    process.write(Stdout, 1, b"long\n");
    process.write(Stderr, 1, b"e2\n");
    process.write(Stdout, 1, b"o3\n");
    rig.orders([process.attach()]);
    assert_eq!(rig.text("log"), "o1\ne1\no2 is long\ne2\no3\n");
}

#[test]
fn processes_that_share_a_file_do_not_break_each_others_lines() {
    let mut rig = Rig::new();
    rig.one_file("log", &[]);
    let (mut one, mut two) = (FakeProcess::new(1), FakeProcess::new(2));
    rig.orders([one.attach(), two.attach()]);
    rig.write(&mut one, Stdout, 1, b"one ");
    rig.pass(HOLD);
    rig.write(&mut two, Stdout, 1, b"two\n");
    rig.write(&mut one, Stdout, 1, b"goes on\n");
    assert_eq!(rig.text("log"), "one \ntwo\ngoes on\n");
}

#[test]
fn lost_output_is_told_in_a_line_of_its_own() {
    let mut rig = Rig::new();
    rig.one_file("log", &[]);
    let mut process = FakeProcess::new(1);
    rig.orders([process.attach()]);
    rig.write(&mut process, Stdout, 1, b"begin");
    rig.pass(HOLD);
    rig.settle(&mut process);
    process.write(Stdout, 2, b"0123456789\nafter\n");
    process.lose(Stdout, 8);
    rig.orders([process.advance(Stdout)]);
    assert_eq!(
        without_times(&rig.text("log")),
        "begin\n[ringmaster: 8 bytes lost from stdout: not read in time]\n89\nafter\n"
    );
    let others = rig.settle(&mut process);
    assert!(
        matches!(others[..], [ScribeReport::Gap { stream: Stdout, loss: Loss { bytes: 8, .. }, .. }]),
        "{others:?}"
    );
}

#[test]
fn output_lost_while_nobody_was_there_is_told_once() {
    let mut rig = Rig::new();
    rig.one_file("log", &[("time_format", "x")]);
    let mut process = FakeProcess::new(1);
    process.write(Stdout, 1, b"0123456789\nafter\n");
    process.lose(Stdout, 11);
    rig.orders([process.attach()]);
    let line = "x [42] | [ringmaster: 11 bytes lost from stdout between 1970-01-01T00:00:00+00:00 and \
                1970-01-01T00:00:01+00:00: circusd was away]\n";
    assert_eq!(rig.text("log"), format!("{line}x [42] | after\n"));
    rig.kill();
    rig.one_file("log", &[("time_format", "x")]);
    rig.orders([process.attach()]);
    rig.write(&mut process, Stdout, 1, b"more\n");
    assert_eq!(rig.text("log"), format!("{line}x [42] | after\nx [42] | more\n"));
}

#[test]
fn the_last_words_are_written_before_the_end_is_told() {
    let mut rig = Rig::new();
    rig.one_file("log", &[]);
    let mut process = FakeProcess::new(1);
    rig.orders([process.attach()]);
    process.write(Stdout, 1, b"panic: no newli");
    process.write(Stderr, 1, b"core dumped");
    // The notices of output may have been overtaken by the one of the end.
    rig.orders([process.ended()]);
    assert_eq!(rig.text("log"), "panic: no newli\ncore dumped");
    let others = rig.settle(&mut process);
    assert!(matches!(others[..], [ScribeReport::Drained { .. }]), "{others:?}");
    assert_eq!((process.room(Stdout), process.room(Stderr)), (CAPACITY, CAPACITY));
    rig.orders([process.ended()]);
    assert!(rig.settle(&mut process).is_empty(), "told twice");
}

#[test]
fn without_a_stream_output_is_taken_and_thrown_away() {
    let mut rig = Rig::new();
    rig.streams(None, None);
    let mut process = FakeProcess::new(1);
    rig.orders([process.attach()]);
    rig.write(&mut process, Stderr, 1, b"nobody wants this");
    rig.orders([process.ended()]);
    let others = rig.settle(&mut process);
    assert!(matches!(others[..], [ScribeReport::Drained { .. }]), "{others:?}");
    assert_eq!(process.room(Stderr), CAPACITY);
}

#[test]
fn notices_that_overtake_the_attachment_are_kept() {
    let mut rig = Rig::new();
    rig.one_file("log", &[]);
    let mut process = FakeProcess::new(1);
    let attach = process.attach();
    process.write(Stdout, 1, b"early\n");
    rig.orders([process.advance(Stdout)]);
    rig.orders([process.ended()]);
    rig.orders([attach]);
    assert_eq!(rig.text("log"), "early\n");
    assert!(rig.settle(&mut process).iter().any(|report| matches!(report, ScribeReport::Drained { .. })));
}

#[test]
fn a_line_goes_on_after_a_restart_of_the_manager() {
    let mut rig = Rig::new();
    rig.one_file("log", &[("time_format", "%S")]);
    let mut process = FakeProcess::new(1);
    rig.orders([process.attach()]);
    rig.write(&mut process, Stdout, 1, b"half a ");
    rig.pass(HOLD);
    rig.restart(&mut process);
    process.write(Stdout, 2, b"line\nnext\n");
    rig.one_file("log", &[("time_format", "%S")]);
    rig.orders([process.attach()]);
    assert_eq!(rig.text("log"), "01 [42] | half a line\n02 [42] | next\n");
}

#[test]
fn a_line_torn_by_a_kill_is_ended_before_the_next_begins() {
    let mut rig = Rig::new();
    fs::write(rig.path("log"), "torn li").unwrap();
    rig.one_file("log", &[]);
    let mut process = FakeProcess::new(1);
    process.write(Stdout, 1, b"torn line\n");
    rig.orders([process.attach()]);
    assert_eq!(rig.text("log"), "torn li\ntorn line\n");
}

#[test]
fn a_flush_writes_unfinished_lines_and_answers() {
    let mut rig = Rig::new();
    rig.one_file("log", &[]);
    let mut process = FakeProcess::new(1);
    rig.orders([process.attach()]);
    rig.write(&mut process, Stdout, 1, b"no end");
    rig.orders([Order::Flush { token: 7 }]);
    assert_eq!(rig.text("log"), "no end");
    let others = rig.settle(&mut process);
    assert!(matches!(others[..], [ScribeReport::Flushed { token: 7, .. }]), "{others:?}");
}

#[test]
fn closing_a_watcher_and_detaching_leaves_no_descriptor() {
    let open = |path: &Path| {
        let links = fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        links.filter(|link| link == path).count()
    };
    let mut rig = Rig::new();
    rig.one_file("log", &[]);
    let process = FakeProcess::new(1);
    rig.orders([process.attach()]);
    assert_eq!(open(&rig.path("log")), 1);
    rig.orders([Order::CloseWatcher { watcher: WatcherKey::new("W") }, Order::Detach { process: process.id() }]);
    assert_eq!(open(&rig.path("log")), 0);
    assert!(rig.worker.processes.is_empty() && rig.worker.early.is_empty());
}

/// A ring with more than one batch in it, and a line longer than a batch.
#[test]
fn batches_join_without_a_seam() {
    let mut rig = Rig::new();
    rig.one_file("log", &[]);
    let mut process = FakeProcess::with_ring(1, 2 << 20);
    let mut text = b"a line that does not end at a batch\n".repeat(9000);
    text.extend(vec![b'x'; 400_000]);
    text.extend(b"\nafter the long line\n");
    for piece in text.chunks(65_536) {
        process.write(Stdout, 1, piece);
    }
    rig.orders([process.attach(), process.ended()]);
    assert!(fs::read(rig.path("log")).unwrap() == text, "the bytes differ");
    rig.settle(&mut process);
    assert_eq!(process.room(Stdout), 2 << 20);
}

/// More records than are read at once, each with a time of its own.
#[test]
fn every_line_of_thousands_of_records_has_its_own_time() {
    let mut rig = Rig::new();
    rig.one_file("log", &[("time_format", "%s")]);
    let mut process = FakeProcess::with_ring(1, 2 << 20);
    let mut expected = String::new();
    for second in 0..5000 {
        let line = format!("line {second}\n");
        process.write(Stdout, second, line.as_bytes());
        expected += &format!("{second} [42] | {line}");
    }
    rig.orders([process.attach()]);
    assert_eq!(rig.text("log"), expected);
}

/// Both streams have more than a batch, in turns of several sizes: what arrived later never comes first.
#[test]
fn two_long_streams_keep_the_order_of_arrival_across_batches() {
    let mut rig = Rig::new();
    rig.one_file("log", &[]);
    let mut process = FakeProcess::with_ring(1, 2 << 20);
    let mut expected = String::new();
    let mut number = 0;
    for turn in 0..60 {
        let stream = if turn % 2 == 0 { Stdout } else { Stderr };
        let lines: String = (0..(turn * 37) % 900)
            .map(|_| {
                number += 1;
                format!("{} line {number}\n", stream.name())
            })
            .collect();
        if !lines.is_empty() {
            process.write(stream, 1, lines.as_bytes());
        }
        expected += &lines;
    }
    rig.orders([process.attach()]);
    assert!(expected.len() > 400_000);
    assert!(rig.text("log") == expected, "the order differs");
}

#[test]
fn times_stay_right_when_the_records_wrap() {
    let mut rig = Rig::new();
    rig.one_file("log", &[("time_format", "%s")]);
    let mut process = FakeProcess::new(1);
    rig.orders([process.attach()]);
    let mut expected = String::new();
    for batch in 0..300 {
        for second in batch * 3..batch * 3 + 3 {
            process.write(Stdout, second, b"x\n");
            expected += &format!("{second} [42] | x\n");
        }
        rig.orders([process.advance(Stdout)]);
        rig.settle(&mut process);
    }
    assert_eq!(rig.text("log"), expected);
}

/// The core tells of both streams one after the other; what it tells first may have come last.
#[test]
fn notices_that_overtake_each_other_do_not_change_the_order() {
    for more in [&[][..], &[("time_format", "%S")]] {
        let mut rig = Rig::new();
        rig.one_file("log", more);
        let mut process = FakeProcess::new(1);
        rig.orders([process.attach()]);
        process.write(Stderr, 1, b"first\n");
        process.write(Stdout, 2, b"second\n");
        rig.orders([process.advance(Stdout)]);
        assert_eq!(rig.text("log"), "");
        process.write(Stderr, 3, b"third\n");
        rig.orders([process.advance(Stderr)]);
        let text = rig.text("log");
        let words: Vec<&str> = text.lines().map(|line| line.rsplit(' ').next().unwrap()).collect();
        assert_eq!(words, ["first", "second", "third"]);
    }
}

/// The core was killed between a record and its bytes: nobody will announce them.
#[test]
fn a_record_without_bytes_stops_nothing_for_long() {
    let mut rig = Rig::new();
    rig.one_file("log", &[]);
    let mut process = FakeProcess::new(1);
    rig.orders([process.attach()]);
    process.write(Stderr, 1, b"never announced\n");
    rig.write(&mut process, Stdout, 2, b"here\n");
    assert_eq!(rig.text("log"), "");
    rig.pass(HOLD);
    assert_eq!(rig.text("log"), "here\n");
}

/// Records of a ring of the smallest size.
const RECORDS: u64 = 128;

/// A line of its own second for each number.
fn tick(process: &mut FakeProcess, number: u64) -> String {
    process.write(Stdout, number, b"tick\n");
    format!("{:02}:{:02} [42] | tick\n", number / 60, number % 60)
}

#[test]
fn times_are_right_when_the_places_of_old_records_are_used_again_before_the_first_look() {
    let mut rig = Rig::new();
    rig.one_file("log", &[("time_format", "%M:%S")]);
    let mut process = FakeProcess::new(1);
    rig.orders([process.attach()]);
    let mut expected: String = (0..RECORDS - 1).map(|number| tick(&mut process, number)).collect();
    rig.orders([process.advance(Stdout)]);
    // What was written is not acknowledged yet; the next circusd does that at once, before it looks.
    rig.kill();
    rig.one_file("log", &[("time_format", "%M:%S")]);
    rig.orders([process.attach()]);
    rig.settle(&mut process);
    expected.extend((RECORDS..2 * RECORDS - 2).map(|number| tick(&mut process, number)));
    rig.orders([process.advance(Stdout)]);
    assert_eq!(rig.text("log"), expected);
}

#[test]
fn times_are_right_when_nobody_asked_for_them_for_several_rounds() {
    for at_the_end in [false, true] {
        let mut rig = Rig::new();
        let raw = rig.options("raw", &[]);
        rig.streams(Some(raw), None);
        let mut process = FakeProcess::new(1);
        rig.orders([process.attach()]);
        for number in 0..3 * RECORDS + 50 {
            tick(&mut process, number);
            rig.orders([process.advance(Stdout)]);
            rig.settle(&mut process);
        }
        let timed = rig.options("log", &[("time_format", "%M:%S")]);
        rig.streams(Some(timed), None);
        let expected: String = (0..100).map(|number| tick(&mut process, number)).collect();
        // The last words come without the number of their records.
        rig.orders([if at_the_end { process.ended() } else { process.advance(Stdout) }]);
        assert_eq!(rig.text("log"), expected);
    }
}

#[test]
fn times_are_right_after_a_loss_of_more_than_all_records() {
    let mut rig = Rig::new();
    rig.one_file("log", &[("time_format", "%M:%S")]);
    let mut process = FakeProcess::new(1);
    rig.orders([process.attach()]);
    for number in 0..2 * RECORDS - 20 {
        tick(&mut process, number);
        process.lose(Stdout, 5);
    }
    let expected: String = (0..100).map(|number| tick(&mut process, number)).collect();
    rig.orders([process.advance(Stdout)]);
    let text = rig.text("log");
    let (gap, lines) = text.split_once('\n').unwrap();
    assert!(gap.contains("bytes lost from stdout"), "{gap}");
    assert_eq!(lines, expected);
}
