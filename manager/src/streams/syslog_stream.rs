//! `SyslogStream`: each line is a message to a syslog daemon. Circus has no such class.
//!
//! To a socket of this host (`/dev/log`) as syslog(3) writes it (RFC 3164 without a host name), over UDP as RFC 5424 with the time
//! of arrival. Lines longer than [`LONGEST`] become several messages. The journal of circusd protects files only: after a
//! kill the last batch may be sent again.

use super::render::{Look, Writer};
use super::settings::{SettingRow, Settings, StreamError};
use super::sink::Address;
use super::time_format::{PrefixCache, TimeFormat};
use super::wrapping::{Wrapping, frame};
use super::{StreamClassRow, StreamSetup, Target};
use crate::daemon::facility;
use ringmaster_protocol::ring::Record;

/// Bytes of a line in one message: what rsyslog and journald take by default.
const LONGEST: usize = 8 << 10;

/// In the order of their numbers (RFC 5424, table 2).
pub(super) const LEVELS: &[&str] = &["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];

const ADDRESS: SettingRow =
    SettingRow { key: "address", expected: "the path of a socket, or udp://HOST:PORT", default: "/dev/log" };

const FACILITY: SettingRow = SettingRow {
    key: "facility",
    expected: "a facility of syslog(3), such as daemon, user, mail or local0 to local7",
    default: "daemon",
};

pub(super) const LEVEL: SettingRow =
    SettingRow { key: "level", expected: "emerg, alert, crit, err, warning, notice, info or debug", default: "info" };

pub(super) const TAG: SettingRow = SettingRow {
    key: "tag",
    expected: "a word of at most 48 printable ASCII characters",
    default: "the watcher's name",
};

pub(super) const ROW: StreamClassRow = StreamClassRow {
    name: "SyslogStream",
    summary: "Sends each line to a syslog daemon, on this host or over UDP.",
    settings: &[ADDRESS, FACILITY, LEVEL, TAG],
    note: None,
    build,
};

fn build(settings: &Settings<'_>) -> Result<StreamSetup, StreamError> {
    let text = settings.text(&ADDRESS).unwrap_or("/dev/log");
    let address = Address::parse(text).ok_or_else(|| settings.bad(&ADDRESS, ADDRESS.expected))?;
    let facility = match settings.text(&FACILITY) {
        None => 3,
        Some(wanted) => facility(wanted).ok_or_else(|| settings.bad(&FACILITY, FACILITY.expected))?,
    };
    let header = match address {
        Address::Local(_) => Header::Local(TimeFormat::syslog()),
        Address::Udp(_) => {
            let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
            Header::Network { time: TimeFormat::rfc_3339(), host }
        }
    };
    let priority = facility * 8 + level(settings)?;
    let look = Look::Wrapped(Wrapping::Syslog(SyslogLook { priority, tag: tag(settings)?, header }));
    Ok(StreamSetup { target: Target::Socket(address), look })
}

/// The number of `level`.
pub(super) fn level(settings: &Settings<'_>) -> Result<u8, StreamError> {
    let wanted = settings.text(&LEVEL).unwrap_or("info");
    let found = (0..).zip(LEVELS).find(|(_, name)| **name == wanted);
    found.map(|(number, _)| number).ok_or_else(|| settings.bad(&LEVEL, LEVEL.expected))
}

/// `tag`, when given.
pub(super) fn tag(settings: &Settings<'_>) -> Result<Option<String>, StreamError> {
    let Some(text) = settings.text(&TAG) else {
        return Ok(None);
    };
    let fits = (1..=48).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    if fits { Ok(Some(text.to_owned())) } else { Err(settings.bad(&TAG, TAG.expected)) }
}

/// How messages look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SyslogLook {
    /// Facility times 8 and level.
    priority: u8,
    tag: Option<String>,
    header: Header,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Header {
    /// `<PRI>Mmm dd hh:mm:ss TAG[PID]: ` in local time.
    Local(TimeFormat),
    /// `<PRI>1 TIME HOST TAG PID - - `.
    Network { time: TimeFormat, host: String },
}

impl SyslogLook {
    /// Appends the messages of a line without its newline.
    pub(super) fn render(
        &self,
        text: &[u8],
        record: Record,
        writer: Writer<'_>,
        cache: &mut PrefixCache,
        out: &mut Vec<u8>,
    ) {
        let (priority, pid) = (self.priority, writer.pid);
        let tag = self.tag.as_deref().map_or_else(|| word(writer.watcher), str::to_owned);
        let header = match &self.header {
            Header::Local(format) => {
                format!("<{priority}>{} {tag}[{pid}]: ", cache.time(format, record.realtime_ns, pid))
            }
            Header::Network { time, host } => {
                let time = cache.time(time, record.realtime_ns, pid);
                format!("<{priority}>1 {time} {} {tag} {pid} - - ", word(host))
            }
        };
        // An empty line is a message, too.
        let pieces = text.chunks(LONGEST).chain(text.is_empty().then_some(text));
        for piece in pieces {
            frame(out, |out| {
                out.extend_from_slice(header.as_bytes());
                out.extend_from_slice(piece);
            });
        }
    }
}

/// Printable and without spaces, as the header wants it.
fn word(text: &str) -> String {
    let word: String = text.chars().map(|c| if c.is_ascii_graphic() { c } else { '_' }).take(48).collect();
    if word.is_empty() { "-".to_owned() } else { word }
}
