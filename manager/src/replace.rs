//! One program in the place of another: what circusd was when it started, so that children get it and a newer circusd
//! can be started in the same process exactly as this one was.

use crate::process::NOFILE;
use crate::program::Program;
use crate::stand_by;
use nix::sys::signal::{SigSet, Signal};
use ringmaster_protocol::message::Rlimit;
use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit as Limit, getrlimit, setrlimit};
use std::ffi::{CString, NulError, OsString};
use std::os::unix::ffi::OsStringExt as _;

/// Why a program cannot take over.
#[derive(Debug, thiserror::Error)]
pub enum ReplaceError {
    /// A zero byte in an argument.
    #[error("an argument cannot be passed on: {0}")]
    Argument(#[from] NulError),
    /// Somebody has asked circusd to end.
    #[error("circusd was asked to end")]
    CalledOff,
    /// execve(2) failed.
    #[error("it cannot be executed: {0}")]
    Exec(#[from] nix::errno::Errno),
}

/// What this process was when it started.
#[derive(Debug, Clone)]
pub struct Beginning {
    /// The program and its arguments.
    pub program: Program,
    umask: Mode,
    files: Limit,
    /// Another circusd was in this process before.
    is_upgrade: bool,
}

impl Beginning {
    /// To be asked before anything is changed.
    pub fn now() -> Self {
        // The umask can only be read by setting it.
        let umask = rustix::process::umask(Mode::from_raw_mode(0o77));
        rustix::process::umask(umask);
        Self { program: Program::own(), umask, files: getrlimit(Resource::Nofile), is_upgrade: holds_signals_back() }
    }

    /// Whether another circusd was in this process before, and may stand by.
    pub fn is_upgrade(&self) -> bool {
        self.is_upgrade
    }

    /// The limit of open files as it was, for the children.
    pub fn files(&self) -> Rlimit {
        let number = |limit: Option<u64>| limit.unwrap_or(u64::MAX);
        Rlimit { resource: NOFILE, soft: number(self.files.current), hard: number(self.files.maximum) }
    }

    /// Lets circusd open as many files as the system allows: each log and each process with output takes one.
    pub fn raise_file_limit(&self) {
        let raised = Limit { current: self.files.maximum, maximum: self.files.maximum };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            tracing::debug!("the limit of open files stays as it is: {error}");
        }
    }

    /// Sets the configured umask, or the one at the start; gives the one in force.
    pub fn set_umask(&self, wanted: Option<u32>) -> u32 {
        let umask = wanted.map_or(self.umask, Mode::from_raw_mode);
        rustix::process::umask(umask);
        umask.as_raw_mode()
    }

    /// The program on disk takes over, with the same arguments, in this process; this one stands by in another. Comes back only
    /// when it cannot, or is not to: `asked_to_end` is asked last, when no signal is lost any more.
    ///
    /// # Errors
    /// See [`ReplaceError`]; everything is as it was then.
    pub fn replace(&self, asked_to_end: impl FnOnce() -> bool) -> Result<std::convert::Infallible, ReplaceError> {
        let text = |text: &OsString| CString::new(text.clone().into_vec());
        let path = text(&self.program.path.clone().into_os_string())?;
        let words = std::iter::once(&self.program.name).chain(&self.program.arguments);
        let arguments: Vec<CString> = words.map(text).collect::<Result<_, _>>()?;
        rustix::process::umask(self.umask);
        if let Err(error) = setrlimit(Resource::Nofile, self.files) {
            tracing::debug!("the limit of open files stays raised: {error}");
        }
        if let Err(error) = stand_by::post(&self.program) {
            tracing::warn!("no circusd stands by in case that the new one fails: {error}");
        }
        // What is asked for from now on waits for the next program instead of killing it.
        if let Err(errno) = asked_for().thread_block() {
            tracing::debug!("signals are not held back: {errno}");
        }
        let failed = if asked_to_end() {
            stand_by::dismiss();
            ReplaceError::CalledOff
        } else {
            let Err(errno) = nix::unistd::execv(&path, &arguments);
            errno.into()
        };
        self.raise_file_limit();
        listen_to_signals();
        Err(failed)
    }
}

/// After the handlers are there: takes the signals that an earlier program in this process has held back.
pub fn listen_to_signals() {
    if let Err(errno) = asked_for().thread_unblock() {
        tracing::debug!("signals stay held back: {errno}");
    }
}

/// Signals that ask circusd for something and would kill a program without handlers.
fn asked_for() -> SigSet {
    [Signal::SIGHUP, Signal::SIGUSR2, Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT].into_iter().collect()
}

/// Whether an earlier program in this process has held signals back and nobody has listened to them yet: it was upgraded to this one.
pub fn holds_signals_back() -> bool {
    SigSet::thread_get_mask().is_ok_and(|mask| mask.contains(Signal::SIGUSR2))
}
