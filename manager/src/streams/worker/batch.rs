//! One batch: what a process has for one target, from its file through plan and rendering.

use super::commit::nanoseconds;
use super::{HOLD, Worker};
use crate::streams::compose::{Input, compose, compose_gap};
use crate::streams::cursor::{Loaded, Portion, Step, Wish};
use crate::streams::loss::Loss;
use crate::streams::moment::Moment;
use crate::streams::per_stream::PerStream;
use crate::streams::plan::{Part, plan};
use crate::streams::process::Process;
use crate::streams::render::{Look, Tail};
use crate::streams::report::ScribeReport;
use crate::streams::sink::SinkKey;
use crate::streams::time_format::PrefixCache;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use ringmaster_protocol::message::ProcessId;
use ringmaster_protocol::ring::Stream;
use std::sync::Arc;
use std::time::Instant;

/// Streams of one process that go to one target.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) sink: SinkKey,
    pub(super) looks: PerStream<Option<Arc<Look>>>,
    /// Both streams of the process go there, whether or not there is something of both.
    pub(super) shared: bool,
}

/// Buffers that are used again and again.
pub(super) struct Bench {
    pub(super) portions: PerStream<Portion>,
    pub(super) rendered: Vec<u8>,
    pub(super) cache: PrefixCache,
}

impl Bench {
    pub(super) fn new(zone: TimeZone) -> Self {
        Self { portions: PerStream::default(), rendered: Vec::new(), cache: PrefixCache::new(zone) }
    }
}

impl<R: Fn(ScribeReport)> Worker<R> {
    /// Writes one batch. Gives whether there is more to do at once.
    pub(super) fn batch(&mut self, id: ProcessId, group: &Group, now: Moment) -> std::io::Result<bool> {
        let Some(tail) = self.tail_of(&group.sink, now) else {
            return Ok(false);
        };
        if let Some(gap) = self.load(id, group, now)? {
            return Ok(self.write_gap(id, group, tail, gap, now));
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
            let force = must_go(process, stream, self.flush.is_some(), now);
            parts.push(Part { stream, portion, force });
            let previous = cursor.previous;
            *inputs.get_mut(stream) = Some(Input { look, portion, previous });
        }
        let forced = parts.iter().any(|part| part.force);
        let before = if group.shared && !forced { ahead(process)? } else { None };
        let pieces = plan(&parts, before);
        if pieces.is_empty() && before.is_some() {
            // Something that arrived earlier is about to be announced; if that never happens, the pause ends.
            self.hold(id, group, now, true);
            return Ok(false);
        }
        let writer = process.writer(id);
        let mut rendered = std::mem::take(&mut self.bench.rendered);
        rendered.clear();
        let (commit, as_it_is) = compose(writer, tail, &pieces, &inputs, &mut self.bench.cache, &mut rendered);
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
        Ok(done && self.what_is_left(id, group, now, before.is_some()))
    }

    /// Fills the portions of a group. Gives a gap that has to be told first.
    fn load(&mut self, id: ProcessId, group: &Group, now: Moment) -> std::io::Result<Option<(Stream, Step, Loss)>> {
        let flushing = self.flush.is_some();
        let Some(process) = self.processes.get_mut(&id) else {
            return Ok(None);
        };
        for stream in Stream::ALL {
            let force = must_go(process, stream, flushing, now);
            let (Some(look), Some(cursor), Some(tap)) =
                (group.looks.get(stream), process.cursors.get_mut(stream), &process.tap)
            else {
                continue;
            };
            let wish = Wish { records: group.shared || look.needs_records(), force, most: look.most() };
            let loaded = cursor.load(tap, wish, self.bench.portions.get_mut(stream))?;
            if let Loaded::Gap { lost, to } = loaded {
                let (from, before) = (cursor.offset, cursor.previous.unwrap_or(b'\n'));
                let step = Step { from, before, offset: to, previous: b'\n', record: None, lost: None };
                let loss = cursor.loss(tap, (lost, to), nanoseconds(now));
                return Ok(Some((stream, step, loss)));
            }
        }
        Ok(None)
    }

    fn write_gap(
        &mut self,
        id: ProcessId,
        group: &Group,
        tail: Tail,
        (stream, step, loss): (Stream, Step, Loss),
        now: Moment,
    ) -> bool {
        let time = |ns: u64| Timestamp::from_nanosecond(i128::from(ns)).unwrap_or(now.wall);
        let sink = self.sinks.get(&group.sink);
        let outage = sink.and_then(|sink| sink.reason(time(loss.since_ns), time(loss.until_ns)));
        let loss = Loss { reason: outage.unwrap_or(loss.reason), ..loss };
        let (Some(look), Some(process)) = (group.looks.get(stream), self.processes.get(&id)) else {
            return false;
        };
        let writer = process.writer(id);
        let mut line = Vec::new();
        let commit = compose_gap(writer, tail, (stream, look, step, loss), &mut self.bench.cache, &mut line);
        self.commit(&group.sink, &line, commit, now)
    }

    /// After a batch: whether more can be written at once. What is left of a line is held back.
    fn what_is_left(&mut self, id: ProcessId, group: &Group, now: Moment, lines: bool) -> bool {
        let more = Stream::ALL.iter().any(|stream| {
            let cursor = self.processes.get(&id).and_then(|process| process.cursors.get(*stream).as_ref());
            let waits = group.looks.get(*stream).is_some() && cursor.is_some_and(|cursor| !cursor.is_drained());
            waits && self.bench.portions.get(*stream).cut_off
        });
        self.hold(id, group, now, lines);
        more
    }

    /// Lets what a group has left wait: for the end of a line, or (`lines`) for what arrived before it.
    fn hold(&mut self, id: ProcessId, group: &Group, now: Moment, lines: bool) {
        let Some(process) = self.processes.get_mut(&id) else {
            return;
        };
        let mut oldest: Option<Instant> = None;
        for stream in Stream::ALL {
            let (Some(_), Some(cursor)) = (group.looks.get(stream), process.cursors.get_mut(stream)) else {
                continue;
            };
            if !cursor.is_drained() && (lines || !self.bench.portions.get(stream).cut_off) {
                let since = cursor.hold(now.steady, lines);
                oldest = Some(oldest.map_or(since, |oldest| oldest.min(since)));
            }
        }
        if let Some(since) = oldest
            && !std::mem::replace(&mut process.holding, true)
        {
            self.held.insert((since, id));
        }
    }
}

/// The number of the first thing that has arrived and was not announced yet, of either stream.
fn ahead(process: &Process) -> std::io::Result<Option<u64>> {
    let mut first = None;
    for stream in Stream::ALL {
        if let (Some(cursor), Some(tap)) = (process.cursors.get(stream), &process.tap) {
            first = [first, cursor.ahead(tap)?].into_iter().flatten().min();
        }
    }
    Ok(first)
}

/// Whether an unfinished line is written now.
fn must_go(process: &Process, stream: Stream, flushing: bool, now: Moment) -> bool {
    let held = process.cursors.get(stream).as_ref().and_then(|cursor| cursor.held);
    flushing || process.has_ended(stream) || held.is_some_and(|held| held.since + HOLD <= now.steady)
}
