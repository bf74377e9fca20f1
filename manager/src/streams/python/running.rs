//! One worker process and the socket to it. Nothing here waits.

use super::wire::{Answer, MAX_LINE, Opening};
use super::{PythonError, PythonSpec};
use crate::python;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::io::{Error, ErrorKind, Read as _, Write as _};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Child;

/// What the worker runs.
const SOURCE: &str = include_str!("worker.py");

/// Bytes read at once: some hundred answers.
const PIECE: usize = 16 << 10;

/// One process.
#[derive(Debug)]
pub(super) struct Running {
    child: Child,
    /// Readable when it has ended.
    pub(super) pidfd: OwnedFd,
    pub(super) socket: UnixStream,
    heard: Vec<u8>,
    /// The object is there.
    pub(super) ready: bool,
}

/// What has come from a worker.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) answers: Vec<Answer>,
    /// Nothing more will come.
    pub(super) over: bool,
}

impl Running {
    /// Starts one and tells it what object to make.
    pub(super) fn start(spec: &PythonSpec) -> Result<Self, PythonError> {
        let failed = |error: Error| PythonError::NoPython(error.to_string());
        let source = [python::IMPORTING, SOURCE];
        let (mut child, socket) = python::start(python::python3(), "circusd-stream", &source).map_err(failed)?;
        match connect(&child, &socket, spec) {
            Ok(pidfd) => Ok(Self { child, pidfd, socket, heard: Vec::new(), ready: false }),
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(failed(error))
            }
        }
    }

    /// Sends some of `bytes`; gives how many. An error will be heard, too.
    pub(super) fn send(&mut self, bytes: &[u8]) -> usize {
        self.socket.write(bytes).unwrap_or(0)
    }

    /// Everything that has come since.
    pub(super) fn hear(&mut self) -> Result<Heard, PythonError> {
        let over = self.read();
        let whole = self.heard.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        let lines = self.heard.drain(..whole).collect::<Vec<u8>>();
        let nonsense = |error: serde_json::Error| PythonError::Nonsense(error.to_string());
        let answers =
            lines.split_inclusive(|byte| *byte == b'\n').map(|line| serde_json::from_slice(line).map_err(nonsense));
        let answers = answers.collect::<Result<Vec<Answer>, PythonError>>()?;
        if self.heard.len() > MAX_LINE {
            return Err(PythonError::Nonsense("a line without an end".to_owned()));
        }
        Ok(Heard { answers, over })
    }

    /// Reads what there is. Gives whether nothing more will come.
    fn read(&mut self) -> bool {
        let mut piece = [0; PIECE];
        while self.heard.len() <= MAX_LINE {
            match self.socket.read(&mut piece) {
                Ok(0) => return true,
                Ok(length) => self.heard.extend_from_slice(piece.get(..length).unwrap_or_default()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return error.kind() != ErrorKind::WouldBlock,
            }
        }
        false
    }

    /// Says that nothing more comes: the object is closed, and the worker ends.
    pub(super) fn finish(&self) {
        // One that has ended already has nothing to be told.
        let _ = self.socket.shutdown(Shutdown::Write);
    }

    /// Ends it, if it has not ended. Gives how.
    pub(super) fn end(mut self) -> String {
        // One that has ended by itself keeps its own status.
        let _ = self.child.kill();
        self.child.wait().map_or_else(|error| error.to_string(), |status| status.to_string())
    }
}

/// The first line, and a descriptor that tells of the end.
fn connect(child: &Child, mut socket: &UnixStream, spec: &PythonSpec) -> std::io::Result<OwnedFd> {
    let pidfd = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
    let opening = Opening { class: &spec.class, settings: &spec.settings, path: spec.place.path.as_deref() };
    let mut line = serde_json::to_vec(&opening)?;
    line.push(b'\n');
    // It fits into the socket's buffer behind the source, so this waits for nobody.
    socket.write_all(&line)?;
    socket.set_nonblocking(true)?;
    Ok(pidfd)
}
