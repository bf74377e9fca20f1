//! Classes in Python, with a real `python3` for each: what they are called with, and what happens when they misbehave.

use super::*;
use crate::streams::mailbox::Patience;
use crate::streams::{ClassReport, ClassWord, PythonError, PythonPlace};
use serde_json::{Value, json};

/// A test waits no longer than this for anything.
const LIMIT: Duration = Duration::from_secs(60);

const MODULE: &str = r#"
import json, os, time

class Recorder:
    def __init__(self, filename, **settings):
        self.file = open(filename, "a", buffering=1)
        self.settings = settings
        self.note({"made": settings})

    def note(self, what):
        self.file.write(json.dumps(what) + "\n")

    def __call__(self, data):
        assert type(data["data"]) is bytes
        self.note(dict(data, data=data["data"].decode()))

    def close(self):
        self.note("closed")

class Raises(Recorder):
    def __call__(self, data):
        super().__call__(data)
        raise ValueError("no such luck")

class Waits(Recorder):
    """Until there is a file."""
    def __call__(self, data):
        while not os.path.exists(self.settings["until"]):
            time.sleep(0.01)
        super().__call__(data)

class Dies(Recorder):
    """Once, when it is called with poison."""
    def __call__(self, data):
        if b"poison" in data["data"] and not os.path.exists(self.settings["died"]):
            open(self.settings["died"], "w").close()
            os._exit(7)
        super().__call__(data)

class NoObject:
    def __init__(self, **settings):
        raise KeyError("sorry")

class Nothing:
    pass
"#;

/// A rig whose watcher has an object of `class` for both outputs, each with a file of its own: `stdout`, `stderr`.
fn rig(class: &str, more: &[(&str, &str)], limit: Duration) -> Rig {
    let mut rig = Rig::new();
    fs::write(rig.path("our_streams.py"), MODULE).unwrap();
    let path = Some(rig.directory.path().display().to_string());
    rig.python = PythonPlace { path, limit: Some(limit) };
    set(&mut rig, class, more);
    rig
}

fn set(rig: &mut Rig, class: &str, more: &[(&str, &str)]) {
    let class = StreamClass::parse(&format!("our_streams.{class}")).unwrap();
    let [stdout, stderr] = ["stdout", "stderr"].map(|name| {
        let options = rig.options(name, more);
        Some(StreamOptions { class: class.clone(), ..options })
    });
    rig.streams(stdout, stderr);
}

/// Takes in what objects tell until there is nothing to complain about.
fn until(rig: &mut Rig, what: &str, done: impl Fn(&Rig) -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !done(rig) {
        let mailbox = Arc::clone(&rig.worker.mailbox);
        let wanted = mailbox.take(Patience::Until(deadline));
        assert!(Instant::now() < deadline, "{what}: {:?}", rig.reports.borrow());
        rig.worker.apply(wanted, rig.moment());
        rig.rest();
    }
}

fn until_taken(rig: &mut Rig, process: &FakeProcess) {
    until(rig, "all is taken", |rig| {
        let cursors = &rig.worker.processes[&process.id()].cursors;
        Stream::ALL.iter().all(|stream| cursors.get(*stream).as_ref().is_none_or(Cursor::is_drained))
    });
}

fn words(rig: &Rig) -> Vec<ClassWord> {
    let reports = rig.reports.borrow();
    let words = reports.iter().filter_map(|report| match report {
        ScribeReport::Class(ClassReport { word, .. }) => Some(word.clone()),
        _ => None,
    });
    words.collect()
}

/// What an object has noted; a line that was cut off by the death of its Python counts as nothing.
fn notes(rig: &Rig, name: &str) -> Vec<Value> {
    rig.text(name).lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// All data that an object was called with.
fn data(rig: &Rig, name: &str) -> String {
    notes(rig, name).iter().filter_map(|note| Some(note.get("data")?.as_str()?.to_owned())).collect()
}

/// The end of a test: no Python is left.
fn end(mut rig: Rig) -> Rig {
    rig.worker.close_objects();
    rig
}

#[test]
fn an_object_is_made_called_and_closed_as_in_circus() {
    let mut rig = rig("Recorder", &[("colour", "red"), ("max_bytes", "7")], LIMIT);
    let mut process = FakeProcess::new(1);
    rig.orders([process.attach()]);
    rig.write(&mut process, Stdout, 1, b"one\ntwo\n");
    rig.write(&mut process, Stdout, 2, b"three\n");
    rig.write(&mut process, Stderr, 3, b"oh\n");
    rig.write(&mut process, Stdout, 4, b"unfinished");
    until_taken_but_the_last_line(&mut rig, &process);
    rig.pass(Duration::from_millis(300));
    until_taken(&mut rig, &process);
    rig.settle(&mut process);
    assert_eq!((process.room(Stdout), process.room(Stderr)), (CAPACITY, CAPACITY), "acknowledged");
    rig.orders([process.ended()]);
    rig.orders([Order::Detach { process: process.id() }, Order::CloseWatcher { watcher: WatcherKey::new("w") }]);
    let rig = end(rig);
    let call = |data: &str, name: &str, time: f64| json!({"data": data, "pid": 42, "name": name, "timestamp": time});
    assert_eq!(
        notes(&rig, "stdout"),
        [
            json!({"made": {"colour": "red", "max_bytes": "7"}}),
            call("one\ntwo\n", "stdout", 1.0),
            call("three\n", "stdout", 2.0),
            call("unfinished", "stdout", 4.0),
            json!("closed"),
        ]
    );
    assert_eq!(notes(&rig, "stderr")[1..], [call("oh\n", "stderr", 3.0), json!("closed")]);
    assert_eq!(words(&rig), []);
}

fn until_taken_but_the_last_line(rig: &mut Rig, process: &FakeProcess) {
    until(rig, "three whole lines", |rig| {
        let cursors = &rig.worker.processes[&process.id()].cursors;
        cursors.stdout.as_ref().unwrap().offset == 14 && cursors.stderr.as_ref().unwrap().is_drained()
    });
}

/// Lines that arrived together come together, in calls of a bounded length.
#[test]
fn much_output_is_few_calls_and_every_byte_is_in_order() {
    let mut rig = rig("Recorder", &[], LIMIT);
    let mut process = FakeProcess::with_ring(1, 1 << 20);
    rig.orders([process.attach()]);
    let text: String = (0..60_000).map(|number| format!("line {number}\n")).collect();
    let long = format!("{}\n", "x".repeat(20_000));
    let longer = format!("{}\n", "y".repeat(100_000));
    rig.write(&mut process, Stdout, 1, text.as_bytes());
    rig.write(&mut process, Stdout, 2, long.as_bytes());
    until_taken(&mut rig, &process);
    rig.settle(&mut process);
    rig.write(&mut process, Stdout, 3, longer.as_bytes());
    until_taken(&mut rig, &process);
    let rig = end(rig);
    assert!(data(&rig, "stdout") == text + &long + &longer, "the bytes differ");
    let lengths: Vec<usize> =
        notes(&rig, "stdout").iter().filter_map(|note| Some(note.get("data")?.as_str()?.len())).collect();
    let [rest @ .., long_call, first, second] = &lengths[..] else { panic!("{lengths:?}") };
    assert_eq!((*long_call, *first, *second), (long.len(), 64 << 10, longer.len() - (64 << 10)));
    assert!(rest.iter().all(|length| *length <= 8 << 10) && rest.len() < 150, "{lengths:?}");
}

#[test]
fn what_raises_counts_as_taken_and_is_told_once() {
    let mut rig = rig("Raises", &[], LIMIT);
    let mut process = FakeProcess::new(1);
    rig.orders([process.attach()]);
    for second in 0..5 {
        rig.write(&mut process, Stdout, second, format!("line {second}\n").as_bytes());
        until_taken(&mut rig, &process);
    }
    until(&mut rig, "a word about it", |rig| !words(rig).is_empty());
    assert!(matches!(&words(&rig)[..], [ClassWord::Raised { calls: 1, message, traceback }]
        if message == "ValueError: no such luck" && traceback.contains("our_streams.py")));
    rig.worker.close_objects();
    // The others are told at the end.
    until(&mut rig, "the rest", |rig| words(rig).len() == 2);
    let told: u64 =
        words(&rig).iter().map(|word| if let ClassWord::Raised { calls, .. } = word { *calls } else { 0 }).sum();
    assert_eq!(told, 5);
    assert_eq!(data(&rig, "stdout"), "line 0\nline 1\nline 2\nline 3\nline 4\n");
}

/// Nobody else waits for it, it is tried again, and nothing is left out.
#[test]
fn an_object_that_hangs_is_given_up_and_hinders_no_file() {
    let place = tempfile::tempdir().unwrap();
    let go = place.path().join("go");
    // The time is that of the start, too, so it must do for a Python on a busy machine.
    let limit = Duration::from_secs(3);
    let mut rig = rig("Waits", &[("until", go.to_str().unwrap())], limit);
    let mut process = FakeProcess::new(1);
    rig.orders([process.attach()]);
    rig.write(&mut process, Stdout, 1, b"one\n");
    rig.write(&mut process, Stdout, 2, b"two\n");
    let other = rig.options("other", &[]);
    rig.orders([stream_of("v", Some(other))]);
    let mut neighbour = FakeProcess::new(2);
    neighbour.write(Stdout, 1, b"hello\n");
    let Order::Attach(mut attach) = neighbour.attach() else { unreachable!() };
    attach.watcher = WatcherKey::new("v");
    rig.orders([Order::Attach(attach), neighbour.advance(Stdout)]);
    assert_eq!(rig.text("other"), "hello\n");
    rig.orders([Order::Flush { token: 7 }]);
    let flushed =
        |rig: &Rig| rig.reports.borrow().iter().any(|report| matches!(report, ScribeReport::Flushed { token: 7, .. }));
    assert!(!flushed(&rig), "a batch is with the object");
    until(&mut rig, "it is given up", |rig| !words(rig).is_empty());
    assert_eq!(words(&rig), [ClassWord::Trouble(PythonError::TimedOut { limit })]);
    assert!(flushed(&rig), "nobody waits for one in trouble");
    fs::write(&go, "").unwrap();
    until_taken(&mut rig, &process);
    assert_eq!(words(&rig).last(), Some(&ClassWord::Works));
    let rig = end(rig);
    assert_eq!(data(&rig, "stdout"), "one\ntwo\n");
}

#[test]
fn a_worker_that_dies_in_a_call_has_a_successor_that_begins_with_it() {
    let place = tempfile::tempdir().unwrap();
    let died = place.path().join("died");
    let mut rig = rig("Dies", &[("died", died.to_str().unwrap())], LIMIT);
    let mut process = FakeProcess::new(1);
    for (second, line) in [(1, "one\n"), (2, "two\n"), (3, "poison\n"), (4, "four\n")] {
        process.write(Stdout, second, line.as_bytes());
    }
    rig.orders([process.attach(), process.advance(Stdout)]);
    until_taken(&mut rig, &process);
    until(&mut rig, "it works again", |rig| words(rig).last() == Some(&ClassWord::Works));
    assert!(
        matches!(&words(&rig)[..], [ClassWord::Trouble(PythonError::Ended(status)), ClassWord::Works] if status.contains('7'))
    );
    let rig = end(rig);
    assert!(died.exists());
    assert_eq!(data(&rig, "stdout"), "one\ntwo\npoison\nfour\n", "no call that has returned is repeated");
}

#[test]
fn a_killed_circusd_repeats_what_was_not_acknowledged() {
    let place = tempfile::tempdir().unwrap();
    let go = place.path().join("go");
    let settings = [("until", go.to_str().unwrap())];
    let mut rig = rig("Waits", &settings, LIMIT);
    let mut process = FakeProcess::new(1);
    rig.orders([process.attach()]);
    rig.write(&mut process, Stdout, 1, b"one\n");
    rig.kill();
    fs::write(&go, "").unwrap();
    set(&mut rig, "Waits", &settings);
    rig.orders([process.attach(), process.advance(Stdout)]);
    rig.write(&mut process, Stdout, 2, b"two\n");
    until_taken(&mut rig, &process);
    rig.settle(&mut process);
    rig.kill();
    // What was taken is noted, although the core may not know it yet.
    set(&mut rig, "Recorder", &[]);
    rig.orders([process.attach(), process.advance(Stdout)]);
    assert_eq!(process.room(Stdout), CAPACITY);
    let rig = end(rig);
    let data = data(&rig, "stdout");
    assert!(data.ends_with("one\ntwo\n") && data.len() <= "one\none\ntwo\n".len(), "{data:?}");
}

#[test]
fn what_cannot_be_made_is_told_with_its_reason_and_output_waits() {
    for (class, expected) in [
        ("NoObject", "cannot make an object of it: KeyError: 'sorry'"),
        ("Nothing", "cannot make an object of it: TypeError: Nothing() takes no arguments"),
        (
            "NotThere",
            "cannot import 'our_streams.NotThere': AttributeError: module 'our_streams' has no attribute 'NotThere'; searched: ",
        ),
    ] {
        let mut rig = rig(class, &[], LIMIT);
        let mut process = FakeProcess::new(1);
        rig.orders([process.attach()]);
        rig.write(&mut process, Stdout, 1, b"one\n");
        until(&mut rig, "both objects are told of", |rig| words(rig).len() >= 2);
        let [ClassWord::Trouble(error), ..] = &words(&rig)[..] else { panic!("{:?}", words(&rig)) };
        assert!(error.to_string().starts_with(expected), "{error}");
        rig.settle(&mut process);
        assert_eq!(process.room(Stdout), CAPACITY - 4, "it waits");
        set(&mut rig, "Recorder", &[]);
        until_taken(&mut rig, &process);
        let rig = end(rig);
        assert_eq!(data(&rig, "stdout"), "one\n", "another class has taken its place");
    }
}

#[test]
fn a_process_that_is_let_go_while_its_batch_is_out_leaves_nothing_in_the_journal() {
    let place = tempfile::tempdir().unwrap();
    let go = place.path().join("go");
    let mut rig = rig("Waits", &[("until", go.to_str().unwrap())], LIMIT);
    let mut process = FakeProcess::new(1);
    rig.orders([process.attach()]);
    rig.write(&mut process, Stdout, 1, b"one\n");
    rig.orders([Order::Detach { process: process.id() }]);
    fs::write(&go, "").unwrap();
    until(&mut rig, "it is taken all the same", |rig| !rig.worker.awaits_objects());
    let rig = end(rig);
    assert_eq!(data(&rig, "stdout"), "one\n");
    rig.worker.into_journal().close();
    assert!(!rig.instance.path().join("journal").exists());
}

#[test]
fn what_is_lost_is_a_call_of_its_own() {
    let mut rig = rig("Recorder", &[], LIMIT);
    let mut process = FakeProcess::new(1);
    process.write(Stdout, 1, b"lost\n");
    process.write(Stdout, 2, b"kept\n");
    process.lose(Stdout, 5);
    rig.orders([process.attach(), process.advance(Stdout)]);
    until_taken(&mut rig, &process);
    let rig = end(rig);
    assert_eq!(
        without_times(&data(&rig, "stdout")),
        "[ringmaster: 5 bytes lost from stdout: circusd was away]\nkept\n"
    );
}
