//! The worker with fake process files and a clock that the test moves: the rig. [`lines`]: what reaches a file; [`trouble`]:
//! files that cannot be written, rotation, reopening; [`moved`]: files that others move; [`classes`]: what only single classes do;
//! [`closing`]: watchers that stop while output waits; [`killed`]: a batch that a killed circusd left; [`sockets`]: lines as
//! messages; [`objects`]: classes in Python, with real ones; [`upkeep`]: old files; [`random`]: random stories against a reference.

mod classes;
mod closing;
mod killed;
mod lines;
mod moved;
mod objects;
mod random;
mod sockets;
mod trouble;
mod upkeep;

use super::fake_process::{CAPACITY, FakeProcess};
use super::*;
use crate::options::{StreamClass, StreamOptions};
use crate::streams::PythonPlace;
use crate::streams::journal::Journal;
use crate::streams::loss::Loss;
use crate::streams::mailbox::Order;
use crate::streams::report::Action;
use jiff::Timestamp;
use ringmaster_protocol::ring::Stream::{Stderr, Stdout};
use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;

type Reports = Rc<RefCell<Vec<ScribeReport>>>;

struct Rig {
    worker: Worker<Box<dyn Fn(ScribeReport)>>,
    reports: Reports,
    /// Told so far.
    rotations: u64,
    now: Instant,
    wall: Timestamp,
    /// What classes in Python have of the watcher.
    python: PythonPlace,
    directory: tempfile::TempDir,
    /// Of the instance.
    instance: tempfile::TempDir,
}

fn worker(reports: &Reports, journal: Journal) -> Worker<Box<dyn Fn(ScribeReport)>> {
    let sink = Rc::clone(reports);
    let report: Box<dyn Fn(ScribeReport)> = Box::new(move |report| sink.borrow_mut().push(report));
    Worker::new(report, TimeZone::UTC, journal, Arc::default())
}

impl Rig {
    fn new() -> Self {
        let reports = Reports::default();
        let instance = tempfile::tempdir().unwrap();
        Self {
            worker: worker(&reports, Journal::open_when_free(instance.path())),
            reports,
            rotations: 0,
            now: Instant::now(),
            wall: Timestamp::now(),
            python: PythonPlace::default(),
            directory: tempfile::tempdir().unwrap(),
            instance,
        }
    }

    fn moment(&self) -> Moment {
        Moment { steady: self.now, wall: self.wall }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        String::from_utf8(fs::read(self.path(name)).unwrap()).unwrap()
    }

    fn options(&self, name: &str, more: &[(&str, &str)]) -> StreamOptions {
        self.options_of("FileStream", name, more)
    }

    fn options_of(&self, class: &str, name: &str, more: &[(&str, &str)]) -> StreamOptions {
        let filename = self.path(name).to_str().unwrap().to_owned();
        let more = more.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        StreamOptions {
            class: StreamClass::BuiltIn(class.to_owned()),
            settings: more.chain([("filename".to_owned(), filename)]).collect(),
        }
    }

    /// Gives orders and lets the worker come to rest. As by the core, all output is told before an end.
    fn orders(&mut self, orders: impl IntoIterator<Item = Order>) {
        let mut wanted = Wanted::default();
        for order in orders {
            if let Order::Ended { process, heads } = &order {
                for (stream, head) in Stream::ALL.into_iter().zip(*heads) {
                    // At the end all records count.
                    wanted.fold(Order::Advance { process: *process, stream, head, records: u64::MAX });
                }
            }
            wanted.fold(order);
        }
        self.worker.apply(wanted, self.moment());
        self.rest();
    }

    fn rest(&mut self) {
        self.worker.expire(self.moment());
        for _ in 0..10_000 {
            if !self.worker.has_work() {
                return;
            }
            self.worker.work(self.moment());
        }
        panic!("the worker does not come to rest");
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.wall += time;
        self.rest();
    }

    fn streams(&mut self, stdout: Option<StreamOptions>, stderr: Option<StreamOptions>) {
        let watcher = WatcherKey::new("w");
        let python = self.python.clone();
        self.orders([Order::SetStreams { watcher, stdout, stderr, python }]);
    }

    /// One stream of a class for both outputs.
    fn one_of(&mut self, class: &str, name: &str, more: &[(&str, &str)]) {
        let options = self.options_of(class, name, more);
        self.streams(Some(options.clone()), Some(options));
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

    /// Passes acknowledgements on to the fake core, and counts rotations; gives all other reports.
    fn settle(&mut self, process: &mut FakeProcess) -> Vec<ScribeReport> {
        let mut others = Vec::new();
        for report in self.reports.take() {
            match report {
                ScribeReport::Consumed { stream, offset, .. } => process.ack(stream, offset),
                ScribeReport::Rotated { files, .. } => self.rotations += files,
                other => others.push(other),
            }
        }
        others
    }

    /// As after kill -9 of the manager: all that is left is the journal, and what the core knows.
    fn restart(&mut self, process: &mut FakeProcess) {
        self.settle(process);
        self.kill();
    }

    /// As above, and the acknowledgements under way are lost, too.
    fn kill(&mut self) {
        self.reports.take();
        // The lock goes with the one who has it.
        self.worker = worker(&self.reports, Journal::default());
        self.worker = worker(&self.reports, Journal::open_when_free(self.instance.path()));
    }
}

/// Only stdout of a watcher goes somewhere.
fn stream_of(watcher: &str, stdout: Option<StreamOptions>) -> Order {
    Order::SetStreams { watcher: WatcherKey::new(watcher), stdout, stderr: None, python: PythonPlace::default() }
}

/// Gap lines without their times.
fn without_times(text: &str) -> String {
    regex::Regex::new(" between \\S+ and \\S+:").unwrap().replace_all(text, ":").into_owned()
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
    texts.inspect(|text| assert!(!bounded || (text.len() < 100 && text.ends_with('\n')), "{text:?}")).collect()
}
