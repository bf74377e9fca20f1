//! `kernel`: asks a core over its Unix socket how it does. A blocking client of one question, whose words and rows are
//! `ringmaster_protocol::status`; the manager's own link to the core is something else.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ringmaster_protocol::instance::{
    DEFAULT_ENDPOINT, InstanceName, InvalidInstanceName, instance_directory, socket_path,
};
use ringmaster_protocol::message::{Refusal, StatusReply};
use ringmaster_protocol::status::{NoAnswer, Question};
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
        "error: {command} asks the core of this host and --ssh does not change that; run it there: ssh HOST circusctl {command}"
    )]
    Elsewhere {
        /// The command.
        command: &'static str,
    },
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
    /// Somebody else's.
    #[error("error: user {owner} serves {}; expected our own user or root", socket.display())]
    Foreign {
        /// Where we are connected.
        socket: PathBuf,
        /// Who serves it.
        owner: u32,
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
        Trouble::NoAnswer(NoAnswer::Frame(error)) => {
            let reason = io::Error::new(io::ErrorKind::InvalidData, error);
            KernelError::Broken { socket: socket.to_owned(), reason }
        }
        Trouble::NoAnswer(NoAnswer::Refused(refusal)) => KernelError::Refused(refusal),
        Trouble::NoAnswer(NoAnswer::Nonsense) => KernelError::Nonsense { socket: socket.to_owned() },
    })
}

/// Through the directory's descriptor, because the path may be longer than a Unix address.
pub(crate) fn connect(socket: &Path) -> io::Result<UnixStream> {
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
    NoAnswer(NoAnswer),
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
    let (mut question, bytes) = Question::new(concat!("circusctl ", env!("CARGO_PKG_VERSION")));
    stream.write_all(&bytes)?;
    let mut portion = [0; PORTION];
    loop {
        let count = stream.read(&mut portion)?;
        if count == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        let answer = question.push(portion.get(..count).unwrap_or_default());
        if let Some(reply) = answer.map_err(Trouble::NoAnswer)? {
            return Ok(reply);
        }
    }
}
