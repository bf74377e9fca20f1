//! The state of the scribe and its steps. No thread and no clock here: [`super::scribe`] waits and tells the time.
//!
//! [`routes`]: watchers and their targets; [`batch`]: from the process file to one batch; [`commit`]: from the batch to the
//! target, and what follows from success and failure; [`taken`]: the word about it; [`classes`]: batches that objects in Python
//! take in their own time.
//!
//! A process that may have something to write is in a queue; each turn writes at most one batch a target, then the next
//! process has its turn. Nothing is read for a target in trouble, so its output stays in the core.

mod batch;
mod classes;
mod commit;
mod routes;
mod taken;
mod upkeep;

#[cfg(test)]
#[allow(clippy::as_conversions, reason = "lengths of a test's own making")]
mod fake_process;
#[cfg(test)]
#[allow(clippy::as_conversions, reason = "lengths of a test's own making")]
#[allow(clippy::wildcard_enum_match_arm, reason = "a test names what it expects")]
mod tests;

use super::cursor::Cursor;
use super::journal::Journal;
use super::mailbox::{Mailbox, ProcessOrders, Wanted, WatcherKey};
use super::moment::Moment;
use super::per_stream::PerStream;
use super::process::Process;
use super::report::ScribeReport;
use super::sink::{Sink, SinkKey};
use batch::{Bench, Group};
use jiff::tz::TimeZone;
use ringmaster_protocol::message::ProcessId;
use ringmaster_protocol::ring::Stream;
use routes::Route;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use taken::Taken;

/// How long an unfinished line waits for its end: people hardly notice it at a prompt, and a program that writes a line
/// in pieces has finished it by then.
const HOLD: Duration = Duration::from_millis(200);

/// Batches between two steps of a compression while there is output to write.
const COMPRESS_EVERY: u64 = 8;

/// Everything that the scribe knows.
pub(super) struct Worker<R> {
    report: R,
    watchers: BTreeMap<WatcherKey, PerStream<Option<Route>>>,
    /// Watchers that are to be forgotten when no process writes to them any more.
    closing: BTreeSet<WatcherKey>,
    sinks: BTreeMap<SinkKey, Sink>,
    processes: BTreeMap<ProcessId, Process>,
    /// Of processes that are not attached yet: notices may overtake the answer that brings the file.
    early: BTreeMap<ProcessId, ProcessOrders>,
    queue: VecDeque<ProcessId>,
    /// Processes with an unfinished line, by the time since when it waits; one entry a process.
    held: BTreeSet<(Instant, ProcessId)>,
    flush: Option<u64>,
    bench: Bench,
    journal: Journal,
    taken: Taken,
    /// Targets with old files to compress.
    compressing: BTreeSet<SinkKey>,
    /// Bytes written since somebody asked.
    written: usize,
    /// Batches written, so that compression gets its turn among them.
    turns: u64,
    /// Where objects in Python tell what there is to tell.
    mailbox: Arc<Mailbox>,
    /// Objects that are being closed.
    leaving: Vec<JoinHandle<()>>,
}

impl<R: Fn(ScribeReport)> Worker<R> {
    pub(super) fn new(report: R, zone: TimeZone, journal: Journal, mailbox: Arc<Mailbox>) -> Self {
        Self {
            report,
            watchers: BTreeMap::new(),
            closing: BTreeSet::new(),
            sinks: BTreeMap::new(),
            processes: BTreeMap::new(),
            early: BTreeMap::new(),
            queue: VecDeque::new(),
            held: BTreeSet::new(),
            flush: None,
            bench: Bench::new(zone),
            journal,
            taken: Taken::default(),
            compressing: BTreeSet::new(),
            written: 0,
            turns: 0,
            mailbox,
            leaving: Vec::new(),
        }
    }

    /// The end: gives back the journal.
    pub(super) fn into_journal(self) -> Journal {
        self.journal
    }

    /// Whether a turn would do something now.
    pub(super) fn has_work(&self) -> bool {
        let flushes = self.flush.is_some() && !self.awaits_objects();
        let told = self.taken.is_empty();
        !self.queue.is_empty() || flushes || !self.compressing.is_empty() || !told
    }

    /// Bytes that were written since the last question.
    pub(super) fn take_written(&mut self) -> usize {
        std::mem::take(&mut self.written)
    }

    /// When to look again although no order comes; `None`: never.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let line = self.held.first().map(|(since, _)| *since + HOLD);
        let retries = self.sinks.values().filter_map(Sink::retry_at);
        let syncs = self.sinks.values().filter_map(Sink::sync_at);
        retries.chain(syncs).chain(line).min()
    }

    /// Takes in what is wanted: watchers first, so that a process finds its streams.
    pub(super) fn apply(&mut self, wanted: Wanted, now: Moment) {
        if let Some(known) = wanted.known {
            self.journal.retain(&known);
        }
        for (serial, news) in wanted.news {
            self.hear(serial, news, now);
        }
        for (watcher, orders) in wanted.watchers {
            if let Some(streams) = orders.set {
                self.closing.remove(&watcher);
                self.set_streams(&watcher, &streams, now);
            } else if orders.close {
                self.closing.insert(watcher);
            }
        }
        if wanted.reopen {
            self.sinks.values_mut().for_each(Sink::close);
        }
        for (process, orders) in wanted.processes {
            self.apply_to_process(process, orders, now);
        }
        self.finish_closing();
        if wanted.flush.is_some() {
            self.flush = wanted.flush;
            self.enqueue_all();
        }
    }

    /// Forgets the watchers that are closing and that nobody writes to any more.
    fn finish_closing(&mut self) {
        if self.closing.is_empty() {
            return;
        }
        let attached = self.processes.values().map(|process| &process.watcher);
        let expected = self.early.values().filter_map(|early| early.expect.as_ref());
        let used: BTreeSet<&WatcherKey> = attached.chain(expected).collect();
        for watcher in self.closing.extract_if(.., |watcher| !used.contains(watcher)) {
            self.watchers.remove(&watcher);
        }
        self.prune();
    }

    fn apply_to_process(&mut self, id: ProcessId, mut orders: ProcessOrders, now: Moment) {
        if orders.detach {
            self.processes.remove(&id);
            self.early.remove(&id);
            self.journal.forget(id);
        }
        if let Some(attach) = orders.attach.take() {
            let known = self.journal.attach(id, attach.started_ns);
            let (process, error) = Process::attach(attach, &known, commit::nanoseconds(now));
            self.tell_known(id, &process);
            self.processes.insert(id, process);
            if let Some(error) = error {
                (self.report)(ScribeReport::Unreadable { process: id, error });
            }
            if let Some(mut early) = self.early.remove(&id) {
                early.fold(orders);
                orders = early;
            }
        }
        let Some(process) = self.processes.get_mut(&id) else {
            if !orders.detach {
                self.early.entry(id).or_default().fold(orders);
            }
            return;
        };
        for stream in Stream::ALL {
            if let Some(mark) = *orders.marks.get(stream) {
                process.advance(stream, mark);
            }
        }
        if let Some(heads) = orders.ended {
            process.end(heads);
        }
        self.enqueue(id);
    }

    /// What is in the logs by the journal may not have been acknowledged yet: the one who knew was killed.
    fn tell_known(&self, process: ProcessId, attached: &Process) {
        for stream in Stream::ALL {
            if let Some(offset) = attached.cursors.get(stream).as_ref().and_then(Cursor::unacknowledged) {
                (self.report)(ScribeReport::Consumed { process, stream, offset });
            }
        }
    }

    fn enqueue(&mut self, id: ProcessId) {
        if let Some(process) = self.processes.get_mut(&id)
            && !std::mem::replace(&mut process.queued, true)
        {
            self.queue.push_back(id);
        }
    }

    fn enqueue_all(&mut self) {
        let all: Vec<ProcessId> = self.processes.keys().copied().collect();
        all.into_iter().for_each(|id| self.enqueue(id));
    }

    /// Does what has become due: unfinished lines that waited long enough, targets to try again.
    pub(super) fn expire(&mut self, now: Moment) {
        while let Some((since, id)) = self.held.first().copied()
            && since + HOLD <= now.steady
        {
            self.held.pop_first();
            if let Some(process) = self.processes.get_mut(&id) {
                process.holding = false;
                self.enqueue(id);
            }
        }
        let due = |sink: &Sink| sink.retry_at().is_some_and(|at| at <= now.steady);
        let due: Vec<SinkKey> = self.sinks.iter().filter(|(_, sink)| due(sink)).map(|(key, _)| key.clone()).collect();
        for key in due {
            self.retry(&key, now);
        }
        self.sync_due(now.steady);
    }

    /// One turn of the process that waits longest; with none left, a flush is done.
    pub(super) fn work(&mut self, now: Moment) {
        let Some(id) = self.queue.pop_front() else {
            self.tell_taken();
            let flushed = !self.awaits_objects();
            match self.flush.take_if(|_| flushed) {
                Some(token) => {
                    let untaken = self.has_untaken();
                    (self.report)(ScribeReport::Flushed { token, untaken });
                }
                None => self.compress(),
            }
            return;
        };
        self.turns += 1;
        if self.turns.is_multiple_of(COMPRESS_EVERY) {
            self.compress();
        }
        let Some(process) = self.processes.get_mut(&id) else {
            return;
        };
        process.queued = false;
        let mut more = false;
        for group in self.groups(id) {
            match self.batch(id, &group, now) {
                Ok(again) => more |= again,
                Err(error) => {
                    if let Some(process) = self.processes.get_mut(&id) {
                        process.give_up();
                    }
                    (self.report)(ScribeReport::Unreadable { process: id, error });
                }
            }
        }
        if self.processes.get_mut(&id).is_some_and(Process::take_drained) {
            self.tell_taken();
            (self.report)(ScribeReport::Drained { process: id });
        }
        if more {
            self.enqueue(id);
        }
        if self.queue.is_empty() || self.taken.is_much() {
            self.tell_taken();
        }
    }

    /// The targets of a process with the streams that go there. What goes nowhere is taken here.
    fn groups(&mut self, id: ProcessId) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        let Some(process) = self.processes.get_mut(&id) else {
            return groups;
        };
        let routes = self.watchers.get(&process.watcher);
        for stream in Stream::ALL {
            let Some(cursor) = process.cursors.get_mut(stream).as_mut().filter(|cursor| !cursor.is_drained()) else {
                continue;
            };
            let Some(route) = routes.and_then(|routes| routes.get(stream).as_ref()) else {
                let before = cursor.offset;
                cursor.skip();
                self.taken.note(id, stream, (cursor.offset, cursor.offset.saturating_sub(before)));
                continue;
            };
            let look = Some(Arc::clone(&route.look));
            if let Some(group) = groups.iter_mut().find(|group| group.sink == route.sink) {
                *group.looks.get_mut(stream) = look;
            } else {
                let mut looks = PerStream::default();
                *looks.get_mut(stream) = look;
                let sink = route.sink.clone();
                let mut others = routes.into_iter().flat_map(|routes| [&routes.stdout, &routes.stderr]).flatten();
                let shared = others.clone().count() == 2 && others.all(|other| other.sink == sink);
                groups.push(Group { sink, looks, shared });
            }
        }
        groups
    }
}
