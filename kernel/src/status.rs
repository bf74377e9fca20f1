//! `papa status`, `papa upgrade`, `papa rollback`: one question to a core over its socket. What is asked and how it is shown is `ringmaster_protocol::status`.

use crate::limits::TRIAL;
use ringmaster_protocol::message::{Reply, Request, Status, StatusReply, Upgrade};
use ringmaster_protocol::status::{NoAnswer, Question, last_upgrade};
use rustix::fs::{CWD, Mode, OFlags};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
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
    /// Who serves there, if anybody, lets us in no more than the directory does.
    #[error("no access to {}: {source}; is the core another user's?", path.display())]
    Forbidden {
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
    /// It is no answer.
    #[error("{0}")]
    NoAnswer(#[from] NoAnswer),
}

impl StatusError {
    /// Nobody could be connected to.
    pub fn unreached(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        if source.kind() == io::ErrorKind::PermissionDenied {
            Self::Forbidden { path, source }
        } else {
            Self::Absent { path, source }
        }
    }

    /// Whether there is no core, rather than one in trouble.
    pub fn is_absence(&self) -> bool {
        match self {
            Self::Absent { .. } => true,
            Self::Forbidden { .. } | Self::Broken { .. } | Self::NoAnswer(_) => false,
        }
    }
}

/// Asks the core behind `socket` how it does.
pub fn ask(socket: &Path) -> Result<StatusReply, StatusError> {
    let Reply::StatusReply(reply) = request(socket, Status::default(), PATIENCE)? else {
        return Err(NoAnswer::Nonsense.into());
    };
    Ok(reply)
}

/// Asks the core behind `socket` to become `program`, or what it was before its last upgrade; gives what came of it.
pub fn upgrade(socket: &Path, program: Option<&Path>) -> Result<String, StatusError> {
    let program = program.map(|path| path.as_os_str().as_bytes().to_vec());
    let Reply::Upgrading(_) = request(socket, Upgrade { program, ext: Vec::new() }, TRIAL + PATIENCE)? else {
        return Err(NoAnswer::Nonsense.into());
    };
    // Whoever answers now has the outcome behind it.
    Ok(last_upgrade(&ask(socket)?).unwrap_or_default())
}

fn request(socket: &Path, request: impl Into<Request>, patience: Duration) -> Result<Reply, StatusError> {
    let mut stream = connect(socket).map_err(|source| StatusError::unreached(socket, source))?;
    let broken = |source| StatusError::Broken { path: socket.to_owned(), source };
    let bounded = stream.set_read_timeout(Some(patience));
    bounded.and_then(|()| stream.set_write_timeout(Some(patience))).map_err(broken)?;
    let (mut question, bytes) = Question::about(concat!("papa ", env!("CARGO_PKG_VERSION")), request);
    stream.write_all(&bytes).map_err(broken)?;
    let mut portion = [0; 4096];
    loop {
        let count = stream.read(&mut portion).map_err(broken)?;
        if count == 0 {
            return Err(broken(io::ErrorKind::UnexpectedEof.into()));
        }
        if let Some(reply) = question.push_any(portion.get(..count).unwrap_or_default())? {
            return Ok(reply);
        }
    }
}

/// Through the directory's descriptor, because the path may be longer than an address.
pub fn connect(socket: &Path) -> io::Result<UnixStream> {
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
