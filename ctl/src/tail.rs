//! `tail`: what the processes of a watcher have written, from the core's rings: also before there is any log file, and
//! while circusd is away. Reading takes nothing away from the logs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;

use ringmaster_manager::kernel_link::{KernelEvent, LinkError, LossReason};
use ringmaster_protocol::message::{Notice, ProcessId, ProcessInfo, Refusal};
use ringmaster_protocol::ring::Stream;
use thiserror::Error;

use crate::core_link::{Core, CoreError};
use crate::ring::{Ring, Run};

/// Bytes of each stream in which the last lines are looked for: some thousand lines.
const LOOK_BACK: u64 = 256 << 10;

/// Bytes of a line after which it is shown although it has not ended.
const MAX_LINE: usize = 64 << 10;

/// Ended streams that are remembered; a notice is never behind by so many.
const MAX_OVER: usize = 1024;

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The watcher.
    pub watcher: String,
    /// One stream; `None`: both.
    pub stream: Option<Stream>,
    /// So many of the last lines.
    pub lines: usize,
    /// Go on with what comes.
    pub follow: bool,
    /// With the time at which a line reached the core.
    pub time: bool,
}

/// Why there is nothing to show. The exit status is 1.
#[derive(Debug, Error)]
pub enum TailError {
    /// No connection.
    #[error(transparent)]
    Core(#[from] CoreError),
    /// The connection broke.
    #[error("error: the core went away: {0}")]
    Lost(LossReason),
    /// Nothing of that name runs.
    #[error("error: no process of a watcher '{0}' is at the core; circusctl status names the watchers")]
    Nobody(String),
    /// They write somewhere else.
    #[error(
        "error: the output of '{0}' is not captured: without a stdout_stream or stderr_stream its processes write where \
         circusd itself does"
    )]
    NotCaptured(String),
    /// A ring cannot be read.
    #[error("error: the output of process {pid} cannot be read: {reason}")]
    Ring {
        /// Whose.
        pid: i32,
        /// What the operating system says.
        reason: io::Error,
    },
    /// A line could not be written.
    #[error("error: cannot write to stdout: {0}")]
    Stdout(io::Error),
}

/// A line, without its end.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    /// When it began to arrive, in nanoseconds since the Unix epoch.
    realtime_ns: u64,
    pid: i32,
    bytes: Vec<u8>,
}

/// One stream of one process, and how far it has been shown.
#[derive(Debug)]
struct Source {
    pid: i32,
    ring: Ring,
    shown: u64,
    /// The beginning of a line whose end has not come.
    rest: Option<Line>,
}

impl Source {
    fn new(info: &ProcessInfo, stream: Stream, file: File) -> io::Result<Self> {
        Ok(Self { pid: info.pid, ring: Ring::open(file, stream)?, shown: 0, rest: None })
    }

    /// The lines up to `head`, whose newest record is `records - 1`. Gives the bytes that are gone, too.
    fn lines(&mut self, head: u64, records: u64) -> io::Result<(Vec<Line>, u64)> {
        let runs = self.ring.runs(self.shown, head, records)?;
        let first = runs.first().map_or(head, |run| run.from);
        let gap = first.saturating_sub(self.shown);
        self.shown = head.max(self.shown);
        let mut lines = Vec::new();
        for Run { realtime_ns, bytes, .. } in runs {
            self.split(realtime_ns, &bytes, &mut lines);
        }
        Ok((lines, gap))
    }

    fn split(&mut self, realtime_ns: u64, bytes: &[u8], lines: &mut Vec<Line>) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let pid = self.pid;
            let line = self.rest.get_or_insert_with(|| Line { realtime_ns, pid, bytes: Vec::new() });
            let ended = part.ends_with(b"\n");
            line.bytes.extend_from_slice(part.strip_suffix(b"\n").unwrap_or(part));
            if ended || line.bytes.len() >= MAX_LINE {
                lines.extend(self.rest.take());
            }
        }
    }
}

/// Shows the last lines, and with `follow` all that come, until something fails.
///
/// # Errors
/// See [`TailError`].
pub async fn tail(
    core: Core,
    wanted: &Wanted,
    show: impl FnMut(&[u8]) -> io::Result<()>,
    remark: impl FnMut(&str),
) -> Result<(), TailError> {
    let mut tail = Tail { core, wanted, sources: BTreeMap::new(), over: BTreeSet::new(), several: false, show, remark };
    tail.last().await?;
    if wanted.follow { tail.follow().await } else { Ok(()) }
}

struct Tail<'a, S, R> {
    core: Core,
    wanted: &'a Wanted,
    sources: BTreeMap<(ProcessId, usize), Source>,
    /// Streams that have ended, the latest [`MAX_OVER`] of them: notices about them may still come.
    over: BTreeSet<(ProcessId, usize)>,
    /// Whether lines say which process wrote them.
    several: bool,
    show: S,
    remark: R,
}

impl<S: FnMut(&[u8]) -> io::Result<()>, R: FnMut(&str)> Tail<'_, S, R> {
    fn prefix(&self) -> String {
        format!("circus.{}.", self.wanted.watcher.to_lowercase())
    }

    async fn last(&mut self) -> Result<(), TailError> {
        let prefix = self.prefix();
        let all = self.core.link.list_all(&prefix).await.map_err(|reason| self.core.broken(reason))?;
        // Another watcher's name may begin with this one and a dot.
        let processes: Vec<ProcessInfo> = all.into_iter().filter(|info| is_number(&info.name, &prefix)).collect();
        if processes.is_empty() && !self.wanted.follow {
            return Err(TailError::Nobody(self.wanted.watcher.clone()));
        }
        self.several = processes.len() > 1;
        for info in &processes {
            self.open(info).await?;
        }
        if self.sources.is_empty() && !processes.is_empty() {
            return Err(TailError::NotCaptured(self.wanted.watcher.clone()));
        }
        let mut lines = Vec::new();
        for info in &processes {
            for (stream, state) in Stream::ALL.into_iter().zip(&info.streams) {
                let Some(source) = self.sources.get_mut(&(info.id, stream.index())) else {
                    continue;
                };
                source.shown = state.head.saturating_sub(LOOK_BACK);
                let cut = source.shown > 0;
                let (mut new, _) = source
                    .lines(state.head, state.records)
                    .map_err(|reason| TailError::Ring { pid: info.pid, reason })?;
                if cut && !new.is_empty() {
                    // The first one has lost its beginning.
                    new.remove(0);
                }
                lines.append(&mut new);
                if !self.wanted.follow {
                    lines.extend(source.rest.take());
                }
            }
        }
        lines.sort_by_key(|line| line.realtime_ns);
        let from = lines.len().saturating_sub(self.wanted.lines);
        lines.drain(..from);
        self.print(&lines)
    }

    /// Opens the streams of a process that are wanted and captured.
    async fn open(&mut self, info: &ProcessInfo) -> Result<(), TailError> {
        let wanted = |stream: Stream| self.wanted.stream.is_none_or(|wanted| wanted == stream);
        let streams = Stream::ALL.into_iter().zip(&info.streams);
        let captured: Vec<Stream> =
            streams.filter(|(stream, state)| state.captured && wanted(*stream)).map(|(stream, _)| stream).collect();
        if captured.is_empty() {
            return Ok(());
        }
        let opened = match self.core.link.open_process(info.id).await {
            Ok(opened) => opened,
            // It was forgotten since it was listed.
            Err(LinkError::Refused(Refusal::NotFound { .. })) => return Ok(()),
            Err(reason) => return Err(self.core.broken(reason).into()),
        };
        let file = File::from(opened.file);
        for stream in captured {
            let source = file.try_clone().and_then(|file| Source::new(info, stream, file));
            let source = source.map_err(|reason| TailError::Ring { pid: info.pid, reason })?;
            self.sources.insert((info.id, stream.index()), source);
        }
        Ok(())
    }

    async fn follow(&mut self) -> Result<(), TailError> {
        let prefix = self.prefix();
        self.core.link.watch(&prefix).await.map_err(|reason| self.core.broken(reason))?;
        loop {
            match self.core.events.recv().await {
                Some(KernelEvent::Notice(Notice::Output(output))) => {
                    self.advance(output.process, output.stream, output.head, output.records).await?;
                }
                Some(KernelEvent::Notice(Notice::StreamEnd(end))) => {
                    self.advance(end.process, end.stream, end.head, end.records).await?;
                    let key = (end.process, end.stream.index());
                    self.over.insert(key);
                    if self.over.len() > MAX_OVER {
                        self.over.pop_first();
                    }
                    if let Some(mut source) = self.sources.remove(&key) {
                        let last: Vec<Line> = source.rest.take().into_iter().collect();
                        self.print(&last)?;
                    }
                }
                Some(KernelEvent::Notice(Notice::Exited(_) | Notice::LeaseLost(_))) => {}
                Some(KernelEvent::Lost(reason)) => return Err(TailError::Lost(reason)),
                None => return Err(TailError::Lost(LossReason::Closed)),
            }
        }
    }

    async fn advance(&mut self, process: ProcessId, stream: Stream, head: u64, records: u64) -> Result<(), TailError> {
        let key = (process, stream.index());
        if self.over.contains(&key) {
            return Ok(());
        }
        if !self.sources.contains_key(&key) {
            let Some(info) = self.find(process).await? else {
                return Ok(());
            };
            self.several |= self.sources.values().any(|source| source.pid != info.pid);
            self.open(&info).await?;
        }
        let Some(source) = self.sources.get_mut(&key) else {
            return Ok(());
        };
        let pid = source.pid;
        let (lines, gap) = source.lines(head, records).map_err(|reason| TailError::Ring { pid, reason })?;
        if gap > 0 {
            (self.remark)(&format!("{gap} bytes of process {pid} were overwritten before they could be shown"));
        }
        self.print(&lines)
    }

    async fn find(&self, process: ProcessId) -> Result<Option<ProcessInfo>, TailError> {
        let prefix = self.prefix();
        let all = self.core.link.list_all(&prefix).await.map_err(|reason| self.core.broken(reason))?;
        Ok(all.into_iter().find(|info| info.id == process && is_number(&info.name, &prefix)))
    }

    fn print(&mut self, lines: &[Line]) -> Result<(), TailError> {
        for line in lines {
            let mut out = Vec::with_capacity(line.bytes.len() + 48);
            if self.wanted.time {
                out.extend_from_slice(time(line.realtime_ns).as_bytes());
                out.push(b' ');
            }
            if self.several {
                out.extend_from_slice(format!("[{}] ", line.pid).as_bytes());
            }
            out.extend_from_slice(&line.bytes);
            (self.show)(&out).map_err(TailError::Stdout)?;
        }
        Ok(())
    }
}

/// `circus.NAME.` and a number.
fn is_number(name: &str, prefix: &str) -> bool {
    name.strip_prefix(prefix).is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()))
}

/// RFC 3339 in the local time zone, to the millisecond.
fn time(nanoseconds: u64) -> String {
    let at = jiff::Timestamp::from_nanosecond(i128::from(nanoseconds)).unwrap_or_default();
    at.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%dT%H:%M:%S%.3f%:z").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_processes_of_this_very_watcher_are_meant() {
        assert!(is_number("circus.web.12", "circus.web."));
        for other in ["circus.web.a.1", "circus.web.", "circus.webs.1", "circus.web.1a"] {
            assert!(!is_number(other, "circus.web."), "{other}");
        }
    }

    #[test]
    fn times_are_told_to_the_millisecond() {
        assert!(time(1_795_187_570_123_456_789).contains(".123"), "{}", time(1_795_187_570_123_456_789));
    }
}
