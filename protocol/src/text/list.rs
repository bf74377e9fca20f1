//! The lines that show processes and sockets; programs take them apart at `key=value` (spec of Papa, sections 4 and 5).

use super::TextError;
use super::names::Named;
use super::process::Note;
use crate::limits::MAX_TEXT_REPLY;
use crate::message::{Listen, ProcessInfo, SocketAddress, SocketInfo};

/// The tag under which a socket's request keeps the host as it was given. Odd: a core that does not know it may ignore it.
pub const HOST_TAG: u16 = 0x5041;

impl Named for ProcessInfo {
    fn name(&self) -> &str {
        &self.name
    }

    fn number(&self) -> Option<u32> {
        u32::try_from(self.pid).ok()
    }
}

impl Named for (Listen, SocketInfo) {
    fn name(&self) -> &str {
        &self.1.name
    }

    fn number(&self) -> Option<u32> {
        (!self.1.reuse_port).then_some(self.1.number)
    }
}

/// Sorted lines, as one text, unless they are too many to be sent.
pub fn sorted(lines: impl Iterator<Item = String>) -> Result<String, TextError> {
    let mut kept = Vec::new();
    let mut bytes = 0;
    for line in lines {
        bytes += line.len() + 1;
        if bytes > MAX_TEXT_REPLY {
            return Err(TextError::TooMuch(MAX_TEXT_REPLY));
        }
        kept.push(line);
    }
    kept.sort();
    Ok(kept.join("\n"))
}

/// One process.
pub fn process(info: &ProcessInfo) -> String {
    let running = if info.exit.is_none() { "True" } else { "False" };
    let started = stamp(info.started_ns / 1000);
    let mut line = format!("{} pid={} running={running} started={started}", info.name, info.pid);
    // Of a manager's process there is nothing more to show.
    let note = Note::read(&info.note).unwrap_or_default();
    for (key, number) in [("uid", note.uid), ("gid", note.gid)] {
        if number != 0 {
            line.push_str(&format!(" {key}={number}"));
        }
    }
    if note.shell {
        line.push_str(" shell=True");
    }
    if !note.arguments.is_empty() {
        line.push_str(" args=");
        line.push_str(&note.arguments);
    }
    line
}

/// One socket.
pub fn socket(listen: &Listen, info: &SocketInfo) -> String {
    let family = match &info.address {
        SocketAddress::Unix(_) => "unix",
        SocketAddress::Inet(address) if address.is_ipv4() => "inet",
        SocketAddress::Inet(_) => "inet6",
    };
    let kind = match info.kind {
        crate::message::SocketType::Stream => "stream",
        crate::message::SocketType::Datagram => "dgram",
        crate::message::SocketType::SeqPacket => "seqpacket",
    };
    let mut line = format!("{} family={family} type={kind} backlog={}", info.name, info.backlog);
    match &info.address {
        SocketAddress::Unix(path) => {
            line.push_str(&format!(" path={}", String::from_utf8_lossy(path)));
            if let Some(umask) = listen.umask {
                line.push_str(&format!(" umask={umask}"));
            }
        }
        SocketAddress::Inet(address) => {
            line.push_str(&format!(" host={} port={}", host(listen, info), address.port()));
        }
    }
    if let Some(interface) = &listen.interface {
        line.push_str(&format!(" interface={interface}"));
    }
    if info.reuse_port {
        line.push_str(" reuseport=1");
    } else {
        line.push_str(&format!(" fileno={}", info.number));
    }
    line
}

/// The host as given; for a manager's socket its address.
pub fn host(listen: &Listen, info: &SocketInfo) -> String {
    let given = listen.ext.iter().find(|(tag, _)| *tag == HOST_TAG);
    match (given, &info.address) {
        (Some((_, host)), _) => String::from_utf8_lossy(host).into_owned(),
        (None, SocketAddress::Inet(address)) => address.ip().to_string(),
        (None, SocketAddress::Unix(_)) => String::new(),
    }
}

/// A time in seconds as Python writes a float: the shortest decimals that mean the same microsecond.
pub fn stamp(micros: u64) -> String {
    let text = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
    let short = text.trim_end_matches('0');
    if short.ends_with('.') { format!("{short}0") } else { short.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_what_a_float_would_print() {
        for (micros, text) in [
            (1_795_188_618_867_517, "1795188618.867517"),
            (1_795_188_618_500_000, "1795188618.5"),
            (1_795_188_618_000_000, "1795188618.0"),
        ] {
            assert_eq!(stamp(micros), text);
            let float: f64 = text.parse().unwrap();
            assert_eq!(format!("{float:?}"), text);
        }
    }
}
