//! The state of the scribe and its steps. No thread and no clock here: [`super::scribe`] waits and tells the time.
//!
//! A process that may have something to write is in a queue; each turn writes at most one batch a target, then the next
//! process has its turn. Nothing is read for a target in trouble, so its output stays in the core.

use super::compose::{Commit, Input, Writer, compose, compose_gap};
use super::cursor::{Cursor, Loaded, Portion, Step, Wish};
use super::mailbox::{ProcessOrders, Wanted, WatcherKey, WatcherStreams};
use super::per_stream::PerStream;
use super::plan::{Part, plan};
use super::process::Process;
use super::render::Look;
use super::report::{Action, ScribeReport, Trouble};
use super::sink::{Failure, Owed, Sink, SinkKey, is_full};
use super::time_format::PrefixCache;
use super::{StreamSetup, Target, setup};
use jiff::tz::TimeZone;
use ringmaster_protocol::message::ProcessId;
use ringmaster_protocol::ring::{Record, Stream};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long an unfinished line waits for its end: people do not notice it at a prompt, and a program that writes a line in pieces has finished it by then.
const HOLD: Duration = Duration::from_millis(200);

/// Where a stream of a watcher goes, and how it looks there.
#[derive(Debug, Clone)]
struct Route {
    sink: SinkKey,
    look: Arc<Look>,
}

/// Streams of one process that go to one target.
#[derive(Debug)]
struct Group {
    sink: SinkKey,
    looks: PerStream<Option<Arc<Look>>>,
}

/// Buffers that are used again and again.
struct Bench {
    portions: PerStream<Portion>,
    rendered: Vec<u8>,
    cache: PrefixCache,
}

pub(super) struct Worker<R> {
    report: R,
    watchers: BTreeMap<WatcherKey, PerStream<Option<Route>>>,
    sinks: BTreeMap<SinkKey, Sink>,
    processes: BTreeMap<ProcessId, Process>,
    /// Of processes that are not attached yet: notices may overtake the answer that brings the file.
    early: BTreeMap<ProcessId, ProcessOrders>,
    queue: VecDeque<ProcessId>,
    /// Processes with an unfinished line, by the time since when it waits; one entry a process.
    held: BTreeSet<(Instant, ProcessId)>,
    flush: Option<u64>,
    bench: Bench,
}

impl<R: Fn(ScribeReport)> Worker<R> {
    pub(super) fn new(report: R, zone: TimeZone) -> Self {
        Self {
            report,
            watchers: BTreeMap::new(),
            sinks: BTreeMap::new(),
            processes: BTreeMap::new(),
            early: BTreeMap::new(),
            queue: VecDeque::new(),
            held: BTreeSet::new(),
            flush: None,
            bench: Bench {
                portions: PerStream::default(),
                rendered: Vec::new(),
                cache: PrefixCache::new(zone),
            },
        }
    }

    /// Whether a turn would do something now.
    pub(super) fn has_work(&self) -> bool {
        !self.queue.is_empty() || self.flush.is_some()
    }

    /// When to look again although no order comes; `None`: never.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let line = self.held.first().map(|(since, _)| *since + HOLD);
        self.sinks.values().filter_map(Sink::retry_at).chain(line).min()
    }

    /// Takes in what is wanted: watchers first, so that a process finds its streams.
    pub(super) fn apply(&mut self, wanted: Wanted, now: Instant) {
        for (watcher, orders) in wanted.watchers {
            if orders.close {
                self.watchers.remove(&watcher);
                self.prune();
            }
            if let Some(streams) = orders.set {
                self.set_streams(&watcher, &streams, now);
            }
        }
        if wanted.reopen {
            self.sinks.values_mut().for_each(Sink::close);
        }
        for (process, orders) in wanted.processes {
            self.apply_to_process(process, orders);
        }
        if wanted.flush.is_some() {
            self.flush = wanted.flush;
            self.enqueue_all();
        }
    }

    fn set_streams(&mut self, watcher: &WatcherKey, streams: &WatcherStreams, now: Instant) {
        let mut routes = PerStream::default();
        for stream in Stream::ALL {
            // Invalid options are refused at load; what slips through is thrown away like no stream at all.
            if let Some(Ok(setup)) = streams.get(stream).as_ref().map(setup) {
                *routes.get_mut(stream) = self.route(watcher, stream, setup, now);
            }
        }
        self.watchers.insert(watcher.clone(), routes);
        self.prune();
        let mine = self
            .processes
            .iter()
            .filter(|(_, process)| process.watcher == *watcher);
        let mine: Vec<ProcessId> = mine.map(|(id, _)| *id).collect();
        mine.into_iter().for_each(|id| self.enqueue(id));
    }

    /// Finds or makes the writer of a target; a file is opened at once, so that trouble shows before output comes.
    fn route(
        &mut self,
        watcher: &WatcherKey,
        stream: Stream,
        setup: StreamSetup,
        now: Instant,
    ) -> Option<Route> {
        let mut look = setup.look;
        let key = match setup.target {
            Target::Stdout => {
                let stdout = std::io::stdout().as_fd().try_clone_to_owned().ok()?;
                let sink = self
                    .sinks
                    .entry(SinkKey::Stdout)
                    .or_insert_with(|| Sink::inherited(stdout));
                if sink.is_terminal() {
                    look = Look::Harmless;
                }
                SinkKey::Stdout
            }
            Target::File { path, rotation } => {
                let path = match path {
                    Some(path) => std::path::absolute(&path).unwrap_or(path),
                    None => self.temporary(watcher, stream)?,
                };
                let key = SinkKey::File(path.clone());
                let sink = self
                    .sinks
                    .entry(key.clone())
                    .or_insert_with(|| Sink::file(path, rotation));
                sink.set_rotation(rotation);
                if !sink.is_blocked()
                    && let Err(failure) = sink.open()
                {
                    sink.pause(&failure, now);
                    sink.told = true;
                    let trouble = (watcher.clone(), stream);
                    tell_trouble(&self.report, trouble, &key, failure.action, failure.error);
                }
                key
            }
        };
        let look = Arc::new(look);
        Some(Route { sink: key, look })
    }

    /// A new file for a stream without `filename` (mkstemp(3): mode 0600).
    fn temporary(&self, watcher: &WatcherKey, stream: Stream) -> Option<PathBuf> {
        let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
        let name: String = watcher.as_str().chars().map(plain).take(60).collect();
        let template = std::env::temp_dir().join(format!("circus-{name}-{}-XXXXXX", stream.name()));
        match nix::unistd::mkstemp(&template) {
            Ok((_, path)) => {
                (self.report)(ScribeReport::Temporary {
                    watcher: watcher.clone(),
                    stream,
                    path: path.clone(),
                });
                Some(path)
            }
            Err(errno) => {
                let key = SinkKey::File(template);
                let whose = (watcher.clone(), stream);
                tell_trouble(&self.report, whose, &key, Action::MakeTemporary, errno.into());
                None
            }
        }
    }

    /// Closes what nobody writes to any more.
    fn prune(&mut self) {
        let routes = self.watchers.values();
        let used = |key: &SinkKey| {
            let mut all = routes.clone().flat_map(|routes| [&routes.stdout, &routes.stderr]);
            all.any(|route| route.as_ref().is_some_and(|route| route.sink == *key))
        };
        self.sinks.retain(|key, _| used(key));
    }

    fn apply_to_process(&mut self, id: ProcessId, mut orders: ProcessOrders) {
        if orders.detach {
            self.processes.remove(&id);
            self.early.remove(&id);
        }
        if let Some(attach) = orders.attach.take() {
            let (process, error) = Process::attach(attach);
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
    pub(super) fn expire(&mut self, now: Instant) {
        while let Some((since, id)) = self.held.first().copied()
            && since + HOLD <= now
        {
            self.held.pop_first();
            if let Some(process) = self.processes.get_mut(&id) {
                process.holding = false;
                self.enqueue(id);
            }
        }
        let due = |sink: &Sink| sink.retry_at().is_some_and(|at| at <= now);
        let due: Vec<SinkKey> = self
            .sinks
            .iter()
            .filter(|(_, sink)| due(sink))
            .map(|(key, _)| key.clone())
            .collect();
        for key in due {
            self.retry(&key, now);
        }
    }

    fn retry(&mut self, key: &SinkKey, now: Instant) {
        let Some(sink) = self.sinks.get_mut(key) else {
            return;
        };
        let written = match sink.owed.take() {
            Some(Owed { bytes, commit }) => self.commit(key, &bytes, commit, now),
            None => match sink.open() {
                Ok(()) => true,
                Err(failure) => {
                    sink.pause(&failure, now);
                    false
                }
            },
        };
        let Some(sink) = self.sinks.get_mut(key).filter(|_| written) else {
            return;
        };
        sink.resume();
        if std::mem::replace(&mut sink.told, false) {
            let path = key.path().to_path_buf();
            (self.report)(ScribeReport::Cleared { path });
        }
        self.enqueue_all();
    }

    /// One turn of the process that waits longest; with none left, a flush is done.
    pub(super) fn work(&mut self, now: Instant) {
        let Some(id) = self.queue.pop_front() else {
            if let Some(token) = self.flush.take() {
                (self.report)(ScribeReport::Flushed { token });
            }
            return;
        };
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
            (self.report)(ScribeReport::Drained { process: id });
        }
        if more {
            self.enqueue(id);
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
            let Some(cursor) = process
                .cursors
                .get_mut(stream)
                .as_mut()
                .filter(|cursor| !cursor.is_drained())
            else {
                continue;
            };
            let Some(route) = routes.and_then(|routes| routes.get(stream).as_ref()) else {
                cursor.skip();
                let (process, offset) = (id, cursor.offset);
                (self.report)(ScribeReport::Consumed {
                    process,
                    stream,
                    offset,
                });
                continue;
            };
            let look = Some(Arc::clone(&route.look));
            if let Some(group) = groups.iter_mut().find(|group| group.sink == route.sink) {
                *group.looks.get_mut(stream) = look;
            } else {
                let mut looks = PerStream::default();
                *looks.get_mut(stream) = look;
                let sink = route.sink.clone();
                groups.push(Group { sink, looks });
            }
        }
        groups
    }

    /// Writes one batch. Gives whether there is more to do at once.
    fn batch(&mut self, id: ProcessId, group: &Group, now: Instant) -> std::io::Result<bool> {
        let Some(tail) = self.tail_of(&group.sink, now) else {
            return Ok(false);
        };
        if let Some((stream, step)) = self.load(id, group, now)? {
            return Ok(self.write_gap(id, group, tail, (stream, step), now));
        }
        let Some(process) = self.processes.get(&id) else {
            return Ok(false);
        };
        let mut parts = Vec::new();
        let mut inputs = PerStream::default();
        for stream in Stream::ALL {
            let (Some(cursor), Some(look)) = (process.cursors.get(stream), group.looks.get(stream)) else {
                continue;
            };
            let portion = self.bench.portions.get(stream);
            let force = self.must_go(process, stream, cursor, now);
            parts.push(Part {
                stream,
                portion,
                force,
            });
            let previous = cursor.previous;
            *inputs.get_mut(stream) = Some(Input {
                look,
                portion,
                previous,
            });
        }
        let pieces = plan(&parts);
        let writer = Writer {
            process: id,
            pid: process.pid,
        };
        let mut rendered = std::mem::take(&mut self.bench.rendered);
        rendered.clear();
        let (commit, as_it_is) = compose(
            writer,
            tail,
            &pieces,
            &inputs,
            &mut self.bench.cache,
            &mut rendered,
        );
        let done = match as_it_is {
            Some(piece) => {
                let portion = std::mem::take(self.bench.portions.get_mut(piece.stream));
                let bytes = portion.bytes().get(piece.start..piece.end).unwrap_or_default();
                let done = self.commit(&group.sink, bytes, commit, now);
                *self.bench.portions.get_mut(piece.stream) = portion;
                done
            }
            None => pieces.is_empty() || self.commit(&group.sink, &rendered, commit, now),
        };
        self.bench.rendered = rendered;
        Ok(done && self.what_is_left(id, group, now))
    }

    /// Where the last line of a target is; `None`: nothing may be written there now.
    fn tail_of(&mut self, key: &SinkKey, now: Instant) -> Option<super::render::Tail> {
        let sink = self.sinks.get_mut(key).filter(|sink| !sink.is_blocked())?;
        match sink.open() {
            Ok(()) => Some(sink.tail),
            Err(failure) => {
                self.fail(key, failure, now);
                None
            }
        }
    }

    /// Fills the portions of a group. Gives a gap that has to be told first.
    fn load(
        &mut self,
        id: ProcessId,
        group: &Group,
        now: Instant,
    ) -> std::io::Result<Option<(Stream, Step)>> {
        let both = group.looks.stdout.is_some() && group.looks.stderr.is_some();
        let flushing = self.flush.is_some();
        let Some(process) = self.processes.get_mut(&id) else {
            return Ok(None);
        };
        for stream in Stream::ALL {
            let ended = process.has_ended(stream);
            let (Some(look), Some(cursor), Some(tap)) = (
                group.looks.get(stream),
                process.cursors.get_mut(stream),
                &process.tap,
            ) else {
                continue;
            };
            let overdue = cursor.held.is_some_and(|held| held.since + HOLD <= now);
            let wish = Wish {
                records: both || look.needs_records(),
                force: flushing || ended || overdue,
            };
            let loaded = cursor.load(tap, wish, self.bench.portions.get_mut(stream))?;
            if let Loaded::Gap { lost, to } = loaded {
                let (offset, previous, record) = (to, b'\n', None);
                return Ok(Some((
                    stream,
                    Step {
                        offset,
                        previous,
                        record,
                        lost,
                    },
                )));
            }
        }
        Ok(None)
    }

    /// Whether an unfinished line is written now.
    fn must_go(&self, process: &Process, stream: Stream, cursor: &Cursor, now: Instant) -> bool {
        let overdue = cursor.held.is_some_and(|held| held.since + HOLD <= now);
        self.flush.is_some() || process.has_ended(stream) || overdue
    }

    fn write_gap(
        &mut self,
        id: ProcessId,
        group: &Group,
        tail: super::render::Tail,
        gap: (Stream, Step),
        now: Instant,
    ) -> bool {
        let (stream, step) = gap;
        let (Some(look), Some(process)) = (group.looks.get(stream), self.processes.get(&id)) else {
            return false;
        };
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let record = Record {
            realtime_ns: u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX),
            ..Record::default()
        };
        let writer = Writer {
            process: id,
            pid: process.pid,
        };
        let mut line = Vec::new();
        let commit = compose_gap(
            writer,
            tail,
            (stream, look, step),
            record,
            &mut self.bench.cache,
            &mut line,
        );
        self.commit(&group.sink, &line, commit, now)
    }

    /// After a batch: whether more can be written at once. What is left of a line is held back.
    fn what_is_left(&mut self, id: ProcessId, group: &Group, now: Instant) -> bool {
        let Some(process) = self.processes.get_mut(&id) else {
            return false;
        };
        let mut more = false;
        let mut oldest: Option<Instant> = None;
        for stream in Stream::ALL {
            let (Some(_), Some(cursor)) = (group.looks.get(stream), process.cursors.get_mut(stream)) else {
                continue;
            };
            if cursor.is_drained() {
                continue;
            }
            if self.bench.portions.get(stream).cut_off {
                more = true;
            } else {
                let since = cursor.hold(now);
                oldest = Some(oldest.map_or(since, |oldest| oldest.min(since)));
            }
        }
        if let Some(since) = oldest
            && !std::mem::replace(&mut process.holding, true)
        {
            self.held.insert((since, id));
        }
        more
    }

    /// The one place where a batch is appended and what it covers is told: first the bytes, then the word about them.
    /// What could not be written is owed. Gives whether all is written.
    fn commit(&mut self, key: &SinkKey, bytes: &[u8], commit: Commit, now: Instant) -> bool {
        let Some(sink) = self.sinks.get_mut(key) else {
            return false;
        };
        let outcome = sink.append(bytes);
        if let Some(error) = sink.rotation_error.take()
            && !std::mem::replace(&mut sink.told, true)
        {
            let whose = first_user(&self.watchers, key);
            tell_trouble(&self.report, whose, key, Action::Rotate, error);
        }
        if let Err(failure) = outcome {
            let bytes = bytes.get(failure.written..).unwrap_or_default().to_vec();
            sink.owed = Some(Owed { bytes, commit });
            self.fail(key, failure, now);
            return false;
        }
        sink.tail = commit.tail;
        self.settle(&commit);
        true
    }

    fn settle(&mut self, commit: &Commit) {
        let process = commit.process;
        for stream in Stream::ALL {
            let Some(step) = commit.steps.get(stream) else {
                continue;
            };
            let cursor = self
                .processes
                .get_mut(&process)
                .and_then(|known| known.cursors.get_mut(stream).as_mut());
            let Some(cursor) = cursor else {
                continue;
            };
            cursor.settle(step);
            let (lost, to, offset) = (step.lost, step.offset, step.offset);
            if lost > 0 {
                (self.report)(ScribeReport::Gap {
                    process,
                    stream,
                    lost,
                    to,
                });
            }
            (self.report)(ScribeReport::Consumed {
                process,
                stream,
                offset,
            });
        }
    }

    /// Begins or prolongs the pause of a target, and tells of it once. A slow reader is no trouble.
    fn fail(&mut self, key: &SinkKey, failure: Failure, now: Instant) {
        let Some(sink) = self.sinks.get_mut(key) else {
            return;
        };
        sink.pause(&failure, now);
        if !is_full(&failure.error) && !std::mem::replace(&mut sink.told, true) {
            let whose = first_user(&self.watchers, key);
            tell_trouble(&self.report, whose, key, failure.action, failure.error);
        }
    }
}

/// A watcher and a stream that write to `key`.
fn first_user(
    watchers: &BTreeMap<WatcherKey, PerStream<Option<Route>>>,
    key: &SinkKey,
) -> (WatcherKey, Stream) {
    let uses = |route: &Option<Route>| route.as_ref().is_some_and(|route| route.sink == *key);
    let mut all = watchers
        .iter()
        .flat_map(|(watcher, routes)| Stream::ALL.map(|stream| (watcher, stream, uses(routes.get(stream)))));
    all.find(|(_, _, used)| *used).map_or_else(
        || (WatcherKey::new(""), Stream::Stdout),
        |(watcher, stream, _)| (watcher.clone(), stream),
    )
}

fn tell_trouble(
    report: &impl Fn(ScribeReport),
    (watcher, stream): (WatcherKey, Stream),
    key: &SinkKey,
    action: Action,
    error: std::io::Error,
) {
    let path = key.path().to_path_buf();
    report(ScribeReport::Trouble(Trouble {
        watcher,
        stream,
        path,
        action,
        error,
    }));
}
