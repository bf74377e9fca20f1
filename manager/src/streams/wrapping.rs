//! Looks in which each line of output becomes a line of another kind: a JSON object, a line in colour. Pure.
//!
//! A piece of an unfinished line becomes a line of its own, too: there is nothing that could be written later to end it.

use super::journald_stream::JournaldLook;
use super::python::{LONGEST_CALL, call};
use super::render::{Writer, make_harmless};
use super::syslog_stream::SyslogLook;
use super::time_format::{PrefixCache, TimeFormat};
use ringmaster_protocol::ring::{Record, Stream};
use serde::Serialize;

/// What is put around a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wrapping {
    /// `ESC[0;3<n>;40m<time> [<pid>] | <line>ESC[0m` (spec h); empty lines are left out, as in Circus.
    Fancy {
        /// 1 to 7 (ECMA-48, select graphic rendition 31 to 37); `None`: one made of the watcher's name.
        colour: Option<u8>,
        format: TimeFormat,
        /// What the line itself could do to a terminal is shown as `^X`.
        harmless: bool,
    },
    /// One JSON object.
    Json(TimeFormat),
    /// Messages of syslog, each a [`frame`].
    Syslog(SyslogLook),
    /// Entries of the journal of systemd, each a [`frame`].
    Journald(JournaldLook),
    /// Calls of an object in Python.
    Calls,
}

/// Appends one message for a datagram socket: four bytes of its length, little-endian, then what `fill` appends.
pub(super) fn frame(out: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>)) {
    let begin = out.len();
    out.extend([0; 4]);
    fill(out);
    let length = u32::try_from(out.len().saturating_sub(begin + 4)).unwrap_or(0);
    if let Some(place) = out.get_mut(begin..begin + 4) {
        place.copy_from_slice(&length.to_le_bytes());
    }
}

/// A line as JSON; the order of the fields is that of the text.
#[derive(Serialize)]
struct JsonLine<'a> {
    time: &'a str,
    watcher: &'a str,
    wid: u64,
    pid: i32,
    stream: &'a str,
    data: &'a str,
    /// The line goes on in the next object of this stream.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    partial: bool,
}

impl Wrapping {
    /// For a terminal; of a watcher.
    pub(super) fn settle(&mut self, terminal: bool, watcher: &str) {
        match self {
            Self::Fancy { colour, harmless, .. } => {
                *harmless = terminal;
                colour.get_or_insert_with(|| colour_of(watcher));
            }
            Self::Json(_) | Self::Syslog(_) | Self::Journald(_) | Self::Calls => {}
        }
    }

    /// Lines that arrived together are rendered together up to so many bytes, and a batch is no longer than that, or than one line.
    pub(super) fn longest_run(&self) -> usize {
        match self {
            Self::Calls => LONGEST_CALL,
            Self::Fancy { .. } | Self::Json(_) | Self::Syslog(_) | Self::Journald(_) => 0,
        }
    }

    /// Appends what `line` looks like to `out`. It ends with a newline unless it is a piece of an unfinished line; `record` is
    /// that of its first byte. With [`Self::longest_run`] it may be several lines.
    pub(super) fn render(
        &self,
        (line, record): (&[u8], Record),
        (writer, stream): (Writer<'_>, Stream),
        cache: &mut PrefixCache,
        out: &mut Vec<u8>,
    ) {
        let (text, partial) = match line.strip_suffix(b"\n") {
            Some(text) => (text, false),
            None => (line, true),
        };
        match self {
            Self::Fancy { colour, format, harmless } => {
                if text.is_empty() {
                    return;
                }
                out.extend([0x1b, b'[', b'0', b';', b'3', b'0' + colour.unwrap_or(7).min(7)]);
                out.extend_from_slice(b";40m");
                out.extend_from_slice(cache.prefix(format, record.realtime_ns, writer.pid));
                if *harmless {
                    make_harmless(text, b'\n', out);
                } else {
                    out.extend_from_slice(text);
                }
                out.extend_from_slice(b"\x1b[0m\n");
            }
            Self::Json(format) => {
                let object = JsonLine {
                    time: cache.time(format, record.realtime_ns, writer.pid),
                    watcher: writer.watcher,
                    wid: writer.wid,
                    pid: writer.pid,
                    stream: stream.name(),
                    data: &String::from_utf8_lossy(text),
                    partial,
                };
                let begin = out.len();
                if serde_json::to_writer(&mut *out, &object).is_err() {
                    // Text and numbers always have a JSON form.
                    out.truncate(begin);
                    return;
                }
                out.push(b'\n');
            }
            Self::Syslog(look) => look.render(text, record, writer, cache, out),
            Self::Journald(look) => look.render(text, record, (writer, stream), out),
            Self::Calls => call(line, record, writer.pid, stream, out),
        }
    }
}

/// The same for the same name, so that a watcher keeps its colour.
pub(super) fn colour_of(watcher: &str) -> u8 {
    let sum = watcher.bytes().fold(0_u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte));
    1 + sum % 7
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::tz::TimeZone;
    use ringmaster_protocol::message::ProcessId;

    fn rendered(wrapping: &Wrapping, line: &[u8]) -> String {
        let writer = Writer { process: ProcessId(1), watcher: "web", wid: 3, pid: 42 };
        let record = Record { realtime_ns: 1_720_978_319_000_456_789, ..Record::default() };
        let zone = TimeZone::posix("<+0530>-05:30").unwrap();
        let mut out = Vec::new();
        let mut cache = PrefixCache::new(zone);
        wrapping.render((line, record), (writer, Stream::Stderr), &mut cache, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn fancy(colour: Option<u8>) -> Wrapping {
        Wrapping::Fancy { colour, format: TimeFormat::new("%H").unwrap(), harmless: false }
    }

    /// As Circus 0.19 writes it.
    #[test]
    fn fancy_lines() {
        let mut green = fancy(Some(2));
        assert_eq!(rendered(&green, b"b\r\n"), "\x1b[0;32;40m23 [42] | b\r\x1b[0m\n");
        assert_eq!(rendered(&green, b"c"), "\x1b[0;32;40m23 [42] | c\x1b[0m\n");
        assert_eq!(rendered(&green, b"\n"), "");
        green.settle(true, "web");
        assert_eq!(rendered(&green, b"\x1b[2Jx\n"), "\x1b[0;32;40m23 [42] | ^[[2Jx\x1b[0m\n");
    }

    #[test]
    fn a_watcher_without_colour_has_one_all_the_same() {
        for name in ["", "web", "a very long name \u{e9}"] {
            let mut first = fancy(None);
            first.settle(false, name);
            let Wrapping::Fancy { colour, .. } = &first else { unreachable!() };
            assert!((1..=7).contains(&colour.unwrap()), "{name:?}: {colour:?}");
            let mut second = fancy(None);
            second.settle(false, name);
            assert_eq!(first, second);
        }
    }

    #[test]
    fn json_lines() {
        let json = Wrapping::Json(TimeFormat::rfc_3339());
        assert_eq!(
            rendered(&json, b"say \"hi\"\t\0\xff\n"),
            "{\"time\":\"2024-07-14T23:01:59.000456+05:30\",\"watcher\":\"web\",\"wid\":3,\"pid\":42,\"stream\":\"stderr\",\
             \"data\":\"say \\\"hi\\\"\\t\\u0000\u{fffd}\"}\n"
        );
        assert!(rendered(&json, b"prompt> ").ends_with("\"data\":\"prompt> \",\"partial\":true}\n"));
        assert!(rendered(&json, b"\n").ends_with("\"data\":\"\"}\n"));
    }
}
