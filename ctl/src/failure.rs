//! How a run ends: the exit statuses, and everything that ends it before there is a reply.

use std::io;

use thiserror::Error;

use crate::cli::UsageError;
use crate::daemon::DaemonError;
use crate::drill::DrillError;
use crate::kernel::KernelError;
use crate::listen::ListenError;
use crate::replay::ReplayError;
use crate::request::ArgumentError;
use crate::tail::TailError;
use crate::upgrade::UpgradeError;

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Everything asked for was done.
    Done,
    /// It could not be asked, or nobody answered.
    Failed,
    /// The command line makes no sense.
    Usage,
    /// The daemon answered with an error.
    Refused,
}

impl Exit {
    /// The process's exit status.
    pub fn status(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Refused => 3,
        }
    }
}

/// Everything that ends a command before there is a reply. The text is what stderr shows.
#[derive(Debug, Error)]
pub enum Failure {
    /// Not understood.
    #[error(transparent)]
    Usage(#[from] UsageError),
    /// Understood, and makes no request.
    #[error(transparent)]
    Argument(#[from] ArgumentError),
    /// circusd is not the new one.
    #[error(transparent)]
    Upgrade(#[from] UpgradeError),
    /// circusd was not reached or did not answer.
    #[error(transparent)]
    Daemon(#[from] DaemonError),
    /// No events.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// No earlier events.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// No output.
    #[error(transparent)]
    Tail(#[from] TailError),
    /// No receipt.
    #[error(transparent)]
    Drill(#[from] DrillError),
    /// The core was not reached or did not answer.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// The operating system gives us no event loop.
    #[error("error: cannot start: {0}")]
    Runtime(io::Error),
    /// Nobody reads what we write.
    #[error("error: cannot write to stdout: {0}")]
    Stdout(io::Error),
    /// The shell's line cannot be read.
    #[error("error: cannot read a line: {0}")]
    Input(String),
}

impl Failure {
    /// Whether somebody wanted it so: a reader that has had enough, such as `head`, has closed our stdout.
    pub fn is_wanted(&self) -> bool {
        let stdout = match self {
            Self::Stdout(error)
            | Self::Listen(ListenError::Stdout(error))
            | Self::Replay(ReplayError::Stdout(error))
            | Self::Tail(TailError::Stdout(error)) => Some(error),
            Self::Usage(_)
            | Self::Argument(_)
            | Self::Daemon(_)
            | Self::Upgrade(_)
            | Self::Listen(_)
            | Self::Replay(_)
            | Self::Tail(_)
            | Self::Drill(_)
            | Self::Kernel(_)
            | Self::Runtime(_)
            | Self::Input(_) => None,
        };
        stdout.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// The exit status it leads to.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) => Exit::Usage,
            Self::Argument(_)
            | Self::Daemon(_)
            | Self::Upgrade(_)
            | Self::Listen(_)
            | Self::Replay(_)
            | Self::Tail(_)
            | Self::Drill(_)
            | Self::Kernel(_)
            | Self::Runtime(_)
            | Self::Stdout(_)
            | Self::Input(_) => Exit::Failed,
        }
    }
}
