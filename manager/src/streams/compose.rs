//! One batch for one target: the planned pieces, rendered, and how far the streams come by it. Pure.

use super::cursor::{Portion, Step};
use super::loss::Loss;
use super::per_stream::PerStream;
use super::plan::Piece;
use super::render::{Chunk, Look, Place, Source, Tail, Writer};
use super::time_format::PrefixCache;
use super::wrapping::Wrapping;
use ringmaster_protocol::message::ProcessId;
use ringmaster_protocol::ring::{Record, Stream};

/// One stream that takes part.
#[derive(Debug, Clone, Copy)]
pub(super) struct Input<'a> {
    pub(super) look: &'a Look,
    pub(super) portion: &'a Portion,
    /// The byte before the portion, when known.
    pub(super) previous: Option<u8>,
}

/// What holds when a batch is written.
#[derive(Debug, Clone)]
pub(super) struct Commit {
    pub(super) process: ProcessId,
    pub(super) steps: PerStream<Option<Step>>,
    /// Where the target's last line is then.
    pub(super) tail: Tail,
}

/// Renders pieces into `out`. A single raw piece that needs nothing before it is not copied: `out` stays empty and the piece
/// is given back.
pub(super) fn compose(
    writer: Writer<'_>,
    tail: Tail,
    pieces: &[Piece],
    inputs: &PerStream<Option<Input<'_>>>,
    cache: &mut PrefixCache,
    out: &mut Vec<u8>,
) -> (Commit, Option<Piece>) {
    let process = writer.process;
    let steps = PerStream::default();
    let mut commit = Commit { process, steps, tail };
    let mut as_it_is = None;
    for piece in pieces {
        let Some(input) = inputs.get(piece.stream) else {
            continue;
        };
        let (stream, portion) = (piece.stream, input.portion);
        let Some(bytes) = portion.bytes().get(piece.start..piece.end) else {
            continue;
        };
        let wrapping = input.look.wrapping();
        let longest = wrapping.map_or(0, Wrapping::longest_run);
        let bytes = if longest > 0 { first_runs(portion, bytes, piece.start, longest) } else { bytes };
        let Some(&last) = bytes.last() else {
            continue;
        };
        let source = Source { process, stream };
        let before = *commit.steps.get(stream);
        let previous = before.map_or(input.previous, |step| Some(step.previous));
        let mid_line = previous.map_or(commit.tail != Tail::LineStart, |byte| byte != b'\n');
        let must_end = match wrapping {
            Some(_) => commit.tail != Tail::LineStart,
            None => commit.tail.must_end(source, mid_line),
        };
        if must_end {
            out.push(b'\n');
            commit.tail = Tail::LineStart;
        }
        if let Some(wrapping) = wrapping {
            for run in runs(lines(portion, bytes, piece.start), bytes, longest) {
                wrapping.render(run, (writer, stream), cache, out);
            }
        } else if pieces.len() == 1 && out.is_empty() && input.look.is_raw() {
            as_it_is = Some(*piece);
        } else {
            let mut place = Place { line_start: commit.tail == Tail::LineStart, previous: previous.unwrap_or(b'\n') };
            for chunk in chunks(portion, bytes, piece.start) {
                input.look.render(chunk, writer.pid, &mut place, cache, out);
            }
        }
        commit.tail = match wrapping {
            Some(_) => Tail::LineStart,
            None => Tail::after(source, last),
        };
        let end = piece.start + bytes.len();
        let offset = portion.from + u64::try_from(end).unwrap_or(0);
        let (from, at_first) = (portion.from, input.previous.unwrap_or(b'\n'));
        let record = portion.record_at(offset);
        *commit.steps.get_mut(stream) =
            Some(Step { from, before: at_first, offset, previous: last, record, lost: None });
        if end < piece.end {
            // The rest is another batch.
            break;
        }
    }
    (commit, as_it_is)
}

/// Renders the line that tells of a gap into `out`.
pub(super) fn compose_gap(
    writer: Writer<'_>,
    tail: Tail,
    gap: (Stream, &Look, Step, Loss),
    cache: &mut PrefixCache,
    out: &mut Vec<u8>,
) -> Commit {
    let (stream, look, step, loss) = gap;
    let record = Record { realtime_ns: loss.until_ns, ..Record::default() };
    if tail != Tail::LineStart {
        out.push(b'\n');
    }
    let mut place = Place { line_start: true, previous: b'\n' };
    let line = loss.line(stream, cache.zone());
    let bytes = line.as_bytes();
    match look.wrapping() {
        Some(wrapping) => wrapping.render((bytes, record), (writer, stream), cache, out),
        None => look.render(Chunk { record, bytes }, writer.pid, &mut place, cache, out),
    }
    let mut steps = PerStream::default();
    *steps.get_mut(stream) = Some(Step { lost: Some(loss), ..step });
    Commit { process: writer.process, steps, tail: Tail::LineStart }
}

/// Cuts `bytes`, which begin at position `start` of the portion, after newlines; each with the record of its first byte.
fn lines<'a>(portion: &'a Portion, bytes: &'a [u8], start: usize) -> impl Iterator<Item = (&'a [u8], Record)> {
    let mut offset = portion.from + u64::try_from(start).unwrap_or(0);
    let mut records = portion.records.as_slice();
    bytes.split_inclusive(|byte| *byte == b'\n').map(move |line| {
        while let [_, next, ..] = records
            && next.offset <= offset
        {
            records = records.get(1..).unwrap_or_default();
        }
        offset += u64::try_from(line.len()).unwrap_or(0);
        (line, records.first().copied().unwrap_or_default())
    })
}

/// The runs that `bytes` begins with, `longest` bytes of them, or the first one alone when it is longer.
fn first_runs<'a>(portion: &'a Portion, bytes: &'a [u8], start: usize, longest: usize) -> &'a [u8] {
    let mut length = 0;
    for (run, _) in runs(lines(portion, bytes, start), bytes, longest) {
        if length > 0 && length + run.len() > longest {
            break;
        }
        length += run.len();
    }
    bytes.get(..length).unwrap_or(bytes)
}

/// Joins `lines`, which make up `bytes`, when they have the same record, up to `longest` bytes.
fn runs<'a>(
    lines: impl Iterator<Item = (&'a [u8], Record)>,
    bytes: &'a [u8],
    longest: usize,
) -> impl Iterator<Item = (&'a [u8], Record)> {
    let (mut lines, mut rest) = (lines.peekable(), bytes);
    std::iter::from_fn(move || {
        let (first, record) = lines.next()?;
        let mut length = first.len();
        while let Some((line, _)) = lines.next_if(|(line, of)| *of == record && length + line.len() <= longest) {
            length += line.len();
        }
        let (run, after) = rest.split_at(length.min(rest.len()));
        rest = after;
        Some((run, record))
    })
}

/// Cuts `bytes`, which begin at position `start` of the portion, where records begin.
fn chunks<'a>(portion: &'a Portion, bytes: &'a [u8], start: usize) -> impl Iterator<Item = Chunk<'a>> {
    let begin = portion.from + u64::try_from(start).unwrap_or(0);
    let passed = portion.records.partition_point(|record| record.offset <= begin).saturating_sub(1);
    let mut records = portion.records.get(passed..).unwrap_or_default().iter().peekable();
    let mut rest = bytes;
    let mut offset = begin;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let record = records.next().copied().unwrap_or_default();
        let length = match records.peek() {
            Some(next) => usize::try_from(next.offset.saturating_sub(offset)).unwrap_or(usize::MAX),
            None => usize::MAX,
        };
        let (bytes, after) = rest.split_at(length.min(rest.len()));
        offset += u64::try_from(bytes.len()).unwrap_or(0);
        rest = after;
        Some(Chunk { record, bytes })
    })
}
