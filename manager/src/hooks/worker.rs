//! One Python process that runs hooks, and the calls that it has not answered.

use super::wire::{FromWorker, MAX_LINE, ToWorker};
use super::{HookCall, HookError, HookTicket};
use crate::python;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Child;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;

/// What the worker runs.
const SOURCE: &str = include_str!("worker.py");

/// How long an interpreter may take to begin with a call: a machine that is busy starts one in seconds. Not the hook's time.
const STARTING: Duration = Duration::from_secs(30);

/// Lines that may wait for a worker that does not read.
const WAITING_LINES: usize = 1024;

/// What one of the workers has said; the number is the worker's.
pub type Heard = (u64, Option<Result<FromWorker, HookError>>);

/// One process.
#[derive(Debug)]
pub struct Worker {
    child: Child,
    lines: mpsc::Sender<String>,
    pending: BTreeMap<HookTicket, Pending>,
}

#[derive(Debug)]
struct Pending {
    call: HookCall,
    /// How long it may take from now on: [`STARTING`], then what the call allows.
    limit: Duration,
    /// Its time runs from when those of the same watcher before it have been answered, and anew from when Python begins with it.
    deadline: Option<Instant>,
}

impl Pending {
    fn run(&mut self, limit: Duration) {
        self.limit = limit;
        self.deadline = Instant::now().checked_add(limit);
    }
}

impl Worker {
    /// Starts one. What it says goes to `heard` under the number `id`; `None` is its end.
    pub fn start(id: u64, heard: mpsc::Sender<Heard>) -> Result<Self, HookError> {
        let failed = |error: std::io::Error| HookError::NoPython(error.to_string());
        let source = [python::IMPORTING, SOURCE];
        let (child, ours) = python::start(python::python3(), "circusd-hooks", &source).map_err(failed)?;
        ours.set_nonblocking(true).map_err(failed)?;
        let (reader, writer) = UnixStream::from_std(ours).map_err(failed)?.into_split();
        let (lines, waiting) = mpsc::channel(WAITING_LINES);
        tokio::spawn(write_lines(writer, waiting));
        tokio::spawn(read_lines(id, reader, heard));
        Ok(Self { child, lines, pending: BTreeMap::new() })
    }

    /// Sends a call. `false`: the worker does not read.
    pub fn call(&mut self, call: HookCall) -> bool {
        let line = ToWorker::Hook {
            ticket: call.ticket.0,
            name: call.point.name(),
            target: &call.target,
            generation: call.generation,
            watcher: &call.watcher,
            facts: &call.facts,
            snapshot: &call.snapshot,
            path: call.python_path.as_deref(),
        };
        if !self.send(&line) {
            return false;
        }
        self.pending.insert(call.ticket, Pending { call, limit: STARTING, deadline: None });
        self.run_clocks();
        true
    }

    /// Sends a line; `false`: the worker does not read.
    pub fn send(&self, line: &ToWorker<'_>) -> bool {
        let text = serde_json::to_string(line).map(|mut text| {
            text.push('\n');
            text
        });
        text.is_ok_and(|text| self.lines.try_send(text).is_ok())
    }

    /// Python begins with a call.
    pub fn began(&mut self, ticket: HookTicket) {
        if let Some(pending) = self.pending.get_mut(&ticket) {
            pending.run(pending.call.limit);
        }
    }

    /// A call was answered.
    pub fn answered(&mut self, ticket: HookTicket) -> Option<HookCall> {
        let pending = self.pending.remove(&ticket)?;
        self.run_clocks();
        Some(pending.call)
    }

    /// Starts the clocks of those calls that run now: the first one of each watcher.
    fn run_clocks(&mut self) {
        let mut busy = BTreeSet::new();
        for pending in self.pending.values_mut() {
            if busy.insert(pending.call.watcher.clone()) && pending.deadline.is_none() {
                pending.run(STARTING);
            }
        }
    }

    /// When the first call has used up its time.
    pub fn deadline(&self) -> Option<Instant> {
        self.pending.values().filter_map(|pending| pending.deadline).min()
    }

    /// Takes out the calls that have used up their time, which each has as its limit, and those that wait behind one of them.
    pub fn expired(&mut self, now: Instant) -> (Vec<HookCall>, Vec<HookCall>) {
        let over = |pending: &Pending| pending.deadline.is_some_and(|deadline| deadline <= now);
        let stuck: BTreeSet<String> =
            self.pending.values().filter(|pending| over(pending)).map(|pending| pending.call.watcher.clone()).collect();
        let taken = self.pending.extract_if(.., |_, pending| stuck.contains(&pending.call.watcher));
        let (late, behind): (Vec<_>, Vec<_>) = taken.map(|(_, pending)| pending).partition(over);
        let late = late.into_iter().map(|late| HookCall { limit: late.limit, ..late.call });
        (late.collect(), behind.into_iter().map(|behind| behind.call).collect())
    }

    /// Nothing waits for it.
    pub fn is_idle(&self) -> bool {
        self.pending.is_empty()
    }

    /// Ends it. Gives how it ended, and its calls: those that ran, and those that had not begun.
    pub async fn end(mut self) -> (String, Vec<HookCall>, Vec<HookCall>) {
        let (running, waiting): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.pending).into_values().partition(|pending| pending.deadline.is_some());
        let mut child = self.child;
        let ended = tokio::task::spawn_blocking(move || {
            // One that has ended by itself keeps its own status.
            let _ = child.kill();
            child.wait()
        });
        let status = match ended.await {
            Ok(Ok(status)) => status.to_string(),
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        let calls = |pending: Vec<Pending>| pending.into_iter().map(|pending| pending.call).collect();
        (status, calls(running), calls(waiting))
    }
}

async fn write_lines(mut writer: OwnedWriteHalf, mut lines: mpsc::Receiver<String>) {
    while let Some(line) = lines.recv().await {
        if writer.write_all(line.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn read_lines(id: u64, reader: OwnedReadHalf, heard: mpsc::Sender<Heard>) {
    let mut reader = BufReader::new(reader);
    let limit = u64::try_from(MAX_LINE).unwrap_or(u64::MAX);
    loop {
        let mut line = Vec::new();
        let read = (&mut reader).take(limit).read_until(b'\n', &mut line).await;
        if read.is_err() || line.last() != Some(&b'\n') {
            break;
        }
        let said = serde_json::from_slice(&line).map_err(|error| HookError::Nonsense(error.to_string()));
        if heard.send((id, Some(said))).await.is_err() {
            return;
        }
    }
    let _ = heard.send((id, None)).await;
}
