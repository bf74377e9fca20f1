//! `JournaldStream`: each line is an entry of the journal of systemd, in its native protocol
//! (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>). Circus has no such class.
//!
//! Fields: `MESSAGE`, `PRIORITY`, `SYSLOG_IDENTIFIER` (the tag, or the watcher's name), `CIRCUS_WATCHER`, `CIRCUS_WID`,
//! `CIRCUS_PID`, `CIRCUS_STREAM`, and `CIRCUS_TIME`: when the line reached the core, in microseconds since 1970; the journal's own
//! time is that of the sending. After a kill of circusd the last batch may be sent again.

use super::render::{Look, Writer};
use super::settings::{SettingRow, Settings, StreamError};
use super::sink::Address;
use super::syslog_stream::{LEVEL, TAG, level, tag};
use super::wrapping::{Wrapping, frame};
use super::{StreamClassRow, StreamSetup, Target};
use ringmaster_protocol::ring::{Record, Stream};
use std::path::PathBuf;

/// Bytes of a line in one entry: journald's own limit for lines of services (`LineMax=`, journald.conf(5)).
const LONGEST: usize = 48 << 10;

const ADDRESS: SettingRow =
    SettingRow { key: "address", expected: "the path of a socket", default: "/run/systemd/journal/socket" };

pub(super) const ROW: StreamClassRow = StreamClassRow {
    name: "JournaldStream",
    summary: "Sends each line to the journal of systemd, with watcher, pid and stream as fields.",
    settings: &[ADDRESS, LEVEL, TAG],
    note: None,
    build,
};

fn build(settings: &Settings<'_>) -> Result<StreamSetup, StreamError> {
    let path = settings.text(&ADDRESS).unwrap_or("/run/systemd/journal/socket");
    if !path.starts_with('/') {
        return Err(settings.bad(&ADDRESS, ADDRESS.expected));
    }
    let look = JournaldLook { level: level(settings)?, tag: tag(settings)? };
    let target = Target::Socket(Address::Local(PathBuf::from(path)));
    Ok(StreamSetup { target, look: Look::Wrapped(Wrapping::Journald(look)) })
}

/// How entries look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct JournaldLook {
    level: u8,
    tag: Option<String>,
}

impl JournaldLook {
    /// Appends the entries of a line without its newline.
    pub(super) fn render(
        &self,
        text: &[u8],
        record: Record,
        (writer, stream): (Writer<'_>, Stream),
        out: &mut Vec<u8>,
    ) {
        let watcher = writer.watcher.replace('\n', " ");
        let fields = format!(
            "PRIORITY={}\nSYSLOG_IDENTIFIER={}\nCIRCUS_WATCHER={watcher}\nCIRCUS_WID={}\nCIRCUS_PID={}\nCIRCUS_STREAM={}\nCIRCUS_TIME={}\n",
            self.level,
            self.tag.as_deref().unwrap_or(&watcher),
            writer.wid,
            writer.pid,
            stream.name(),
            record.realtime_ns / 1000,
        );
        let pieces = text.chunks(LONGEST).chain(text.is_empty().then_some(text));
        for piece in pieces {
            frame(out, |out| {
                out.extend_from_slice(fields.as_bytes());
                // With a length, so that any byte may be in it.
                out.extend_from_slice(b"MESSAGE\n");
                out.extend_from_slice(&u64::try_from(piece.len()).unwrap_or(0).to_le_bytes());
                out.extend_from_slice(piece);
                out.push(b'\n');
            });
        }
    }
}
