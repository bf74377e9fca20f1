//! From output to the bytes of a file: pure functions of records, bytes and the place in the line.
//!
//! However a stream is cut into chunks, the same bytes come out. A line of a file belongs to one source (a stream of a
//! process): when another one is about to write and the last line is not finished, it is ended first, so that lines of
//! several processes in one file are never mixed up, with or without a time prefix. One source alone in raw look is
//! written as it is, byte for byte.

use super::cursor::BATCH;
use super::time_format::{PrefixCache, TimeFormat};
use super::wrapping::Wrapping;
use ringmaster_protocol::message::ProcessId;
use ringmaster_protocol::ring::{Record, Stream};

/// How output looks in its target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Look {
    /// As it is.
    Raw,
    /// `<time> [<pid>] | ` before each line (spec h); the time is when the line's first byte reached the core.
    Prefixed(TimeFormat),
    /// For a terminal: what could move its cursor or change its state is shown as `^X`. When several watchers write there, each
    /// line begins with this.
    Terminal {
        /// Name and colour, ready to be written; empty: one watcher writes alone.
        name: String,
    },
    /// A line of its own for each line and for each piece of an unfinished one.
    Wrapped(Wrapping),
}

/// Who writes, for looks that show it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Writer<'a> {
    pub(super) process: ProcessId,
    pub(super) watcher: &'a str,
    pub(super) wid: u64,
    pub(super) pid: i32,
}

/// Who writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) process: ProcessId,
    pub(super) stream: Stream,
}

/// Where in its line a target's last byte is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tail {
    /// Empty, or after a newline.
    LineStart,
    /// Within a line of that source.
    Within(Source),
    /// Within a line, found so when the file was opened; whose it is shows when somebody goes on in the middle of a line.
    WithinUnknown,
}

impl Tail {
    /// Whether the line has to be ended before `source` writes; `mid_line`: it goes on within a line of its own.
    pub(super) fn must_end(self, source: Source, mid_line: bool) -> bool {
        match self {
            Self::LineStart => false,
            Self::Within(owner) => owner != source || !mid_line,
            Self::WithinUnknown => !mid_line,
        }
    }

    /// After `source` has written bytes that end with `last`.
    pub(super) fn after(source: Source, last: u8) -> Self {
        if last == b'\n' { Self::LineStart } else { Self::Within(source) }
    }
}

/// Bytes that arrived together, and when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chunk<'a> {
    pub(super) record: Record,
    pub(super) bytes: &'a [u8],
}

/// The state between two chunks of one source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// The target is at the start of a line.
    pub(super) line_start: bool,
    /// The source's byte before this chunk.
    pub(super) previous: u8,
}

impl Look {
    /// Whether the bytes stay as they are.
    pub(super) fn is_raw(&self) -> bool {
        *self == Self::Raw
    }

    /// Whether the records of the bytes are needed.
    pub(super) fn needs_records(&self) -> bool {
        match self {
            Self::Prefixed(_) | Self::Wrapped(_) => true,
            Self::Raw | Self::Terminal { .. } => false,
        }
    }

    /// Bytes that are looked at for one batch, and so the longest line that stays whole.
    pub(super) fn most(&self) -> u64 {
        // What is not taken is read again for the next batch, so it is not to be much more than what is.
        if *self == Self::Wrapped(Wrapping::Calls) { BATCH / 4 } else { BATCH }
    }

    /// Whether every piece of output becomes whole lines.
    pub(super) fn wrapping(&self) -> Option<&Wrapping> {
        match self {
            Self::Wrapped(wrapping) => Some(wrapping),
            Self::Raw | Self::Prefixed(_) | Self::Terminal { .. } => None,
        }
    }

    /// Appends what `chunk` looks like to `out` and moves `place` on. Of wrapped looks, [`Wrapping::render`] is the one to call.
    pub(super) fn render(
        &self,
        chunk: Chunk<'_>,
        pid: i32,
        place: &mut Place,
        cache: &mut PrefixCache,
        out: &mut Vec<u8>,
    ) {
        let Some(&last) = chunk.bytes.last() else {
            return;
        };
        match self {
            Self::Raw | Self::Wrapped(_) => out.extend_from_slice(chunk.bytes),
            Self::Prefixed(format) => {
                for line in chunk.bytes.split_inclusive(|byte| *byte == b'\n') {
                    if place.line_start {
                        out.extend_from_slice(cache.prefix(format, chunk.record.realtime_ns, pid));
                    }
                    out.extend_from_slice(line);
                    place.line_start = line.ends_with(b"\n");
                }
            }
            Self::Terminal { name } => {
                for line in chunk.bytes.split_inclusive(|byte| *byte == b'\n') {
                    if place.line_start {
                        out.extend_from_slice(name.as_bytes());
                    }
                    make_harmless(line, place.previous, out);
                    (place.line_start, place.previous) = (line.ends_with(b"\n"), last_of(line, place.previous));
                }
            }
        }
        place.line_start = last == b'\n';
        place.previous = last;
    }
}

fn last_of(bytes: &[u8], before: u8) -> u8 {
    bytes.last().copied().unwrap_or(before)
}

/// C0 controls but tab and newline, and DEL, become `^X`; the second byte of a C1 control (U+0080 to U+009F in UTF-8, among them
/// the one-character CSI) becomes `?`, which leaves an invalid sequence that terminals show as a replacement character.
pub(super) fn make_harmless(bytes: &[u8], mut previous: u8, out: &mut Vec<u8>) {
    for &byte in bytes {
        match byte {
            b'\t' | b'\n' => out.push(byte),
            0..=0x1f | 0x7f => out.extend([b'^', byte ^ 0x40]),
            0x80..=0x9f if previous == 0xc2 => out.push(b'?'),
            _ => out.push(byte),
        }
        previous = byte;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::tz::TimeZone;
    use proptest::prelude::*;

    fn look(name: usize) -> Look {
        match name {
            0 => Look::Raw,
            1 => Look::Prefixed(TimeFormat::new("%S").unwrap()),
            _ => Look::Terminal { name: "a | ".to_owned() },
        }
    }

    fn rendered(look: &Look, chunks: &[Chunk<'_>]) -> Vec<u8> {
        let mut cache = PrefixCache::new(TimeZone::UTC);
        let mut place = Place { line_start: true, previous: b'\n' };
        let mut out = Vec::new();
        for chunk in chunks {
            look.render(*chunk, 42, &mut place, &mut cache, &mut out);
        }
        out
    }

    fn chunk(second: u64, bytes: &[u8]) -> Chunk<'_> {
        let record = Record { realtime_ns: second * 1_000_000_000, ..Record::default() };
        Chunk { record, bytes }
    }

    #[test]
    fn a_line_in_pieces_has_one_prefix_with_the_time_of_its_first_byte() {
        let chunks = [chunk(1, b"a"), chunk(2, b"b\nc"), chunk(3, b"\n\n"), chunk(4, b"no end")];
        let text = String::from_utf8(rendered(&look(1), &chunks)).unwrap();
        assert_eq!(text, "01 [42] | ab\n02 [42] | c\n03 [42] | \n04 [42] | no end");
    }

    #[test]
    fn a_terminal_sees_no_control_characters() {
        let hostile = b"\x1b[2Jx\ty\r\n\x07\x7f\xc2\x9b31m\xc3\xa9\0";
        let shown = rendered(&look(2), &[chunk(1, hostile)]);
        assert_eq!(shown, b"a | ^[[2Jx\ty^M\na | ^G^?\xc2?31m\xc3\xa9^@");
    }

    #[test]
    fn a_line_belongs_to_one_source() {
        let [out, err] = Stream::ALL.map(|stream| Source { process: ProcessId(1), stream });
        assert!(!Tail::LineStart.must_end(out, true));
        assert!(!Tail::Within(out).must_end(out, true));
        assert!(Tail::Within(out).must_end(err, true));
        assert!(Tail::Within(out).must_end(out, false));
        assert!(Tail::WithinUnknown.must_end(out, false));
        assert!(!Tail::WithinUnknown.must_end(out, true));
    }

    proptest! {
        #[test]
        fn any_chunking_gives_the_same_bytes(
            bytes in prop::collection::vec(prop_oneof![Just(b'\n'), Just(0xc2), Just(0x9b), any::<u8>()], 0..200),
            cuts in prop::collection::vec(0usize..200, 0..12),
            name in 0usize..3,
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.push(bytes.len());
            cuts.sort_unstable();
            let mut chunks = Vec::new();
            let mut from = 0;
            for cut in cuts {
                chunks.push(chunk(5, &bytes[from..cut]));
                from = cut;
            }
            let look = look(name);
            prop_assert_eq!(rendered(&look, &chunks), rendered(&look, &[chunk(5, &bytes)]));
        }
    }
}
