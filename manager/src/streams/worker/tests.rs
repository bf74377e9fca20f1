//! The worker with fake process files and a clock that the test moves.

use super::fake_process::{CAPACITY, FakeProcess};
use super::*;
use crate::options::{StreamClass, StreamOptions};
use crate::streams::mailbox::Order;
use crate::streams::report::Action;
use proptest::prelude::*;
use ringmaster_protocol::ring::Stream::{Stderr, Stdout};
use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;

type Reports = Rc<RefCell<Vec<ScribeReport>>>;

struct Rig {
    worker: Worker<Box<dyn Fn(ScribeReport)>>,
    reports: Reports,
    now: Instant,
    directory: tempfile::TempDir,
}

fn worker(reports: &Reports) -> Worker<Box<dyn Fn(ScribeReport)>> {
    let sink = Rc::clone(reports);
    let report: Box<dyn Fn(ScribeReport)> = Box::new(move |report| sink.borrow_mut().push(report));
    Worker::new(report, TimeZone::UTC)
}

impl Rig {
    fn new() -> Self {
        let reports = Reports::default();
        Self {
            worker: worker(&reports),
            reports,
            now: Instant::now(),
            directory: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        String::from_utf8(fs::read(self.path(name)).unwrap()).unwrap()
    }

    fn options(&self, name: &str, more: &[(&str, &str)]) -> StreamOptions {
        let filename = self.path(name).to_str().unwrap().to_owned();
        let more = more
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        StreamOptions {
            class: StreamClass::BuiltIn("FileStream".to_owned()),
            settings: more.chain([("filename".to_owned(), filename)]).collect(),
        }
    }

    /// Gives orders and lets the worker come to rest.
    fn orders(&mut self, orders: impl IntoIterator<Item = Order>) {
        let mut wanted = Wanted::default();
        orders.into_iter().for_each(|order| wanted.fold(order));
        self.worker.apply(wanted, self.now);
        self.rest();
    }

    fn rest(&mut self) {
        self.worker.expire(self.now);
        for _ in 0..10_000 {
            if !self.worker.has_work() {
                return;
            }
            self.worker.work(self.now);
        }
        panic!("the worker does not come to rest");
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.rest();
    }

    fn streams(&mut self, stdout: Option<StreamOptions>, stderr: Option<StreamOptions>) {
        let watcher = WatcherKey::new("w");
        self.orders([Order::SetStreams {
            watcher,
            stdout,
            stderr,
        }]);
    }

    /// Streams of both outputs into one file.
    fn one_file(&mut self, name: &str, more: &[(&str, &str)]) {
        let options = self.options(name, more);
        self.streams(Some(options.clone()), Some(options));
    }

    fn write(&mut self, process: &mut FakeProcess, stream: Stream, second: u64, bytes: &[u8]) {
        process.write(stream, second, bytes);
        let order = process.advance(stream);
        self.orders([order]);
    }

    /// Passes acknowledgements on to the fake core; gives all other reports.
    fn settle(&mut self, process: &mut FakeProcess) -> Vec<ScribeReport> {
        let mut others = Vec::new();
        for report in self.reports.take() {
            match report {
                ScribeReport::Consumed { stream, offset, .. } => process.ack(stream, offset),
                other => others.push(other),
            }
        }
        others
    }

    /// As after kill -9 of the manager: all that is left is what the core knows.
    fn restart(&mut self, process: &mut FakeProcess) {
        self.settle(process);
        self.worker = worker(&self.reports);
    }
}

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
    assert_eq!(
        rig.text("log"),
        "01:01 [42] | while nobody listened\n01:02 [42] | second\n01:03 [42] | third\n"
    );
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
    assert_eq!(
        rig.text("log"),
        "01 [42] | done\n01 [42] | prompt> answer\n",
        "too early"
    );
    rig.pass(HOLD / 2);
    assert_eq!(
        rig.text("log"),
        "01 [42] | done\n01 [42] | prompt> answer\n04 [42] | next"
    );
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
        rig.text("log"),
        "begin\n[ringmaster: 8 bytes lost from stdout]\n89\nafter\n"
    );
    let others = rig.settle(&mut process);
    assert!(
        matches!(
            others[..],
            [ScribeReport::Gap {
                stream: Stdout,
                lost: 8,
                to: 13,
                ..
            }]
        ),
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
    assert_eq!(
        rig.text("log"),
        "x [42] | [ringmaster: 11 bytes lost from stdout]\nx [42] | after\n"
    );
    rig.write(&mut process, Stdout, 1, b"more\n");
    assert!(rig.text("log").ends_with("after\nx [42] | more\n"));
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
    assert!(
        rig.settle(&mut process)
            .iter()
            .any(|report| matches!(report, ScribeReport::Drained { .. }))
    );
}

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
    assert!(
        matches!(
            others[..],
            [ScribeReport::Cleared { .. }, ScribeReport::Drained { .. }]
        ),
        "{others:?}"
    );
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
    assert!(matches!(
        rig.settle(&mut process)[..],
        [ScribeReport::Cleared { .. }]
    ));
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

/// The text of all files of a chain, oldest first.
fn concatenated(rig: &Rig, name: &str, bounded: bool) -> String {
    let mut names = vec![name.to_owned()];
    for number in 1.. {
        let old = format!("{name}.{number}");
        if !rig.path(&old).exists() {
            break;
        }
        names.push(old);
    }
    let texts = names.iter().rev().map(|name| rig.text(name));
    texts
        .inspect(|text| assert!(!bounded || (text.len() < 100 && text.ends_with('\n')), "{text:?}"))
        .collect()
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
    assert!(
        matches!(&others[..], [ScribeReport::Trouble(trouble)] if trouble.action == Action::Rotate),
        "{others:?}"
    );
    fs::remove_dir_all(rig.path("log.1")).unwrap();
    rig.write(&mut process, Stdout, 1, b"new\n");
    assert_eq!(
        (rig.text("log"), rig.text("log.1")),
        ("new\n".to_owned(), "12345\n".repeat(4))
    );
    assert!(matches!(
        rig.settle(&mut process)[..],
        [ScribeReport::Cleared { .. }]
    ));
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
    assert_eq!(
        (rig.text("moved"), rig.text("log")),
        ("old\n".to_owned(), "new\n".to_owned())
    );
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
    assert!(
        matches!(others[..], [ScribeReport::Flushed { token: 7 }]),
        "{others:?}"
    );
}

#[test]
fn closing_a_watcher_and_detaching_leaves_no_descriptor() {
    let open = |path: &Path| {
        let links = fs::read_dir("/proc/self/fd")
            .unwrap()
            .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        links.filter(|link| link == path).count()
    };
    let mut rig = Rig::new();
    rig.one_file("log", &[]);
    let process = FakeProcess::new(1);
    rig.orders([process.attach()]);
    assert_eq!(open(&rig.path("log")), 1);
    rig.orders([
        Order::CloseWatcher {
            watcher: WatcherKey::new("W"),
        },
        Order::Detach {
            process: process.id(),
        },
    ]);
    assert_eq!(open(&rig.path("log")), 0);
    assert!(rig.worker.processes.is_empty() && rig.worker.early.is_empty());
}

#[test]
fn a_file_that_is_no_process_file_is_told_and_counts_as_drained() {
    let mut rig = Rig::new();
    rig.one_file("log", &[]);
    let process = FakeProcess::new(1);
    let Order::Attach(mut attach) = process.attach() else {
        unreachable!()
    };
    attach.file = tempfile::tempfile().unwrap().into();
    rig.orders([Order::Attach(attach), process.ended()]);
    let reports = rig.reports.take();
    assert!(
        matches!(
            reports[..],
            [ScribeReport::Unreadable { .. }, ScribeReport::Drained { .. }]
        ),
        "{reports:?}"
    );
}

#[derive(Debug, Clone)]
enum Step {
    Write { stderr: bool, length: usize },
    Notify { stderr: bool },
    Wait,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (any::<bool>(), 1usize..300).prop_map(|(stderr, length)| Step::Write { stderr, length }),
        6 => any::<bool>().prop_map(|stderr| Step::Notify { stderr }),
        1 => Just(Step::Wait),
        1 => Just(Step::Restart),
    ]
}

/// Numbered lines of one stream, to be written in arbitrary pieces.
fn endless(mark: char) -> impl Iterator<Item = u8> {
    (0u64..).flat_map(move |number| {
        let width = usize::try_from(number * 7 % 40).unwrap();
        format!("{mark}{number} {:x<width$}\n", "").into_bytes()
    })
}

/// Runs steps and gives the text of all files, and what each stream wrote.
fn story(steps: &[Step], more: &[(&str, &str)], both: bool) -> (String, [Vec<u8>; 2]) {
    let mut rig = Rig::new();
    let mut process = FakeProcess::new(1);
    let mut sources = [
        Box::new(endless('o')) as Box<dyn Iterator<Item = u8>>,
        Box::new(endless('e')),
    ];
    let mut written = [Vec::new(), Vec::new()];
    rig.one_file("log", more);
    rig.orders([process.attach()]);
    for step in steps {
        let stream = |stderr: bool| if stderr && both { Stderr } else { Stdout };
        match step {
            Step::Write { stderr, length } => {
                let stream = stream(*stderr);
                let length = (*length).min(process.room(stream) as usize);
                let bytes: Vec<u8> = sources[stream.index()].by_ref().take(length).collect();
                if !bytes.is_empty() {
                    process.write(stream, 5, &bytes);
                    written[stream.index()].extend(bytes);
                }
            }
            Step::Notify { stderr } => rig.orders([process.advance(stream(*stderr))]),
            Step::Wait => rig.pass(HOLD),
            Step::Restart => {
                rig.restart(&mut process);
                rig.one_file("log", more);
                rig.orders([process.attach()]);
            }
        }
        rig.settle(&mut process);
    }
    rig.orders([process.ended()]);
    let others = rig.settle(&mut process);
    assert!(matches!(others[..], [ScribeReport::Drained { .. }]), "{others:?}");
    (concatenated(&rig, "log", false), written)
}

proptest! {
    /// One stream, raw: the files are what the child wrote, byte for byte.
    #[test]
    fn raw_output_of_one_stream_is_identical(steps in prop::collection::vec(step(), 1..60), rotate: bool) {
        let rotation = [("max_bytes", "500"), ("backup_count", "1000")];
        let (text, [written, _]) = story(&steps, if rotate { &rotation } else { &[] }, false);
        prop_assert_eq!(text.into_bytes(), written);
    }

    /// One stream, prefixed: each line once, in order, with one prefix.
    #[test]
    fn prefixed_output_of_one_stream_is_the_reference(steps in prop::collection::vec(step(), 1..60)) {
        let (text, [written, _]) = story(&steps, &[("time_format", "%S")], false);
        let written = String::from_utf8(written).unwrap();
        let expected: String = written.split_inclusive('\n').map(|line| format!("05 [42] | {line}")).collect();
        prop_assert_eq!(text, expected);
    }

    /// Two streams in one file: taken apart again, each is what was written, but for newlines where a line was broken.
    #[test]
    fn two_streams_in_one_file_lose_and_repeat_nothing(steps in prop::collection::vec(step(), 1..60)) {
        // Without waiting no unfinished line is written, so none is ever broken.
        let steps: Vec<Step> = steps.into_iter().filter(|step| !matches!(step, Step::Wait)).collect();
        let (text, written) = story(&steps, &[], true);
        let complete = |bytes: &[u8]| {
            let text = String::from_utf8(bytes.to_vec()).unwrap();
            text.lines().map(str::to_owned).collect::<Vec<_>>()
        };
        for (mark, written) in ['o', 'e'].into_iter().zip(written) {
            let lines: Vec<String> = text.lines().filter(|line| line.starts_with(mark)).map(str::to_owned).collect();
            prop_assert_eq!(lines, complete(&written));
        }
    }
}
