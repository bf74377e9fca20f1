//! Which bytes of the portions at hand are written now, and in which order: whole lines, in the order in which they arrived.
//!
//! A line goes where its last piece arrived; an unfinished one waits for its end, unless it must go (`force`) or fills a
//! whole portion. Thus two streams that share a file do not break each other's lines, and what is acknowledged ends at
//! the end of a line whenever it can.

use super::cursor::Portion;
use ringmaster_protocol::ring::Stream;

/// A run of whole lines of one stream: positions in its portion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) stream: Stream,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// One portion to plan with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part<'a> {
    pub(super) stream: Stream,
    pub(super) portion: &'a Portion,
    /// Its unfinished line goes, too.
    pub(super) force: bool,
}

/// Bytes that arrived together.
#[derive(Debug, Clone, Copy)]
struct Run {
    seq: u64,
    part: usize,
    end: usize,
}

/// The pieces to write, in order. `before`: the number of something that has arrived and is not in the portions yet.
pub(super) fn plan(parts: &[Part<'_>], before: Option<u64>) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    let mut starts = vec![0; parts.len()];
    for run in runs(parts, before) {
        let (Some(part), Some(start)) = (parts.get(run.part), starts.get_mut(run.part)) else {
            continue;
        };
        let bytes = part.portion.bytes().get(*start..run.end).unwrap_or_default();
        if let Some(newline) = bytes.iter().rposition(|byte| *byte == b'\n') {
            let end = *start + newline + 1;
            push(&mut pieces, Piece { stream: part.stream, start: *start, end });
            *start = end;
        }
    }
    for (part, start) in parts.iter().zip(starts) {
        let end = part.portion.bytes().len();
        let whole = start == 0 && part.portion.cut_off;
        if start < end && (whole || (part.force && !part.portion.cut_off)) {
            push(&mut pieces, Piece { stream: part.stream, start, end });
        }
    }
    pieces
}

fn push(pieces: &mut Vec<Piece>, piece: Piece) {
    match pieces.last_mut() {
        Some(last) if last.stream == piece.stream && last.end == piece.start => last.end = piece.end,
        _ => pieces.push(piece),
    }
}

/// The runs of all parts by arrival. What arrived after the end of a portion that was cut off has to wait for the rest of it.
fn runs(parts: &[Part<'_>], before: Option<u64>) -> Vec<Run> {
    if let ([part], None) = (parts, before) {
        let end = part.portion.bytes().len();
        return vec![Run { seq: 0, part: 0, end }];
    }
    let mut runs = Vec::new();
    let mut horizon = before.unwrap_or(u64::MAX);
    for (number, part) in parts.iter().enumerate() {
        let portion = part.portion;
        let length = portion.bytes().len();
        let ends = portion
            .records
            .iter()
            .skip(1)
            .map(|record| usize::try_from(record.offset.saturating_sub(portion.from)).unwrap_or(usize::MAX));
        for (record, end) in portion.records.iter().zip(ends.chain([length])) {
            let (seq, end) = (record.seq, end.min(length));
            runs.push(Run { seq, part: number, end });
        }
        if portion.records.is_empty() && length > 0 {
            runs.push(Run { seq: 0, part: number, end: length });
        }
        if portion.cut_off {
            horizon = horizon.min(portion.records.last().map_or(u64::MAX, |record| record.seq));
        }
    }
    runs.retain(|run| run.seq <= horizon);
    runs.sort_by_key(|run| run.seq);
    runs
}
