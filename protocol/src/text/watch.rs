//! `watch processes`: batches of output and ends, each waiting for its acknowledgement (spec of Papa, section 6).
//!
//! A watcher has cursors of its own: what one acknowledges another still sees. Times on the wire only grow, whatever the
//! clock does.

use super::names::select_known;
use super::output::{Run, runs};
use super::process::Note;
use super::{Host, TextError, list};
use crate::limits::TEXT_BATCH;
use crate::message::{ExitStatus, ProcessId, ProcessInfo};
use crate::ring::Stream;

/// How far a watcher has taken a process's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acked {
    /// Which process.
    pub process: ProcessId,
    /// Everything below, by stream; 0: nothing.
    pub offsets: [u64; 2],
    /// Its end, too.
    pub closed: bool,
}

impl Acked {
    /// The further of two watchers in everything.
    pub fn furthest(&self, other: &Self) -> Self {
        let ([out, err], [other_out, other_err]) = (self.offsets, other.offsets);
        Self {
            process: self.process,
            offsets: [out.max(other_out), err.max(other_err)],
            closed: self.closed || other.closed,
        }
    }
}

/// One watch command under way.
#[derive(Debug)]
pub struct Watch {
    processes: Vec<Watched>,
    /// A batch waits for its acknowledgement.
    pub unanswered: bool,
    /// Something may have happened since the last look.
    pub stirred: bool,
    /// The client has read the first line: a batch may follow. Before that, both could arrive in one read, and clients
    /// that wait for the descriptor after their first line would wait for ever.
    pub settled: bool,
}

#[derive(Debug)]
struct Watched {
    id: ProcessId,
    /// Made by this protocol, and the client's to rule: an acknowledgement lets its output go. Other output is only looked
    /// at.
    ours: bool,
    /// What is kept for a watcher, where that is less than a ring.
    bufsize: Option<u64>,
    cursors: [Cursor; 2],
    /// The newest time on the wire.
    stamp_us: u64,
    closed_sent: bool,
}

#[derive(Debug, Clone, Copy, Default)]
struct Cursor {
    acked: u64,
    sent: u64,
    record: u64,
}

impl Watch {
    /// Of what the patterns mean now; later processes are not seen.
    pub fn begin(host: &impl Host, patterns: &[String]) -> Result<Self, TextError> {
        let chosen = select_known(patterns, host.processes())?;
        if chosen.is_empty() {
            return Err(TextError::NothingToWatch);
        }
        Ok(Self::of(host, &chosen))
    }

    /// Of these processes.
    pub fn of(host: &impl Host, processes: &[ProcessInfo]) -> Self {
        let processes = processes.iter().map(|info| {
            let note = Note::read(&info.note);
            Watched {
                id: info.id,
                ours: note.is_some() && host.may_release(info.id),
                bufsize: note.and_then(|note| note.bufsize),
                cursors: [Cursor::default(); 2],
                stamp_us: 0,
                closed_sent: false,
            }
        });
        Self { processes: processes.collect(), unanswered: false, stirred: true, settled: false }
    }

    /// How many processes are left.
    pub fn len(&self) -> usize {
        self.processes.len()
    }

    /// The next batch; empty while there is nothing to show. Processes that are gone are left out from then on.
    pub fn batch(&mut self, host: &impl Host) -> Vec<u8> {
        self.stirred = false;
        let mut out = Vec::new();
        self.processes.retain_mut(|watched| match host.process(watched.id) {
            Some(info) => {
                watched.show(host, &info, &mut out);
                true
            }
            None => false,
        });
        if !out.is_empty() {
            out.extend_from_slice(b"] ");
            self.unanswered = true;
        }
        out
    }

    /// The batch is acknowledged.
    pub fn acknowledge(&mut self) -> Vec<Acked> {
        self.unanswered = false;
        self.stirred = true;
        for watched in &mut self.processes {
            for cursor in &mut watched.cursors {
                cursor.acked = cursor.sent;
            }
        }
        let acked = self.positions();
        self.processes.retain(|watched| !watched.closed_sent);
        acked
    }

    /// How far this watcher has acknowledged each process that may be let go of.
    pub fn positions(&self) -> Vec<Acked> {
        let ours = self.processes.iter().filter(|watched| watched.ours);
        ours.map(|watched| Acked {
            process: watched.id,
            offsets: watched.cursors.map(|cursor| cursor.acked),
            closed: watched.closed_sent && !self.unanswered,
        })
        .collect()
    }
}

impl Watched {
    fn show(&mut self, host: &impl Host, info: &ProcessInfo, out: &mut Vec<u8>) {
        let mut found: Vec<Run> = Vec::new();
        for ((stream, state), cursor) in Stream::ALL.into_iter().zip(&info.streams).zip(&mut self.cursors) {
            cursor.acked = cursor.acked.max(state.low);
            cursor.sent = cursor.acked;
            cursor.record = cursor.record.max(state.first_record);
            let left = TEXT_BATCH.saturating_sub(u64::try_from(out.len()).unwrap_or(u64::MAX));
            found.extend(runs(host, self.id, stream, state, (cursor.sent, cursor.record), left));
        }
        found.sort_by_key(|run| run.seq);
        let dropped = self.bufsize.map_or(0, |bufsize| beyond(&found, bufsize));
        for (index, run) in found.iter().enumerate() {
            if let Some(cursor) = self.cursors.get_mut(run.stream.index()) {
                cursor.sent = run.to;
                cursor.record = run.record;
            }
            if index < dropped {
                continue;
            }
            let bytes = host.output(self.id, run.stream, run.from, run.to);
            let kind = match run.stream {
                Stream::Stdout => "out",
                Stream::Stderr => "err",
            };
            let time = self.stamp(run.realtime_ns);
            out.extend_from_slice(format!("{kind}:{}:{time}:{}\n", info.name, bytes.len()).as_bytes());
            out.extend_from_slice(&bytes);
            out.push(b'\n');
        }
        if let Some(exit) = &info.exit {
            let said = self.cursors.iter().zip(exit.heads).all(|(cursor, head)| cursor.sent >= head);
            if said {
                let code = match exit.status {
                    ExitStatus::Code(code) => code,
                    ExitStatus::Signal(signal) => -signal,
                    ExitStatus::Unknown => -1,
                };
                let time = self.stamp(exit.realtime_ns);
                out.extend_from_slice(format!("closed:{}:{time}:{code}\n", info.name).as_bytes());
                self.closed_sent = true;
            }
        }
    }

    /// A time for the wire: microseconds, later than the one before, also when the clock was set back.
    fn stamp(&mut self, realtime_ns: u64) -> String {
        self.stamp_us = (realtime_ns / 1000).max(self.stamp_us + 1);
        list::stamp(self.stamp_us)
    }
}

/// How many of the oldest runs do not fit into a buffer of `bufsize` bytes; the newest always does, whatever its length (spec of
/// Papa, section 7).
fn beyond(runs: &[Run], bufsize: u64) -> usize {
    let mut room = bufsize;
    let kept = runs.iter().rev().enumerate().take_while(|(index, run)| {
        let fits = room.checked_sub(run.to - run.from);
        room = fits.unwrap_or(0);
        fits.is_some() || *index == 0
    });
    runs.len() - kept.count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_buffer_keeps_the_newest_runs() {
        let run = |seq: u64, from, to| Run { seq, stream: Stream::Stdout, from, to, realtime_ns: 0, record: seq };
        let runs = [run(1, 0, 14), run(2, 14, 30), run(3, 30, 37), run(4, 37, 41)];
        let dropped = [0, 4, 10, 11, 26, 27, 41].map(|bufsize| beyond(&runs, bufsize));
        assert_eq!(dropped, [3, 3, 3, 2, 2, 1, 0]);
        assert_eq!((beyond(&[], 5), beyond(&[run(1, 0, 100)], 5)), (0, 0));
    }

    #[test]
    fn times_grow_when_the_clock_is_set_back() {
        let id = ProcessId(1);
        let mut watched =
            Watched { id, ours: true, bufsize: None, cursors: [Cursor::default(); 2], stamp_us: 0, closed_sent: false };
        let times = [5_000_000, 5_000_000, 3_000_000, 6_000_000].map(|micros| watched.stamp(micros * 1000));
        assert_eq!(times, ["5.0", "5.000001", "5.000002", "6.0"]);
    }
}
