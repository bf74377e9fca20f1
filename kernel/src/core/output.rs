//! Output: from readable pipe to notice, and the acknowledgements that make room again.

use super::event::{Effect, ReplyTo};
use super::pace::{News, Pace};
use super::process::Fate;
use super::ring::{Captured, Circumstances, Plan, Ring};
use super::{Core, Effects, Timer};
use crate::limits::{PROGRESS, RETRY};
use ringmaster_protocol::message::{Ack, ProcessId, StreamState};
use ringmaster_protocol::ring::Stream;

/// The captured streams of one process. One that is not captured takes no room: most processes of a large instance have none.
#[derive(Debug)]
pub(super) struct Captures {
    streams: [Option<Box<Capturing>>; 2],
    seq: u64,
    /// Which stream had the newest record.
    newest: Option<Stream>,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Capturing {
    pub ring: Ring,
    pub pipe: Pipe,
    pub pace: Pace,
    pub news: News,
    /// How the capture that is under way lies among those of the other stream.
    pub order: Order,
    /// The most that it takes.
    asked: u64,
}

/// Whose output came last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// This stream's, too.
    Alone,
    /// The other's: which came first matters more than how much comes at once.
    Mixed,
}

/// What the core does about a pipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pipe {
    /// Waits for it.
    Watched,
    /// Leaves it, so that its output gathers.
    Resting {
        /// Looks at it then (`CLOCK_BOOTTIME`).
        until: u64,
    },
    /// Leaves it, because the ring is full or the file system refused.
    Held {
        /// Until then (`CLOCK_BOOTTIME`), or until somebody acknowledges.
        until: Option<u64>,
    },
    /// It has come to its end.
    Ended,
}

impl Captures {
    pub fn new(rings: [Option<(Ring, bool)>; 2], seq: u64) -> Self {
        let streams = rings.map(|ring| {
            ring.map(|(ring, open)| {
                Box::new(Capturing {
                    ring,
                    pipe: if open { Pipe::Watched } else { Pipe::Ended },
                    pace: Pace::new(),
                    news: News::default(),
                    order: Order::Mixed,
                    asked: 0,
                })
            })
        });
        Self { streams, seq, newest: None }
    }

    pub fn get(&self, stream: Stream) -> Option<&Capturing> {
        let [stdout, stderr] = &self.streams;
        match stream {
            Stream::Stdout => stdout.as_deref(),
            Stream::Stderr => stderr.as_deref(),
        }
    }

    pub fn get_mut(&mut self, stream: Stream) -> Option<&mut Capturing> {
        let [stdout, stderr] = &mut self.streams;
        match stream {
            Stream::Stdout => stdout.as_deref_mut(),
            Stream::Stderr => stderr.as_deref_mut(),
        }
    }

    pub fn states(&self) -> [StreamState; 2] {
        self.streams.each_ref().map(|stream| {
            stream.as_ref().map_or_else(StreamState::default, |stream| StreamState {
                captured: true,
                open: stream.pipe != Pipe::Ended,
                low: stream.ring.low(),
                head: stream.ring.readable(),
                first_record: stream.ring.first_record(),
                records: stream.ring.records(),
                lost: stream.ring.lost(),
            })
        })
    }

    /// How far each stream comes when `pending` more bytes are added.
    pub fn heads_with(&self, pending: [u64; 2]) -> [u64; 2] {
        let heads = self.streams.each_ref().map(|stream| stream.as_ref().map_or(0, |stream| stream.ring.head()));
        let [out, err] = heads;
        let [more_out, more_err] = pending;
        [out + more_out, err + more_err]
    }

    /// With those in open gaps, which are counted at their streams when the reader gets there.
    pub fn lost(&self) -> u64 {
        self.rings().map(|ring| ring.lost() + ring.missing()).sum()
    }

    fn rings(&self) -> impl Iterator<Item = &Ring> {
        self.streams.iter().flatten().map(|stream| &stream.ring)
    }

    pub fn ring(&mut self, stream: Stream) -> Option<&mut Ring> {
        self.get_mut(stream).map(|captured| &mut captured.ring)
    }

    /// Bytes of memory: what the rings may come to hold, and what they hold.
    pub fn memory(&self) -> (u64, u64) {
        (self.rings().map(Ring::most_memory).sum(), self.rings().map(Ring::memory).sum())
    }

    pub fn buffered(&self) -> u64 {
        self.states().iter().map(|state| state.head - state.low).sum()
    }

    /// The times that streams of the process `id` wait for.
    pub fn timers(&self, id: ProcessId) -> impl Iterator<Item = (u64, Timer)> + '_ {
        Stream::ALL.into_iter().filter_map(move |stream| match self.get(stream)?.pipe {
            Pipe::Held { until } => Some((until?, Timer::Held(id, stream))),
            Pipe::Resting { until } => Some((until, Timer::Rest(id, stream))),
            Pipe::Watched | Pipe::Ended => None,
        })
    }

    /// Streams that are left alone for now.
    pub fn held(&self) -> impl Iterator<Item = Stream> + '_ {
        Stream::ALL
            .into_iter()
            .filter(|stream| self.get(*stream).is_some_and(|captured| matches!(captured.pipe, Pipe::Held { .. })))
    }
}

impl Core {
    /// A pipe is readable, or has rested.
    pub(super) fn readable(&mut self, id: ProcessId, stream: Stream, out: &mut Effects) {
        let other = other(stream);
        if let (Some(Pipe::Watched), Some(Pipe::Resting { .. })) = (self.pipe(id, stream), self.pipe(id, other)) {
            // What waits there was written before this.
            self.look(id, other, out);
        }
        self.look(id, stream, out);
    }

    /// Plans one capture, or leaves the pipe alone.
    fn look(&mut self, id: ProcessId, stream: Stream, out: &mut Effects) {
        let now = self.now;
        let patience = self.patience(id);
        let Some(process) = self.processes.get_mut(&id) else {
            return;
        };
        let (seq, newest, home) = (process.captures.seq, process.captures.newest, process.home());
        let Some(captured) = process.captures.get_mut(stream) else {
            return;
        };
        match captured.pipe {
            Pipe::Watched => {}
            Pipe::Resting { until } => {
                self.timers.remove(&(until, Timer::Rest(id, stream)));
            }
            Pipe::Held { .. } | Pipe::Ended => return,
        }
        let progress = u64::try_from(PROGRESS.as_nanos()).unwrap_or(0);
        let about = Circumstances {
            now,
            seq,
            interleaved: newest != Some(stream),
            hold_until: patience.map(|since| since.max(captured.ring.progress_ns()) + progress),
            when_full: process.when_full,
            limit: self.memory.limit(home),
        };
        let before = captured.ring.memory();
        let plan = captured.ring.plan(&about);
        self.memory.account(home, before, captured.ring.memory());
        match plan {
            Plan::Hold { until } => self.hold(id, stream, until, out),
            Plan::Capture(capture) => {
                captured.asked = capture.length;
                captured.order = if about.interleaved { Order::Mixed } else { Order::Alone };
                if let Some((_, record)) = &capture.record {
                    process.captures.seq = record.seq.saturating_add(1);
                    process.captures.newest = Some(stream);
                }
                out.push(Effect::Capture { process: id, stream, capture });
            }
        }
    }

    /// Since when the manager watches this process while it holds the lease.
    fn patience(&self, id: ProcessId) -> Option<u64> {
        let holder = self.clients.get(&self.lease.holder()?)?;
        let name = &self.processes.get(&id)?.name;
        let watches = holder.watches.iter().filter(|watch| name.starts_with(&watch.prefix));
        watches.map(|watch| watch.since_ns).max()
    }

    fn hold(&mut self, process: ProcessId, stream: Stream, until: Option<u64>, out: &mut Effects) {
        let captures = self.processes.get_mut(&process).map(|process| &mut process.captures);
        if let Some(captured) = captures.and_then(|captures| captures.get_mut(stream)) {
            captured.pipe = Pipe::Held { until };
            if let Some(until) = until {
                self.timers.insert((until, Timer::Held(process, stream)));
            }
            out.push(Effect::Pause { process, stream });
        }
        // Whoever is waited for has to know what there is.
        self.tell_news(process, stream);
    }

    pub(super) fn pipe(&self, process: ProcessId, stream: Stream) -> Option<Pipe> {
        Some(self.processes.get(&process)?.captures.get(stream)?.pipe)
    }

    /// Looks at a pipe again that was left alone.
    pub(super) fn resume(&mut self, process: ProcessId, stream: Stream, out: &mut Effects) {
        let captures = self.processes.get_mut(&process).map(|process| &mut process.captures);
        let Some(captured) = captures.and_then(|captures| captures.get_mut(stream)) else {
            return;
        };
        match captured.pipe {
            Pipe::Held { until } => {
                captured.pipe = Pipe::Watched;
                if let Some(until) = until {
                    self.timers.remove(&(until, Timer::Held(process, stream)));
                }
                out.push(Effect::Resume { process, stream });
            }
            Pipe::Watched | Pipe::Resting { .. } | Pipe::Ended => {}
        }
    }

    /// The manager has gone or come: nobody waits for it in vain.
    pub(super) fn resume_all(&mut self, out: &mut Effects) {
        let processes = self.processes.values();
        let held = processes.flat_map(|process| process.captures.held().map(|stream| (process.id, stream)));
        for (id, stream) in held.collect::<Vec<_>>() {
            self.resume(id, stream, out);
        }
    }

    pub(super) fn captured(&mut self, id: ProcessId, stream: Stream, outcome: Captured, out: &mut Effects) {
        let now = self.now;
        let Some(process) = self.processes.get_mut(&id) else {
            return;
        };
        let home = process.home();
        let Some(captured) = process.captures.get_mut(stream) else {
            return;
        };
        match outcome {
            Captured::Bytes(bytes) => {
                let before = captured.ring.memory();
                captured.ring.advance(bytes, now);
                self.memory.account(home, before, captured.ring.memory());
                let asked = captured.asked;
                self.thin(id, stream, out);
                if bytes == 0 {
                    self.mark_output(id, stream);
                } else {
                    self.go_on(id, stream, (bytes, asked), out);
                }
                if self.processes.get(&id).is_some_and(|process| process.fate == Fate::Abandoned) {
                    self.let_go(id, stream, None, out);
                }
            }
            Captured::Empty => {
                self.rouse(id, stream, out);
                self.tell_news(id, stream);
            }
            Captured::End => {
                captured.pipe = Pipe::Ended;
                out.push(Effect::Close { process: id, stream });
                self.mark_end(id, stream);
            }
            Captured::Failed(errno) => {
                captured.ring.failed();
                let retry = u64::try_from(RETRY.as_nanos()).unwrap_or(0);
                let error = std::io::Error::from_raw_os_error(errno);
                let place = process.spill.as_ref().map(|directory| format!(" in {directory}")).unwrap_or_default();
                let text = format!("process {}: {} is not captured for now{place}: {error}", id.0, stream.name());
                out.push(Effect::Log { text });
                self.hold(id, stream, Some(now.boot_ns + retry), out);
            }
        }
    }

    /// An acknowledgement that does not fit, or comes from one who has no say, is ignored: it is a cast.
    pub(super) fn ack(&mut self, to: ReplyTo, ack: Ack, out: &mut Effects) {
        if self.may_change(to.client).is_err() {
            return;
        }
        self.let_go(ack.process, ack.stream, Some(ack.offset), out);
    }

    /// All output so far of a process that nobody wants to hear of.
    pub(super) fn discard(&mut self, process: ProcessId, out: &mut Effects) {
        for stream in Stream::ALL {
            self.let_go(process, stream, None, out);
        }
    }

    /// Everything below `offset` may be overwritten; `None`: everything so far.
    fn let_go(&mut self, id: ProcessId, stream: Stream, offset: Option<u64>, out: &mut Effects) {
        let now = self.now;
        let Some(process) = self.processes.get_mut(&id) else {
            return;
        };
        let home = process.home();
        let Some(ring) = process.captures.ring(stream) else {
            return;
        };
        let before = ring.memory();
        if !ring.acknowledge(offset.unwrap_or(ring.readable()), now) {
            return;
        }
        self.memory.account(home, before, ring.memory());
        out.push(Effect::SaveAck {
            process: id,
            stream,
            acked: ring.acked(),
            lost: ring.lost(),
            first_record: ring.first_record(),
        });
        if let Some(capture) = ring.reveal() {
            out.push(Effect::Capture { process: id, stream, capture });
        }
        self.thin(id, stream, out);
        self.resume(id, stream, out);
    }
}

fn other(stream: Stream) -> Stream {
    match stream {
        Stream::Stdout => Stream::Stderr,
        Stream::Stderr => Stream::Stdout,
    }
}
