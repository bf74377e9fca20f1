//! Orders for the scribe, kept as the state that is wanted and not as a queue.
//!
//! The loop must never wait for the scribe, and the scribe may hang in a write to a dead disk for minutes. So orders are
//! folded into one entry a process and one a watcher: a hundred `Advance` are one, and a process that came and went
//! unseen is none. The size is bounded by the number of processes and watchers, whatever happens to the disk.
//!
//! A mutex and a condition variable, because this is a channel whose content is folded: the lock is held while a few
//! words move, never during I/O, so neither side ever waits for the other's work.

use super::per_stream::PerStream;
use super::python::{News, PythonPlace};
use crate::options::StreamOptions;
use ringmaster_protocol::message::{ProcessId, StreamState};
use ringmaster_protocol::ring::Stream;
use std::collections::BTreeSet;
use std::collections::btree_map::{BTreeMap, Entry};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Names a watcher to the scribe: its name in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WatcherKey(Arc<str>);

impl WatcherKey {
    /// From any spelling of the name.
    pub fn new(name: &str) -> Self {
        Self(name.to_lowercase().into())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for WatcherKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A process whose output is to be taken.
#[derive(Debug)]
pub struct Attach {
    /// Which process.
    pub process: ProcessId,
    /// Whose streams it writes to.
    pub watcher: WatcherKey,
    /// Its pid, for prefixes.
    pub pid: i32,
    /// Its number in the watcher.
    pub wid: u64,
    /// Its process file, from `OpenProcess`.
    pub file: OwnedFd,
    /// Its streams as the answer of `OpenProcess` has them.
    pub streams: [StreamState; 2],
    /// `ProcessInfo::started_ns`.
    pub started_ns: u64,
}

/// What the loop wants of the scribe.
#[derive(Debug)]
pub enum Order {
    /// The streams of a watcher are these from now on. The options are validated already.
    SetStreams {
        /// Whose.
        watcher: WatcherKey,
        /// `None`: what comes is taken and thrown away.
        stdout: Option<StreamOptions>,
        /// The same for stderr.
        stderr: Option<StreamOptions>,
        /// What classes have that are written in Python.
        python: PythonPlace,
    },
    /// Close the files of a watcher and forget it (Circus closes streams on stop; spec h), once its processes are detached:
    /// until then their last words have somewhere to go. A later `SetStreams` takes it back.
    CloseWatcher {
        /// Whose.
        watcher: WatcherKey,
    },
    /// An `Attach` or a `Detach` of this process will come: its watcher is not closed before.
    Expect {
        /// Which process.
        process: ProcessId,
        /// Whose streams it writes to.
        watcher: WatcherKey,
    },
    /// Take the output of a process from now on.
    Attach(Attach),
    /// Notice `Output`. One that comes before its `Attach` is kept.
    Advance {
        /// Which process.
        process: ProcessId,
        /// Which stream.
        stream: Stream,
        /// The offset of the next byte to come.
        head: u64,
        /// The number of the next record to come.
        records: u64,
    },
    /// Notice `StreamEnd`: as `Advance`, and an unfinished line is finished.
    StreamEnded {
        /// Which process.
        process: ProcessId,
        /// Which stream.
        stream: Stream,
        /// The final offset.
        head: u64,
        /// The number of records in all.
        records: u64,
    },
    /// Notice `Exited`: answered by [`super::ScribeReport::Drained`] when everything below `heads` is written.
    Ended {
        /// Which process.
        process: ProcessId,
        /// `Exit::heads`.
        heads: [u64; 2],
    },
    /// These are all processes that the core has; what is noted about others is forgotten.
    Known {
        /// Their ids.
        processes: BTreeSet<ProcessId>,
    },
    /// Take nothing more of this process and close its file.
    Detach {
        /// Which process.
        process: ProcessId,
    },
    /// Open all files anew at the next write.
    Reopen,
    /// Write everything known now, unfinished lines, too. Tokens grow; a later flush stands for the earlier ones.
    Flush {
        /// Comes back in [`super::ScribeReport::Flushed`].
        token: u64,
    },
    /// End now. What is not written stays in the core.
    Stop,
}

/// How far a stream has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) head: u64,
    pub(super) records: u64,
    pub(super) ended: bool,
}

impl Mark {
    /// The further of two marks.
    fn fold(self, earlier: Option<Self>) -> Self {
        let Some(earlier) = earlier else { return self };
        let further = if self.head >= earlier.head { self } else { earlier };
        Self { records: self.records.max(earlier.records), ended: self.ended || earlier.ended, ..further }
    }
}

/// What is wanted of one process.
#[derive(Debug, Default)]
pub(super) struct ProcessOrders {
    /// Forget the one that was attached before.
    pub(super) detach: bool,
    pub(super) expect: Option<WatcherKey>,
    pub(super) attach: Option<Attach>,
    pub(super) marks: PerStream<Option<Mark>>,
    pub(super) ended: Option<[u64; 2]>,
}

impl ProcessOrders {
    /// Takes in marks that came later.
    pub(super) fn fold(&mut self, later: Self) {
        for stream in Stream::ALL {
            if let Some(mark) = later.marks.get(stream) {
                self.mark(stream, *mark);
            }
        }
        self.ended = later.ended.or(self.ended);
        self.expect = later.expect.or(self.expect.take());
    }

    fn mark(&mut self, stream: Stream, mark: Mark) {
        let place = self.marks.get_mut(stream);
        *place = Some(mark.fold(*place));
    }
}

/// The streams of a watcher.
#[derive(Debug)]
pub(super) struct WatcherStreams {
    /// `None` where it has none.
    pub(super) each: PerStream<Option<StreamOptions>>,
    pub(super) python: PythonPlace,
}

/// What is wanted of one watcher.
#[derive(Debug, Default)]
pub(super) struct WatcherOrders {
    /// Close what is open first.
    pub(super) close: bool,
    pub(super) set: Option<WatcherStreams>,
}

/// Everything that is wanted since the scribe looked last.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    pub(super) watchers: BTreeMap<WatcherKey, WatcherOrders>,
    pub(super) processes: BTreeMap<ProcessId, ProcessOrders>,
    pub(super) known: Option<BTreeSet<ProcessId>>,
    pub(super) reopen: bool,
    pub(super) flush: Option<u64>,
    pub(super) stop: bool,
    /// Of streams in Python, by their number.
    pub(super) news: BTreeMap<u64, News>,
    /// There is more than news of output.
    urgent: bool,
}

impl Wanted {
    /// Takes in one more order.
    pub(super) fn fold(&mut self, order: Order) {
        self.urgent |= !matches!(order, Order::Advance { .. });
        match order {
            Order::SetStreams { watcher, stdout, stderr, python } => {
                let streams = WatcherStreams { each: PerStream { stdout, stderr }, python };
                self.watchers.entry(watcher).or_default().set = Some(streams);
            }
            Order::CloseWatcher { watcher } => {
                let orders = self.watchers.entry(watcher).or_default();
                (orders.close, orders.set) = (true, None);
            }
            Order::Expect { process, watcher } => {
                self.processes.entry(process).or_default().expect = Some(watcher);
            }
            Order::Attach(attach) => {
                let process = attach.process;
                self.processes.entry(process).or_default().attach = Some(attach);
            }
            Order::Advance { process, stream, head, records } => {
                let ended = false;
                self.mark(process, stream, Mark { head, records, ended });
            }
            Order::StreamEnded { process, stream, head, records } => {
                let ended = true;
                self.mark(process, stream, Mark { head, records, ended });
            }
            Order::Ended { process, heads } => {
                self.processes.entry(process).or_default().ended = Some(heads);
            }
            Order::Detach { process } => {
                let detach = ProcessOrders { detach: true, ..ProcessOrders::default() };
                self.processes.insert(process, detach);
            }
            Order::Known { processes } => self.known = Some(processes),
            Order::Reopen => self.reopen = true,
            Order::Flush { token } => self.flush = Some(token),
            Order::Stop => self.stop = true,
        }
    }

    fn mark(&mut self, process: ProcessId, stream: Stream, mark: Mark) {
        self.processes.entry(process).or_default().mark(stream, mark);
    }

    fn is_empty(&self) -> bool {
        let nothing = self.watchers.is_empty() && self.processes.is_empty() && self.flush.is_none();
        nothing && self.news.is_empty() && self.known.is_none() && !self.reopen && !self.stop
    }
}

/// How long to wait for orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// Not at all: there is work.
    None,
    /// Until then.
    Until(Instant),
    /// For ever.
    Endless,
}

/// The meeting place of loop and scribe.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    state: Mutex<Content>,
    filled: Condvar,
}

#[derive(Debug, Default)]
struct Content {
    wanted: Wanted,
    /// Somebody waits for [`Mailbox::filled`]; else it is not notified, which would be a system call for nothing.
    waiting: bool,
    /// Somebody waits, but for news of output.
    gathering: bool,
}

impl Mailbox {
    /// Takes in what the keeper of stream `serial` has to tell. Never waits either.
    pub(super) fn tell(&self, serial: u64, news: News) {
        let mut content = self.lock();
        content.wanted.urgent = true;
        match content.wanted.news.entry(serial) {
            Entry::Occupied(earlier) => earlier.into_mut().fold(news),
            Entry::Vacant(place) => drop(place.insert(news)),
        }
        self.wake(content);
    }

    /// Takes in orders and wakes the scribe. Never waits for more than a few words to move.
    pub(super) fn put(&self, orders: impl IntoIterator<Item = Order>) {
        let mut content = self.lock();
        orders.into_iter().for_each(|order| content.wanted.fold(order));
        self.wake(content);
    }

    fn wake(&self, mut content: MutexGuard<'_, Content>) {
        let called = content.gathering && content.wanted.urgent;
        let waiting = std::mem::take(&mut content.waiting) || called;
        drop(content);
        if waiting {
            self.filled.notify_one();
        }
    }

    /// Takes everything that is wanted; empty when patience has run out.
    pub(super) fn take(&self, patience: Patience) -> Wanted {
        let mut content = self.lock();
        while content.wanted.is_empty() {
            content.waiting = true;
            content = match patience {
                Patience::None => break,
                Patience::Endless => self.filled.wait(content).unwrap_or_else(PoisonError::into_inner),
                Patience::Until(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        break;
                    }
                    let waited = self.filled.wait_timeout(content, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        content.waiting = false;
        std::mem::take(&mut content.wanted)
    }

    /// Lets news of output gather for a while; anything else ends the wait.
    pub(super) fn gather(&self, time: std::time::Duration) {
        let deadline = Instant::now() + time;
        let mut content = self.lock();
        while !content.wanted.urgent {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            content.gathering = true;
            content = self.filled.wait_timeout(content, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        content.gathering = false;
    }

    /// Waits until the end is ordered, or patience runs out. Gives whether it is; orders stay.
    pub(super) fn await_stop(&self, patience: std::time::Duration) -> bool {
        let content = self.lock();
        if content.wanted.stop {
            return true;
        }
        let (content, _) = self.filled.wait_timeout(content, patience).unwrap_or_else(PoisonError::into_inner);
        content.wanted.stop
    }

    /// Folding an order cannot leave the state half done, so a panic elsewhere does not spoil it.
    fn lock(&self) -> MutexGuard<'_, Content> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attach(process: u64) -> Order {
        Order::Attach(Attach {
            process: ProcessId(process),
            watcher: WatcherKey::new("W"),
            pid: 1,
            wid: 1,
            file: tempfile::tempfile().unwrap().into(),
            streams: [StreamState::default(); 2],
            started_ns: 1,
        })
    }

    fn advance(process: u64, head: u64) -> Order {
        Order::Advance { process: ProcessId(process), stream: Stream::Stdout, head, records: head / 10 }
    }

    #[test]
    fn many_advances_are_one_and_never_go_back() {
        let mailbox = Mailbox::default();
        for head in [10, 30, 20] {
            mailbox.put([advance(1, head)]);
        }
        let wanted = mailbox.take(Patience::Endless);
        assert_eq!(wanted.processes.len(), 1);
        let mark = wanted.processes[&ProcessId(1)].marks.stdout.unwrap();
        assert_eq!((mark.head, mark.records, mark.ended), (30, 3, false));
        assert!(mailbox.take(Patience::None).is_empty());
    }

    #[test]
    fn only_news_of_output_gathers() {
        let mailbox = Mailbox::default();
        mailbox.put([advance(1, 10)]);
        let begin = Instant::now();
        mailbox.gather(std::time::Duration::from_millis(1));
        assert!(begin.elapsed() >= std::time::Duration::from_millis(1));
        let ended = || Order::Ended { process: ProcessId(1), heads: [10, 0] };
        mailbox.put([ended()]);
        // One that comes while somebody waits, and one that is there: the test would take an hour otherwise.
        mailbox.gather(std::time::Duration::from_secs(3600));
        mailbox.take(Patience::None);
        std::thread::scope(|scope| {
            scope.spawn(|| mailbox.gather(std::time::Duration::from_secs(3600)));
            mailbox.put([advance(1, 20), ended()]);
        });
    }

    #[test]
    fn a_process_that_came_and_went_unseen_leaves_no_descriptor() {
        let mut wanted = Wanted::default();
        wanted.fold(attach(1));
        wanted.fold(advance(1, 5));
        wanted.fold(Order::Detach { process: ProcessId(1) });
        let orders = &wanted.processes[&ProcessId(1)];
        assert!(orders.detach && orders.attach.is_none() && orders.marks.stdout.is_none());
    }

    #[test]
    fn close_then_set_keeps_both_and_set_then_close_only_the_last() {
        let set = || Order::SetStreams {
            watcher: WatcherKey::new("w"),
            stdout: None,
            stderr: None,
            python: PythonPlace::default(),
        };
        let close = || Order::CloseWatcher { watcher: WatcherKey::new("W") };
        let mut wanted = Wanted::default();
        wanted.fold(close());
        wanted.fold(set());
        let orders = &wanted.watchers[&WatcherKey::new("w")];
        assert!(orders.close && orders.set.is_some());
        wanted.fold(close());
        let orders = &wanted.watchers[&WatcherKey::new("w")];
        assert!(orders.close && orders.set.is_none());
    }
}
