//! `syslog://…` as a place for log lines (spec b.3): one datagram a line, `<PRIORITY>line` as in RFC 3164.
//!
//! Sending never waits. A line that the syslog daemon does not take is lost: there is nobody left to tell.

use std::io;
use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use tracing::Level;

/// The port of syslog (RFC 5426).
const PORT: u16 = 514;

/// Bytes of a datagram; what syslog daemons accept without being told to take more.
const MAX_DATAGRAM: usize = 8 * 1024;

/// Facilities by name (RFC 3164, in the names of Python's `logging.handlers`).
const FACILITIES: &[(&str, u8)] = &[
    ("kern", 0),
    ("user", 1),
    ("mail", 2),
    ("daemon", 3),
    ("auth", 4),
    ("syslog", 5),
    ("lpr", 6),
    ("news", 7),
    ("uucp", 8),
    ("cron", 9),
    ("authpriv", 10),
    ("ftp", 11),
    ("local0", 16),
    ("local1", 17),
    ("local2", 18),
    ("local3", 19),
    ("local4", 20),
    ("local5", 21),
    ("local6", 22),
    ("local7", 23),
];

/// The facility when none is named.
const DEFAULT_FACILITY: &str = "user";

/// Where a syslog daemon listens.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Udp { host: String, port: u16 },
    Socket(PathBuf),
}

/// A syslog daemon, and under which facility it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyslogTarget {
    place: Place,
    facility: u8,
}

/// Why a text names no syslog daemon.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SyslogError {
    /// It has another form.
    #[error("log output {0}: expected syslog://HOST[:PORT][?FACILITY] or syslog:///PATH[?FACILITY]")]
    Form(String),
    /// No such facility.
    #[error("log output {text}: there is no facility {name}; expected one of {known}", known = facility_names())]
    Facility {
        /// As written.
        text: String,
        /// What stands behind the question mark.
        name: String,
    },
}

fn facility_names() -> String {
    FACILITIES.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

/// The number of a facility.
pub fn facility(name: &str) -> Option<u8> {
    FACILITIES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, number)| *number)
}

impl SyslogTarget {
    /// Reads `syslog://HOST[:PORT][?FACILITY]` or `syslog:///PATH[?FACILITY]`; `None` when the text is no such URL at all.
    pub fn parse(text: &str) -> Option<Result<Self, SyslogError>> {
        let rest = text.strip_prefix("syslog:")?;
        let place = |place: &str| match place.strip_prefix('/') {
            Some(path) if !path.is_empty() => Some(Place::Socket(PathBuf::from(place))),
            Some(_) => None,
            None => udp(place),
        };
        let read = || {
            let form = || SyslogError::Form(text.to_owned());
            let rest = rest.strip_prefix("//").ok_or_else(form)?;
            let (address, name) = rest.split_once('?').unwrap_or((rest, DEFAULT_FACILITY));
            let missing = || SyslogError::Facility { text: text.to_owned(), name: name.to_owned() };
            Ok(Self { place: place(address).ok_or_else(form)?, facility: facility(name).ok_or_else(missing)? })
        };
        Some(read())
    }

    /// The first digits of a datagram.
    pub(super) fn priority(&self, level: Level) -> u8 {
        // Severities of RFC 3164 as Python maps its levels.
        let severity = match level {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            Level::DEBUG | Level::TRACE => 7,
        };
        self.facility.saturating_mul(8).saturating_add(severity)
    }
}

fn udp(address: &str) -> Option<Place> {
    let (host, port) = match address.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().ok()?),
        None => (address, PORT),
    };
    let host = if host.is_empty() { "localhost" } else { host };
    Some(Place::Udp { host: host.to_owned(), port })
}

/// A connection to a syslog daemon.
#[derive(Debug)]
pub(super) struct SyslogSender {
    target: SyslogTarget,
    socket: Option<Socket>,
}

#[derive(Debug)]
enum Socket {
    Udp(UdpSocket),
    Unix(UnixDatagram),
}

impl SyslogSender {
    /// Resolves the host and connects.
    pub fn open(target: SyslogTarget) -> io::Result<Self> {
        let socket = connect(&target.place)?;
        Ok(Self { target, socket: Some(socket) })
    }

    /// Sends one line. A daemon that was started anew is connected to again.
    pub fn send(&mut self, line: &[u8]) -> io::Result<()> {
        let line = line.trim_ascii_end();
        let line = line.get(..MAX_DATAGRAM).unwrap_or(line);
        if let Some(socket) = &self.socket
            && socket.send(line).is_ok()
        {
            return Ok(());
        }
        self.socket = connect(&self.target.place).ok();
        self.socket.as_ref().map_or(Ok(()), |socket| socket.send(line))
    }
}

impl Socket {
    fn send(&self, line: &[u8]) -> io::Result<()> {
        let sent = match self {
            Self::Udp(socket) => socket.send(line),
            Self::Unix(socket) => socket.send(line),
        };
        sent.map(drop)
    }
}

fn connect(place: &Place) -> io::Result<Socket> {
    match place {
        Place::Udp { host, port } => {
            let to = std::net::ToSocketAddrs::to_socket_addrs(&(host.as_str(), *port))?.next();
            let to = to.ok_or_else(|| io::Error::other("the host has no address"))?;
            let from = if to.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" };
            let socket = UdpSocket::bind(from)?;
            socket.connect(to)?;
            socket.set_nonblocking(true)?;
            Ok(Socket::Udp(socket))
        }
        Place::Socket(path) => {
            let socket = UnixDatagram::unbound()?;
            socket.connect(path)?;
            socket.set_nonblocking(true)?;
            Ok(Socket::Unix(socket))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<SyslogTarget, String> {
        SyslogTarget::parse(text).unwrap().map_err(|error| error.to_string())
    }

    #[test]
    fn every_form_of_the_url() {
        let udp = |host: &str, port| Place::Udp { host: host.to_owned(), port };
        for (text, place, facility) in [
            ("syslog://log.example", udp("log.example", 514), 1),
            ("syslog://log.example:1514?LOCAL3", udp("log.example", 1514), 19),
            ("syslog://?daemon", udp("localhost", 514), 3),
            ("syslog:///dev/log?mail", Place::Socket("/dev/log".into()), 2),
        ] {
            assert_eq!(parsed(text), Ok(SyslogTarget { place, facility }), "{text}");
        }
        assert!(SyslogTarget::parse("/var/log/syslog").is_none());
        for wrong in ["syslog:local", "syslog:///", "syslog://h:port", "syslog://h?nosuch"] {
            assert!(parsed(wrong).unwrap_err().starts_with(&format!("log output {wrong}: ")), "{wrong}");
        }
    }

    #[test]
    fn a_daemon_that_comes_back_is_told_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let daemon = UnixDatagram::bind(&path).unwrap();
        let target = parsed(&format!("syslog://{}", path.display())).unwrap();
        assert_eq!(target.priority(Level::WARN), 12);
        let mut sender = SyslogSender::open(target).unwrap();
        let mut buffer = [0; 64];
        sender.send(b"<12>one\n").unwrap();
        let length = daemon.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"<12>one");
        drop(daemon);
        sender.send(b"lost").unwrap();
        std::fs::remove_file(&path).unwrap();
        let daemon = UnixDatagram::bind(&path).unwrap();
        sender.send(b"two").unwrap();
        let length = daemon.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"two");
    }
}
