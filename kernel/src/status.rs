//! `papa status`: asks a core over its socket and shows the answer.

use ringmaster_protocol::frame::{Frame, FrameReader, Kind, PREFACE};
use ringmaster_protocol::message::{Hello, PROTOCOL, Refusal, Reply, Request, Role, Status, StatusReply};
use rustix::fs::{CWD, Mode, OFlags};
use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A core answers within microseconds; longer means that it is stuck, and saying so is this command's work.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// Nobody serves.
    #[error("no core serves {}: {source}", path.display())]
    Absent {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The conversation broke.
    #[error("the core at {} does not answer: {source}", path.display())]
    Broken {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The core said no.
    #[error("the core refused: {0}")]
    Refused(Refusal),
    /// Something that no core says.
    #[error("the core gave an answer that cannot be read")]
    Nonsense,
}

impl StatusError {
    /// Whether there is no core, rather than one in trouble.
    pub fn is_absence(&self) -> bool {
        match self {
            Self::Absent { .. } => true,
            Self::Broken { .. } | Self::Refused(_) | Self::Nonsense => false,
        }
    }
}

/// Asks the core behind `socket`.
pub fn ask(socket: &Path) -> Result<StatusReply, StatusError> {
    let mut stream = connect(socket).map_err(|source| StatusError::Absent { path: socket.to_owned(), source })?;
    let broken = |source| StatusError::Broken { path: socket.to_owned(), source };
    let hello = Hello {
        oldest: PROTOCOL,
        newest: PROTOCOL,
        build: concat!("papa status ", env!("CARGO_PKG_VERSION")).into(),
        role: Role::Tool,
        ext: Vec::new(),
    };
    let bounded = stream.set_read_timeout(Some(PATIENCE));
    bounded.and_then(|()| stream.set_write_timeout(Some(PATIENCE))).map_err(broken)?;
    let mut bytes = PREFACE.to_vec();
    Request::from(hello).frame(1).encode(&mut bytes);
    Request::from(Status::default()).frame(2).encode(&mut bytes);
    stream.write_all(&bytes).map_err(broken)?;
    let mut reader = FrameReader::new();
    loop {
        while let Some(frame) = reader.next_frame().map_err(|error| broken(io::Error::other(error)))? {
            if let Some(reply) = understand(&frame)? {
                return Ok(reply);
            }
        }
        let mut portion = [0; 4096];
        match stream.read(&mut portion).map_err(broken)? {
            0 => return Err(broken(io::ErrorKind::UnexpectedEof.into())),
            count => reader.push(portion.get(..count).unwrap_or_default()),
        }
    }
}

fn understand(frame: &Frame) -> Result<Option<StatusReply>, StatusError> {
    match frame.kind {
        Kind::Refusal => {
            Err(Refusal::decode(frame.message, &frame.body).map_or(StatusError::Nonsense, StatusError::Refused))
        }
        Kind::Reply => match Reply::decode(frame.message, &frame.body) {
            Ok(Reply::StatusReply(reply)) => Ok(Some(reply)),
            Ok(_) => Ok(None),
            Err(_) => Err(StatusError::Nonsense),
        },
        Kind::Notice => Ok(None),
        Kind::Request | Kind::Cast => Err(StatusError::Nonsense),
    }
}

/// Through the directory's descriptor, because the path may be longer than an address.
pub(crate) fn connect(socket: &Path) -> io::Result<UnixStream> {
    let (parent, name) = (socket.parent(), socket.file_name().and_then(|name| name.to_str()));
    let (Some(parent), Some(name)) = (parent, name) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = rustix::fs::openat(CWD, parent, flags, Mode::empty())?;
    let stream = UnixStream::connect(crate::instance::through(folder.as_fd(), name))?;
    Ok(stream)
}

/// The answer for people.
pub fn text(reply: &StatusReply) -> String {
    let mut out = String::new();
    let lease = reply.lease.as_ref().map_or_else(
        || "nobody".to_owned(),
        |lease| format!("{} (pid {}, epoch {})", lease.holder, lease.pid, lease.epoch),
    );
    let rows = [
        ("version", reply.version.clone()),
        ("keeper pid", reply.keeper_pid.to_string()),
        ("kernel pid", reply.kernel_pid.to_string()),
        ("uptime", format!("{}.{:03} s", reply.uptime_ms / 1000, reply.uptime_ms % 1000)),
        ("managed by", lease),
        ("processes", reply.processes.to_string()),
        ("sockets", reply.sockets.to_string()),
        ("values", reply.values.to_string()),
        ("clients", reply.clients.to_string()),
        ("buffered", format!("{} bytes", reply.buffered_bytes)),
        ("lost", format!("{} bytes", reply.lost_bytes)),
    ];
    // Writing to a String cannot fail.
    for (name, value) in rows {
        let _ = writeln!(out, "{name:<12} {value}");
    }
    let width = reply.guarantees.iter().map(|guarantee| guarantee.name.len()).max();
    let width = width.unwrap_or(0);
    for guarantee in &reply.guarantees {
        let sign = if guarantee.holds { "yes" } else { "no" };
        let _ = writeln!(out, "{:<width$} {sign:<3}  {}", guarantee.name, guarantee.reason);
    }
    out
}

/// The answer for programs: one line.
pub fn json(reply: &StatusReply) -> String {
    let guarantees: Vec<String> = reply
        .guarantees
        .iter()
        .map(|guarantee| {
            format!(
                "{{\"name\": {}, \"holds\": {}, \"reason\": {}}}",
                quote(&guarantee.name),
                guarantee.holds,
                quote(&guarantee.reason)
            )
        })
        .collect();
    format!(
        "{{\"version\": {}, \"keeper_pid\": {}, \"kernel_pid\": {}, \"started\": {}.{:09}, \"uptime_s\": {}.{:03}, \
         \"processes\": {}, \"sockets\": {}, \"values\": {}, \"clients\": {}, \"buffered_bytes\": {}, \"lost_bytes\": {}, \
         \"guarantees\": [{}]}}",
        quote(&reply.version),
        reply.keeper_pid,
        reply.kernel_pid,
        reply.started_ns / 1_000_000_000,
        reply.started_ns % 1_000_000_000,
        reply.uptime_ms / 1000,
        reply.uptime_ms % 1000,
        reply.processes,
        reply.sockets,
        reply.values,
        reply.clients,
        reply.buffered_bytes,
        reply.lost_bytes,
        guarantees.join(", ")
    )
}

/// A JSON string (RFC 8259, section 7).
fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoting_follows_the_rfc() {
        assert_eq!(quote("a\"b\\c\n"), "\"a\\\"b\\\\c\\u000a\"");
    }
}
