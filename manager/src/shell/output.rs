//! Between the core, which has the output of children, and the scribe, which writes it: opens process files, hands on how
//! far streams have come, acknowledges what is written.

use crate::kernel_link::{KernelLink, LinkError, OpenedProcess};
use crate::options::StreamOptions;
use crate::process::Wid;
use crate::streams::{Attach, Order, Scribe, ScribeReport, WatcherKey};
use crate::watcher::WatcherId;
use ringmaster_protocol::message::{ProcessId, StreamEnd};
use ringmaster_protocol::ring::Stream;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::sync::mpsc;

/// How long the end of circusd waits for a log that cannot be written. What is left stays in the core.
const LAST_FLUSH: Duration = Duration::from_secs(5);

/// Beginning of the names under which the core keeps how many lost bytes the log has told of.
const TOLD: &str = "circusd.told.";

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
        /// The file, and how many lost bytes of its streams are told already.
        result: Result<Box<(OpenedProcess, [u64; 2])>, LinkError>,
    },
}

/// The loop's side of the scribe.
#[derive(Debug)]
pub struct Output {
    scribe: Scribe,
    reports: mpsc::Sender<OutputReport>,
    watchers: BTreeMap<WatcherId, WatcherKey>,
    /// Processes whose output is taken.
    attached: BTreeSet<ProcessId>,
    /// Lost bytes that the logs have told of.
    told: BTreeMap<ProcessId, [u64; 2]>,
}

impl Output {
    /// Starts the scribe.
    pub fn start(reports: mpsc::Sender<OutputReport>) -> std::io::Result<Self> {
        let sender = reports.clone();
        let scribe = Scribe::start(move |report| {
            // The loop ends only after the scribe, so nobody is left to tell when this fails.
            let _ = sender.blocking_send(OutputReport::Scribe(report));
        })?;
        let (watchers, attached, told) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
        Ok(Self { scribe, reports, watchers, attached, told })
    }

    /// The streams of a watcher are these.
    pub fn open(&mut self, id: WatcherId, name: &str, stdout: Option<StreamOptions>, stderr: Option<StreamOptions>) {
        let watcher = WatcherKey::new(name);
        self.watchers.insert(id, watcher.clone());
        self.scribe.order(Order::SetStreams { watcher, stdout, stderr });
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
        self.attached.insert(process);
        self.scribe.order(Order::Expect { process, watcher: key.clone() });
        self.ask_for(link, process, (wid, key));
    }

    /// Has the core open the process file.
    fn ask_for(&self, link: &KernelLink, process: ProcessId, place: (Wid, WatcherKey)) {
        let (link, reports) = (link.clone(), self.reports.clone());
        tokio::spawn(async move {
            let result = open(&link, process).await.map(Box::new);
            // The receiver lives as long as the loop.
            let _ = reports.send(OutputReport::Opened { process, place, result }).await;
        });
    }

    /// A stream has come further.
    pub fn advance(&self, process: ProcessId, stream: Stream, head: u64, records: u64) {
        if self.attached.contains(&process) {
            self.scribe.order(Order::Advance { process, stream, head, records });
        }
    }

    /// Nobody writes to a stream any more.
    pub fn stream_ended(&self, end: &StreamEnd) {
        let StreamEnd { process, stream, head, records } = *end;
        if self.attached.contains(&process) {
            self.scribe.order(Order::StreamEnded { process, stream, head, records });
        }
    }

    /// A process has ended.
    pub fn ended(&self, process: ProcessId, heads: [u64; 2]) {
        if self.attached.contains(&process) {
            self.scribe.order(Order::Ended { process, heads });
        }
    }

    /// Nothing more of a process is wanted.
    pub fn detach(&mut self, link: &KernelLink, process: ProcessId) {
        if self.attached.remove(&process) {
            self.scribe.order(Order::Detach { process });
        }
        if self.told.remove(&process).is_some() {
            let removed = link.remove_value(told_name(process));
            tokio::spawn(async move {
                if let Err(error) = removed.await {
                    tracing::debug!("a value stays in the core: {error}");
                }
            });
        }
    }

    /// Takes a report: acknowledges, or gives a process whose last words are written.
    pub fn take(&mut self, report: OutputReport, link: &KernelLink) -> Option<ProcessId> {
        match report {
            OutputReport::Scribe(report) => self.scribe_report(report, link),
            OutputReport::Opened { process, place, result: Ok(opened) } => {
                let (opened, told) = *opened;
                self.opened(process, place, opened, told);
                None
            }
            // The core went away before it answered: the next one is asked, which is this one again until it is there.
            OutputReport::Opened { process, place, result: Err(LinkError::Gone { .. }) } => {
                if self.attached.contains(&process) {
                    self.ask_for(link, process, place);
                }
                None
            }
            OutputReport::Opened { process, result: Err(error), .. } => {
                tracing::error!("the output of process {} cannot be taken: {error}", process.0);
                Some(process)
            }
        }
    }

    fn opened(&mut self, process: ProcessId, place: (Wid, WatcherKey), opened: OpenedProcess, told: [u64; 2]) {
        if !self.attached.contains(&process) {
            return;
        }
        if told != [0, 0] {
            self.told.insert(process, told);
        }
        let OpenedProcess { process: info, file } = opened;
        let (wid, watcher) = place;
        self.scribe.order(Order::Attach(Attach {
            process,
            watcher,
            pid: info.pid,
            wid: wid.0.into(),
            file,
            streams: info.streams,
            told_lost: told,
        }));
        if let Some(exit) = info.exit {
            self.scribe.order(Order::Ended { process, heads: exit.heads });
        }
    }

    fn scribe_report(&mut self, report: ScribeReport, link: &KernelLink) -> Option<ProcessId> {
        match report {
            ScribeReport::Consumed { process, stream, offset } => {
                if let Err(error) = link.ack(process, stream, offset) {
                    tracing::debug!("an acknowledgement is not sent, a later one will be: {error}");
                }
            }
            ScribeReport::Drained { process } => return Some(process),
            ScribeReport::Unreadable { process, error } => {
                tracing::error!("the output of process {} cannot be read: {error}", process.0);
                return Some(process);
            }
            ScribeReport::Gap { process, stream, lost, .. } => self.note_gap(process, stream, lost, link),
            ScribeReport::Trouble(trouble) => tracing::error!("{trouble}"),
            ScribeReport::Cleared { path } => tracing::info!("{} is written again", path.display()),
            ScribeReport::Moved { path } => {
                tracing::warn!("{} was moved or deleted; output goes on in the file that is there now", path.display())
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

    /// Notes at the core that the log has a line about lost bytes, so that the next circusd does not tell it again.
    fn note_gap(&mut self, process: ProcessId, stream: Stream, lost: u64, link: &KernelLink) {
        tracing::warn!("{lost} bytes of {} of process {} are lost", stream.name(), process.0);
        let told = self.told.entry(process).or_default();
        if let Some(count) = told.get_mut(stream.index()) {
            *count = count.saturating_add(lost);
        }
        let noted = link.set_value(told_name(process), encode(told));
        tokio::spawn(async move {
            if let Err(error) = noted.await {
                tracing::debug!("lost bytes may be told again: {error}");
            }
        });
    }

    /// Writes everything there is, acknowledges it, and ends the scribe.
    pub async fn finish(&mut self, link: &KernelLink, reports: &mut mpsc::Receiver<OutputReport>) {
        self.scribe.order(Order::Flush { token: u64::MAX });
        let flushed = async {
            while let Some(report) = reports.recv().await {
                if let OutputReport::Scribe(ScribeReport::Flushed { token: u64::MAX }) = report {
                    return;
                }
                self.take(report, link);
            }
        };
        if tokio::time::timeout(LAST_FLUSH, flushed).await.is_err() {
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

fn told_name(process: ProcessId) -> String {
    format!("{TOLD}{}", process.0)
}

fn encode(told: &[u64; 2]) -> Vec<u8> {
    told.iter().flat_map(|count| count.to_le_bytes()).collect()
}

fn decode(bytes: &[u8]) -> [u64; 2] {
    let mut told = [0; 2];
    for (count, word) in told.iter_mut().zip(bytes.chunks_exact(8)) {
        *count = word.try_into().map_or(0, u64::from_le_bytes);
    }
    told
}

async fn open(link: &KernelLink, process: ProcessId) -> Result<(OpenedProcess, [u64; 2]), LinkError> {
    let opened = link.open_process(process).await?;
    let told = if opened.process.streams.iter().any(|stream| stream.lost > 0) {
        link.get_value(told_name(process)).await?.value.map_or([0, 0], |bytes| decode(&bytes))
    } else {
        [0, 0]
    };
    Ok((opened, told))
}
