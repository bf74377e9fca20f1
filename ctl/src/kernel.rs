//! `kernel`: asks a core over its Unix socket how it does. A blocking client of one question; the manager's own link to the
//! core is something else.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ringmaster_protocol::frame::{Frame, FrameReader, Kind, PREFACE};
use ringmaster_protocol::instance::{
    DEFAULT_ENDPOINT, InstanceName, InvalidInstanceName, instance_directory, socket_path,
};
use ringmaster_protocol::message::{Hello, PROTOCOL, Refusal, Reply, Request, Role, Status, StatusReply};
use serde_json::{Value, json};
use thiserror::Error;

use crate::client::Patience;
use crate::commands::kernel::{INSTANCE, SOCKET};
use crate::request::Arguments;

/// Bytes read at a time; an answer is a few hundred.
const PORTION: usize = 4096;

/// Why there is no answer. The exit status is 1.
#[derive(Debug, Error)]
pub enum KernelError {
    /// `--ssh`: a tunnel leads to circusd's endpoint, and the core has none.
    #[error(
        "error: kernel asks the core of this host and --ssh does not change that; run it there: ssh HOST circusctl kernel"
    )]
    Elsewhere,
    /// `--instance` is no name.
    #[error("error: --instance: {0}")]
    Instance(InvalidInstanceName),
    /// Nobody serves.
    #[error("error: no core at {}: {reason}", socket.display())]
    Absent {
        /// Where we looked.
        socket: PathBuf,
        /// What the operating system says.
        reason: io::Error,
    },
    /// The conversation broke, or took too long.
    #[error("error: the core at {} does not answer: {reason}", socket.display())]
    Broken {
        /// Where we are connected.
        socket: PathBuf,
        /// What the operating system says.
        reason: io::Error,
    },
    /// The core said no.
    #[error("error: the core refused: {0}")]
    Refused(Refusal),
    /// Something that no core says.
    #[error("error: what serves {} gave an answer that cannot be read", socket.display())]
    Nonsense {
        /// Where we are connected.
        socket: PathBuf,
    },
}

/// The socket that the command's arguments mean: `--socket`, then the instance of `--instance`, then the one that a circusd
/// with this `endpoint` uses. `lookup` reads the environment.
///
/// # Errors
/// [`KernelError::Instance`].
pub fn socket_of(
    arguments: &Arguments,
    endpoint: Option<&str>,
    lookup: impl Fn(&str) -> Option<OsString>,
) -> Result<PathBuf, KernelError> {
    if let Some(path) = arguments.value(SOCKET.name) {
        return Ok(path.into());
    }
    let name = match arguments.value(INSTANCE.name) {
        Some(name) => InstanceName::new(name).map_err(KernelError::Instance)?,
        None => InstanceName::from_endpoint(endpoint.unwrap_or(DEFAULT_ENDPOINT)),
    };
    let uid = rustix::process::geteuid().as_raw();
    Ok(socket_path(&instance_directory(&name, lookup, uid)))
}

/// Asks the core behind `socket`. `patience` is for each step of the conversation.
///
/// # Errors
/// See [`KernelError`].
pub fn ask(socket: &Path, patience: Patience) -> Result<StatusReply, KernelError> {
    let mut stream = connect(socket).map_err(|reason| KernelError::Absent { socket: socket.to_owned(), reason })?;
    converse(&mut stream, patience).map_err(|trouble| match trouble {
        Trouble::System(reason) => KernelError::Broken { socket: socket.to_owned(), reason },
        Trouble::Refused(refusal) => KernelError::Refused(refusal),
        Trouble::Nonsense => KernelError::Nonsense { socket: socket.to_owned() },
    })
}

/// Through the directory's descriptor, because the path may be longer than a Unix address.
fn connect(socket: &Path) -> io::Result<UnixStream> {
    let name = socket.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let folder = match socket.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?,
        Some(_) | None => File::open(".")?,
    };
    let near = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd()));
    UnixStream::connect(near.join(name))
}

enum Trouble {
    System(io::Error),
    Refused(Refusal),
    Nonsense,
}

impl From<io::Error> for Trouble {
    fn from(reason: io::Error) -> Self {
        Self::System(reason)
    }
}

fn converse(stream: &mut UnixStream, patience: Patience) -> Result<StatusReply, Trouble> {
    // The operating system takes zero for an error.
    let limit = patience.map(|patience| patience.max(Duration::from_millis(1)));
    stream.set_read_timeout(limit)?;
    stream.set_write_timeout(limit)?;
    let hello = Hello {
        oldest: PROTOCOL,
        newest: PROTOCOL,
        build: concat!("circusctl ", env!("CARGO_PKG_VERSION")).into(),
        role: Role::Tool,
        ext: Vec::new(),
    };
    let mut bytes = PREFACE.to_vec();
    Request::from(hello).frame(1).encode(&mut bytes);
    Request::from(Status::default()).frame(2).encode(&mut bytes);
    stream.write_all(&bytes)?;
    let mut reader = FrameReader::new();
    loop {
        while let Some(frame) =
            reader.next_frame().map_err(|error| Trouble::System(io::Error::new(io::ErrorKind::InvalidData, error)))?
        {
            if let Some(reply) = understand(&frame)? {
                return Ok(reply);
            }
        }
        let mut portion = [0; PORTION];
        match stream.read(&mut portion)? {
            0 => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            count => reader.push(portion.get(..count).unwrap_or_default()),
        }
    }
}

fn understand(frame: &Frame) -> Result<Option<StatusReply>, Trouble> {
    match frame.kind {
        Kind::Refusal => {
            Err(Refusal::decode(frame.message, &frame.body).map_or_else(|_| Trouble::Nonsense, Trouble::Refused))
        }
        Kind::Reply => match Reply::decode(frame.message, &frame.body) {
            Ok(Reply::StatusReply(reply)) => Ok(Some(reply)),
            Ok(Reply::Welcome(_)) => Ok(None),
            Ok(_) | Err(_) => Err(Trouble::Nonsense),
        },
        Kind::Notice => Ok(None),
        Kind::Request | Kind::Cast => Err(Trouble::Nonsense),
    }
}

/// The answer for people, as `papa status` shows it.
pub fn text(reply: &StatusReply) -> String {
    let lease = reply.lease.as_ref().map_or_else(
        || "nobody".to_owned(),
        |lease| format!("{} (pid {}, epoch {})", lease.holder, lease.pid, lease.epoch),
    );
    let rows = [
        ("version", reply.version.clone()),
        ("keeper pid", reply.keeper_pid.to_string()),
        ("kernel pid", reply.kernel_pid.to_string()),
        ("uptime", format!("{} s", seconds(reply.uptime_ms))),
        ("managed by", lease),
        ("processes", reply.processes.to_string()),
        ("sockets", reply.sockets.to_string()),
        ("values", reply.values.to_string()),
        ("clients", reply.clients.to_string()),
        ("buffered", format!("{} bytes", reply.buffered_bytes)),
        ("lost", format!("{} bytes", reply.lost_bytes)),
    ];
    let mut out = String::new();
    // Writing to a String cannot fail.
    for (name, value) in rows {
        let _ = writeln!(out, "{name:<12} {value}");
    }
    for guarantee in &reply.guarantees {
        let sign = if guarantee.holds { "yes" } else { "no" };
        let _ = writeln!(out, "{:<34} {sign:<3}  {}", guarantee.name, guarantee.reason);
    }
    out.trim_end().to_owned()
}

fn seconds(milliseconds: u64) -> String {
    format!("{}.{:03}", milliseconds / 1000, milliseconds % 1000)
}

/// The answer for programs: the fields of `papa status --json`, and who holds the lease.
pub fn json(reply: &StatusReply) -> Value {
    let time = |nanoseconds: u64| Duration::from_nanos(nanoseconds).as_secs_f64();
    let guarantees: Vec<Value> = reply
        .guarantees
        .iter()
        .map(|one| json!({"name": one.name, "holds": one.holds, "reason": one.reason}))
        .collect();
    let lease =
        reply.lease.as_ref().map(|lease| json!({"holder": lease.holder, "pid": lease.pid, "epoch": lease.epoch}));
    json!({
        "version": reply.version,
        "keeper_pid": reply.keeper_pid,
        "kernel_pid": reply.kernel_pid,
        "started": time(reply.started_ns),
        "uptime_s": Duration::from_millis(reply.uptime_ms).as_secs_f64(),
        "lease": lease,
        "processes": reply.processes,
        "sockets": reply.sockets,
        "values": reply.values,
        "clients": reply.clients,
        "buffered_bytes": reply.buffered_bytes,
        "lost_bytes": reply.lost_bytes,
        "guarantees": guarantees,
    })
}
