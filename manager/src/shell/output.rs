//! Between the core, which has the output of children, and the scribe, which writes it: opens process files, hands on how
//! far streams have come, acknowledges what is written.

use crate::arbiter::Event;
use crate::kernel_link::{KernelLink, LinkError, OpenedProcess};
use crate::options::StreamOptions;
use crate::process::Wid;
use crate::streams::{Attach, ClassReport, ClassWord, Order, PythonPlace, Scribe, ScribeReport, WatcherKey};
use crate::watcher::WatcherId;
use ringmaster_protocol::message::{Forget, ProcessId, ProcessInfo, StreamEnd};
use ringmaster_protocol::ring::Stream;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::mpsc;

/// How long the end of circusd waits for a log that cannot be written. What is left stays in the core.
const LAST_FLUSH: Duration = Duration::from_secs(5);

/// What comes back from the scribe and from the core.
#[derive(Debug)]
pub enum OutputReport {
    /// The scribe tells something.
    Scribe(ScribeReport),
    /// The core has opened a process file, or not.
    Opened {
        /// Which process.
        process: ProcessId,
        /// Its number, and whose streams it writes to.
        place: (Wid, WatcherKey),
        /// The process with its file.
        result: Result<Box<OpenedProcess>, LinkError>,
    },
}

/// The loop's side of the scribe.
#[derive(Debug)]
pub struct Output {
    scribe: Scribe,
    reports: mpsc::Sender<OutputReport>,
    watchers: BTreeMap<WatcherId, WatcherKey>,
    /// Processes whose output is taken.
    attached: BTreeMap<ProcessId, Progress>,
    /// How long a call of a class in Python may take where its watcher says nothing.
    call_limit: Duration,
}

/// How far the output of a process has come, and how far it was taken.
#[derive(Debug, Clone, Copy)]
struct Progress {
    watcher: WatcherId,
    heads: [u64; 2],
    /// `None`: not known before the process file is open.
    taken: Option<[u64; 2]>,
}

impl Progress {
    fn advance(&mut self, stream: Stream, head: u64) {
        raise(&mut self.heads, stream, head);
    }

    fn take(&mut self, stream: Stream, offset: u64) {
        if let Some(taken) = &mut self.taken {
            raise(taken, stream, offset);
        }
    }

    /// Bytes that are in the core only.
    fn waiting(&self) -> u64 {
        let taken = self.taken.unwrap_or(self.heads);
        self.heads.iter().zip(taken).fold(0, |sum, (head, taken)| sum.saturating_add(head.saturating_sub(taken)))
    }
}

fn raise(offsets: &mut [u64; 2], stream: Stream, offset: u64) {
    if let Some(known) = offsets.get_mut(stream.index()) {
        *known = offset.max(*known);
    }
}

impl Output {
    /// Starts the scribe, which keeps its journal in `directory`.
    pub fn start(
        directory: PathBuf,
        call_limit: Duration,
        reports: mpsc::Sender<OutputReport>,
    ) -> std::io::Result<Self> {
        let sender = reports.clone();
        let scribe = Scribe::start(directory, move |report| {
            // The loop ends only after the scribe, so nobody is left to tell when this fails.
            let _ = sender.blocking_send(OutputReport::Scribe(report));
        })?;
        let (watchers, attached) = (BTreeMap::new(), BTreeMap::new());
        Ok(Self { scribe, reports, watchers, attached, call_limit })
    }

    /// These are all processes of ours that the core has.
    pub fn known(&self, processes: &[ProcessInfo]) {
        let processes = processes.iter().map(|process| process.id).collect();
        self.scribe.order(Order::Known { processes });
    }

    /// The streams of a watcher are these.
    pub fn open(
        &mut self,
        (id, name): (WatcherId, &str),
        stdout: Option<StreamOptions>,
        stderr: Option<StreamOptions>,
        mut python: PythonPlace,
    ) {
        let watcher = WatcherKey::new(name);
        self.watchers.insert(id, watcher.clone());
        python.limit.get_or_insert(self.call_limit);
        self.scribe.order(Order::SetStreams { watcher, stdout, stderr, python });
    }

    /// A watcher has stopped.
    pub fn close(&mut self, id: WatcherId) {
        let Some(watcher) = self.watchers.get(&id).cloned() else {
            return;
        };
        // A watcher that was added under the name of one that is still stopping goes on with the streams.
        let shared = |(other, key): (&WatcherId, &WatcherKey)| *other > id && *key == watcher;
        if !self.watchers.iter().any(shared) {
            self.scribe.order(Order::CloseWatcher { watcher });
        }
    }

    /// Log files are to be opened anew.
    pub fn reopen(&self) {
        self.scribe.order(Order::Reopen);
    }

    /// Takes the output of a process from now on.
    pub fn attach(&mut self, link: &KernelLink, process: ProcessId, wid: Wid, watcher: WatcherId) {
        let Some(key) = self.watchers.get(&watcher).cloned() else {
            return;
        };
        self.attached.insert(process, Progress { watcher, heads: [0, 0], taken: None });
        self.scribe.order(Order::Expect { process, watcher: key.clone() });
        self.ask_for(link, process, (wid, key));
    }

    /// Has the core open the process file.
    fn ask_for(&self, link: &KernelLink, process: ProcessId, place: (Wid, WatcherKey)) {
        let (link, reports) = (link.clone(), self.reports.clone());
        tokio::spawn(async move {
            let result = link.open_process(process).await.map(Box::new);
            // The receiver lives as long as the loop.
            let _ = reports.send(OutputReport::Opened { process, place, result }).await;
        });
    }

    /// A stream has come further.
    pub fn advance(&mut self, process: ProcessId, stream: Stream, head: u64, records: u64) {
        if let Some(progress) = self.attached.get_mut(&process) {
            progress.advance(stream, head);
            self.scribe.order(Order::Advance { process, stream, head, records });
        }
    }

    /// Nobody writes to a stream any more.
    pub fn stream_ended(&mut self, end: &StreamEnd) {
        let StreamEnd { process, stream, head, records } = *end;
        if let Some(progress) = self.attached.get_mut(&process) {
            progress.advance(stream, head);
            self.scribe.order(Order::StreamEnded { process, stream, head, records });
        }
    }

    /// A process has ended.
    pub fn ended(&self, process: ProcessId, heads: [u64; 2]) {
        if self.attached.contains_key(&process) {
            self.scribe.order(Order::Ended { process, heads });
        }
    }

    /// Nothing more of a process is wanted.
    pub fn detach(&mut self, process: ProcessId) {
        if self.attached.remove(&process).is_some() {
            self.scribe.order(Order::Detach { process });
        }
    }

    /// Bytes of each watcher's output that are not in its log yet.
    pub fn buffered(&self) -> BTreeMap<WatcherId, u64> {
        let mut buffered = BTreeMap::new();
        for progress in self.attached.values() {
            let sum: &mut u64 = buffered.entry(progress.watcher).or_default();
            *sum = sum.saturating_add(progress.waiting());
        }
        buffered
    }

    /// Takes a report: acknowledges, or gives what the arbiter has to know.
    pub fn take(&mut self, report: OutputReport, link: &KernelLink) -> Option<Event> {
        match report {
            OutputReport::Scribe(report) => self.scribe_report(report, link),
            OutputReport::Opened { process, place, result: Ok(opened) } => {
                self.opened(process, place, *opened);
                None
            }
            // The core went away before it answered: the next one is asked, which is this one again until it is there.
            OutputReport::Opened { process, place, result: Err(LinkError::Gone { .. }) } => {
                if self.attached.contains_key(&process) {
                    self.ask_for(link, process, place);
                }
                None
            }
            OutputReport::Opened { process, result: Err(error), .. } => {
                tracing::error!("the output of process {} cannot be taken: {error}", process.0);
                Some(Event::Drained(process))
            }
        }
    }

    fn opened(&mut self, process: ProcessId, place: (Wid, WatcherKey), opened: OpenedProcess) {
        let OpenedProcess { process: info, file } = opened;
        let Some(progress) = self.attached.get_mut(&process) else {
            return;
        };
        progress.taken = Some(info.streams.map(|stream| stream.low));
        for (stream, state) in Stream::ALL.into_iter().zip(&info.streams) {
            progress.advance(stream, state.head);
        }
        let (wid, watcher) = place;
        self.scribe.order(Order::Attach(Attach {
            process,
            watcher,
            pid: info.pid,
            wid: wid.0.into(),
            file,
            streams: info.streams,
            started_ns: info.started_ns,
        }));
        if let Some(exit) = info.exit {
            self.scribe.order(Order::Ended { process, heads: exit.heads });
        }
    }

    fn scribe_report(&mut self, report: ScribeReport, link: &KernelLink) -> Option<Event> {
        match report {
            ScribeReport::Consumed { process, stream, offset } => {
                if let Some(progress) = self.attached.get_mut(&process) {
                    progress.take(stream, offset);
                }
                if let Err(error) = link.ack(process, stream, offset) {
                    tracing::debug!("an acknowledgement is not sent, a later one will be: {error}");
                }
            }
            ScribeReport::Drained { process } => return Some(Event::Drained(process)),
            ScribeReport::Unreadable { process, error } => {
                tracing::error!("the output of process {} cannot be read: {error}", process.0);
                return Some(Event::Drained(process));
            }
            ScribeReport::Gap { process, stream, loss } => {
                let (bytes, reason) = (loss.bytes, loss.reason);
                tracing::warn!("{bytes} bytes of {} of process {} are lost: {reason}", stream.name(), process.0);
                return Some(Event::Lost { process, stream, loss });
            }
            ScribeReport::Rotated { watcher, files } => {
                return Some(Event::Rotated { watcher: watcher.as_str().to_owned(), files });
            }
            ScribeReport::Trouble(trouble) => tracing::error!("{trouble}"),
            ScribeReport::Class(report) => match &report {
                ClassReport { word: ClassWord::Works, .. } => tracing::info!("{report}"),
                ClassReport { word: ClassWord::Trouble(_) | ClassWord::Raised { .. }, .. } => {
                    tracing::error!("{report}")
                }
            },
            ScribeReport::Cleared { path } => tracing::info!("{} is written again", path.display()),
            ScribeReport::Moved { path } => {
                tracing::warn!("{} was moved or deleted; output goes on in the file that is there now", path.display())
            }
            ScribeReport::Repeated { path, bytes } => {
                let path = path.display();
                tracing::warn!(
                    "{path} was changed by another program while circusd was killed; {bytes} bytes may be repeated"
                );
            }
            ScribeReport::NoJournal { error } => {
                tracing::error!("the journal cannot be written, a kill of circusd may repeat some output: {error}");
            }
            ScribeReport::Temporary { watcher, stream, path } => {
                tracing::info!("watcher {watcher}: {} goes to {}", stream.name(), path.display());
            }
            ScribeReport::Flushed { .. } => {}
            ScribeReport::Stopped { by_panic } => {
                if by_panic {
                    tracing::error!("the output thread has ended by a defect; output stays in the core");
                }
            }
        }
        None
    }

    /// Writes everything there is, acknowledges it, and ends the scribe. `told` have ended and been announced; the core forgets
    /// them as soon as their last words are written, so that it is not kept by them.
    pub async fn finish(
        &mut self,
        link: &KernelLink,
        reports: &mut mpsc::Receiver<OutputReport>,
        mut told: BTreeSet<ProcessId>,
    ) {
        self.scribe.order(Order::Flush { token: u64::MAX });
        let mut flushed = false;
        let written = async {
            while !flushed || !told.is_empty() {
                match reports.recv().await {
                    None => return,
                    // What a class in Python does not take now, the next circusd gives to it.
                    Some(OutputReport::Scribe(ScribeReport::Flushed { token: u64::MAX, untaken: true })) => return,
                    Some(OutputReport::Scribe(ScribeReport::Flushed { token: u64::MAX, .. })) => flushed = true,
                    Some(report) => {
                        if let Some(Event::Drained(process)) = self.take(report, link)
                            && told.remove(&process)
                        {
                            // Its place in the journal of the logs goes with it: one that says nothing is removed.
                            self.detach(process);
                            let request = Forget { process, ext: Vec::new() }.into();
                            // Nobody waits for the answer; the next request is answered after it.
                            drop(link.submit(request, Vec::new()));
                        }
                    }
                }
            }
        };
        if tokio::time::timeout(LAST_FLUSH, written).await.is_err() {
            tracing::warn!("some output cannot be written now and stays in the core");
        }
        self.scribe.order(Order::Stop);
        while let Some(report) = reports.recv().await {
            if let OutputReport::Scribe(ScribeReport::Stopped { .. }) = report {
                return;
            }
            self.take(report, link);
        }
    }
}
