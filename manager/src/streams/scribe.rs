//! The scribe's thread and the handle that the loop holds.

use super::journal::{Journal, StoreError};
use super::mailbox::{Mailbox, Order, Patience};
use super::moment::Moment;
use super::report::ScribeReport;
use super::worker::Worker;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// Less than this was written in a row: what comes next is let to gather, so that a process that writes line by line does not cost
/// a batch a line.
const SMALL: usize = 32 << 10;

/// For so long: what a pipe brings in this time at full speed is a fifth of a ring.
const GATHER: Duration = Duration::from_micros(200);

/// Between two looks whether an earlier circusd has ended: it was killed, so it takes a moment.
const LOCK_PAUSE: Duration = Duration::from_millis(5);

/// The handle of the running scribe. Dropping it orders [`Order::Stop`] without waiting for the thread.
#[derive(Debug)]
pub struct Scribe {
    mailbox: Arc<Mailbox>,
    thread: Option<JoinHandle<()>>,
}

impl Scribe {
    /// Starts the thread. `directory`: where the journal is kept, that of the instance. `report` is called on the thread; it
    /// may wait for room in a bounded channel.
    pub fn start(directory: PathBuf, report: impl Fn(ScribeReport) + Send + 'static) -> std::io::Result<Self> {
        let mailbox = Arc::new(Mailbox::default());
        let inbox = Arc::clone(&mailbox);
        let thread =
            std::thread::Builder::new().name("scribe".to_owned()).spawn(move || run(&inbox, &directory, report))?;
        Ok(Self { mailbox, thread: Some(thread) })
    }

    /// Hands in an order. Never waits.
    pub fn order(&self, order: Order) {
        self.mailbox.put([order]);
    }

    /// Hands in several, which are looked at together.
    pub fn orders(&self, orders: impl IntoIterator<Item = Order>) {
        self.mailbox.put(orders);
    }

    /// Orders the end and waits for it; that lasts as long as a write that is under way.
    pub fn stop(mut self) {
        self.mailbox.put([Order::Stop]);
        if let Some(thread) = self.thread.take() {
            // A panic was told as `Stopped { by_panic: true }`.
            let _ = thread.join();
        }
    }
}

impl Drop for Scribe {
    fn drop(&mut self) {
        self.mailbox.put([Order::Stop]);
    }
}

/// Tells of the end however it comes.
struct Farewell<'a, R: Fn(ScribeReport)>(&'a R);

impl<R: Fn(ScribeReport)> Drop for Farewell<'_, R> {
    fn drop(&mut self) {
        let by_panic = std::thread::panicking();
        (self.0)(ScribeReport::Stopped { by_panic });
    }
}

/// The journal of `directory`, as soon as an earlier circusd has let go of it; `None`: the end is ordered.
fn journal(mailbox: &Mailbox, directory: &Path, report: &impl Fn(ScribeReport)) -> Option<Journal> {
    loop {
        match Journal::open(directory) {
            Ok(journal) => return Some(journal),
            Err(StoreError::Locked) if mailbox.await_stop(LOCK_PAUSE) => return None,
            Err(StoreError::Locked) => {}
            Err(error @ StoreError::System { .. }) => {
                report(ScribeReport::NoJournal { error: error.to_string() });
                return Some(Journal::default());
            }
        }
    }
}

fn run(mailbox: &Arc<Mailbox>, directory: &Path, report: impl Fn(ScribeReport)) {
    let _farewell = Farewell(&report);
    let Some(journal) = journal(mailbox, directory, &report) else {
        return;
    };
    let mut worker = Worker::new(&report, crate::time_zone::local(), journal, Arc::clone(mailbox));
    loop {
        let patience = if worker.has_work() {
            Patience::None
        } else {
            worker.next_deadline().map_or(Patience::Endless, Patience::Until)
        };
        let wanted = mailbox.take(patience);
        if wanted.stop {
            // What was detached last is not to be remembered.
            worker.apply(wanted, Moment::now());
            worker.tell_taken();
            worker.sync_all();
            worker.close_objects();
            worker.into_journal().close();
            return;
        }
        let now = Moment::now();
        worker.apply(wanted, now);
        worker.expire(now);
        worker.work(now);
        if !worker.has_work() && (1..SMALL).contains(&worker.take_written()) {
            mailbox.gather(GATHER);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::{StreamClass, StreamOptions};
    use crate::streams::PythonPlace;
    use crate::streams::mailbox::{Attach, WatcherKey};
    use ringmaster_protocol::message::{ProcessId, StreamState};
    use ringmaster_protocol::ring::{MAGIC, Record, Stream, StreamEntry, layout};
    use std::fs::File;
    use std::os::unix::fs::FileExt;
    use std::sync::mpsc::{Receiver, channel};

    /// A test waits no longer than this for anything.
    const LIMIT: Duration = Duration::from_secs(20);

    fn until(reports: &Receiver<ScribeReport>, wanted: impl Fn(&ScribeReport) -> bool) {
        let mut seen = Vec::new();
        loop {
            match reports.recv_timeout(LIMIT) {
                Ok(report) if wanted(&report) => return,
                Ok(report) => seen.push(report),
                Err(error) => panic!("{error}; came: {seen:?}"),
            }
        }
    }

    fn streams(path: &Path) -> Order {
        let settings = [("filename".to_owned(), path.to_str().unwrap().to_owned())];
        let class = StreamClass::BuiltIn("FileStream".to_owned());
        let stdout = Some(StreamOptions { class, settings: settings.into() });
        Order::SetStreams { watcher: WatcherKey::new("w"), stdout, stderr: None, python: PythonPlace::default() }
    }

    /// A process file with `text` as its output.
    fn process_file(text: &[u8]) -> File {
        let ([entry, none], size) = layout([true, false], 64 << 10);
        let file = tempfile::tempfile().unwrap();
        file.set_len(size).unwrap();
        file.write_all_at(&MAGIC, 0).unwrap();
        for (stream, entry) in Stream::ALL.into_iter().zip([entry, none]) {
            file.write_all_at(&entry.encode(), StreamEntry::position(stream)).unwrap();
        }
        file.write_all_at(&Record { seq: 1, ..Record::default() }.encode(), entry.records_at).unwrap();
        file.write_all_at(text, entry.data_at).unwrap();
        file
    }

    #[test]
    fn the_thread_writes_reports_and_ends() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let (sender, reports) = channel();
        let scribe = Scribe::start(directory.path().to_owned(), move |report| drop(sender.send(report))).unwrap();
        let text = b"one\ntwo\nunfinished";
        let head = u64::try_from(text.len()).unwrap();
        let (process, stream) = (ProcessId(1), Stream::Stdout);
        let state = StreamState { captured: true, open: true, ..StreamState::default() };
        scribe.order(streams(&path));
        scribe.order(Order::Attach(Attach {
            process,
            watcher: WatcherKey::new("w"),
            pid: 1,
            wid: 1,
            file: process_file(text).into(),
            streams: [state, StreamState::default()],
            started_ns: 1,
        }));
        scribe.order(Order::Advance { process, stream, head, records: 1 });
        until(&reports, |report| matches!(report, ScribeReport::Consumed { offset: 8, .. }));
        // The unfinished line comes by the thread's own timer.
        until(&reports, |report| matches!(report, ScribeReport::Consumed { offset, .. } if *offset == head));
        scribe.order(Order::Flush { token: 1 });
        until(&reports, |report| matches!(report, ScribeReport::Flushed { token: 1, .. }));
        assert_eq!(std::fs::read(&path).unwrap(), text);
        scribe.stop();
        until(&reports, |report| matches!(report, ScribeReport::Stopped { by_panic: false }));
        assert!(reports.recv().is_err(), "a report after the last");
    }

    #[test]
    fn a_dropped_handle_ends_the_thread() {
        let (sender, reports) = channel();
        let directory = tempfile::tempdir().unwrap();
        drop(Scribe::start(directory.path().to_owned(), move |report| drop(sender.send(report))).unwrap());
        until(&reports, |report| matches!(report, ScribeReport::Stopped { by_panic: false }));
    }
}
