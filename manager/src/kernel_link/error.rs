//! What can go wrong between manager and core. `Display` is the text that people see.

use ringmaster_protocol::instance::InvalidInstanceName;
use ringmaster_protocol::message::Refusal;
use std::path::PathBuf;
use std::time::Duration;

/// Why the connection to the core is over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LossReason {
    /// End of file: the core has ended, or it has dropped this client for breaking a rule.
    #[error("the core closed the connection")]
    Closed,
    /// The socket failed.
    #[error("the connection to the core failed: {0}")]
    Socket(String),
    /// What came is not the protocol.
    #[error("the core sent what is not its protocol: {0}")]
    Protocol(String),
    /// Nobody holds the link any more.
    #[error("the connection to the core was closed by this side")]
    Released,
}

/// Why a request has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// The core said no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The connection is over; whether the request was carried out is not known.
    #[error("no answer to {request}: {reason}")]
    Gone {
        /// Name of the request.
        request: &'static str,
        /// How the connection ended.
        reason: LossReason,
    },
    /// The answer has not come in time; it may still be carried out.
    #[error("the core did not answer {request} within {} s", after.as_secs())]
    TimedOut {
        /// Name of the request.
        request: &'static str,
        /// How long it was waited for.
        after: Duration,
    },
    /// Too many requests wait to be sent. Nothing was sent.
    #[error("{request} was not sent: {limit} requests wait for the core already")]
    Busy {
        /// Name of the request.
        request: &'static str,
        /// [`super::connection::MAX_WAITING`].
        limit: usize,
    },
    /// The request does not fit a frame. Nothing was sent.
    #[error("{request} was not sent: it has {size} {what}; at most {limit} are allowed")]
    TooLarge {
        /// Name of the request.
        request: &'static str,
        /// `bytes` or `file descriptors`.
        what: &'static str,
        /// How many there are.
        size: usize,
        /// How many may be.
        limit: usize,
    },
    /// An answer of another kind than the request's.
    #[error("the core answered {request} with something else (message {message})")]
    Unexpected {
        /// Name of the request.
        request: &'static str,
        /// Number of the reply.
        message: u16,
    },
    /// The descriptor that belongs to the answer is missing.
    #[error("the core answered {request} without the file descriptor that belongs to the answer")]
    NoDescriptor {
        /// Name of the request.
        request: &'static str,
    },
    /// The core speaks a version that was not offered.
    #[error("the core chose protocol version {chosen}; this circusd speaks {oldest} to {newest}")]
    Version {
        /// The core's choice.
        chosen: u16,
        /// Lowest that was offered.
        oldest: u16,
        /// Highest that was offered.
        newest: u16,
    },
}

/// Why there is no connection to a core at all.
#[derive(Debug, thiserror::Error)]
pub enum ReachError {
    /// `instance` in `[circus]` cannot be used.
    #[error("[circus] {0}")]
    Instance(#[from] InvalidInstanceName),
    /// `papa_endpoint` in `[circus]` cannot be used.
    #[error("[circus] papa_endpoint is {value:?}; expected ipc://PATH with an absolute path, or tcp://127.0.0.1:PORT")]
    Endpoint {
        /// As written.
        value: String,
    },
    /// The socket is there but cannot be connected to.
    #[error("cannot connect to the core at {}: {source}; is it run by another user?", socket.display())]
    Connect {
        /// Path of the socket.
        socket: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Something else than this user's core listens there.
    #[error(
        "the socket {} belongs to a process of user {owner}, not to this user ({own}) or root; \
         remove it or set CIRCUS_RUN_DIR to a directory of your own",
        socket.display()
    )]
    Foreign {
        /// Path of the socket.
        socket: PathBuf,
        /// User of the process that listens.
        owner: u32,
        /// User of this process.
        own: u32,
    },
    /// No `papa` anywhere.
    #[error(
        "no core runs at {} and the program papa was not found (looked for {}); \
         install papa beside circusd or set papa_path in [circus]",
        socket.display(), looked.join(", ")
    )]
    PapaNotFound {
        /// Path of the socket.
        socket: PathBuf,
        /// Every place that was tried.
        looked: Vec<String>,
    },
    /// `papa` could not be executed.
    #[error("cannot start the core: {}: {source}", papa.display())]
    PapaNotStarted {
        /// The program.
        papa: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// `papa` ended with an error.
    #[error("{} ended with {status}: {words}", papa.display())]
    PapaFailed {
        /// The program.
        papa: PathBuf,
        /// Its exit status.
        status: std::process::ExitStatus,
        /// What it wrote to stderr, shortened.
        words: String,
    },
    /// `papa` has not become ready in time.
    #[error("{} did not become ready within {} s; try it by hand: {by_hand}", papa.display(), after.as_secs())]
    PapaSlow {
        /// The program.
        papa: PathBuf,
        /// How long it was waited for.
        after: Duration,
        /// The command line.
        by_hand: String,
    },
    /// `papa` reported success, but no core listens.
    #[error("{} says that the core runs, but nothing listens at {}: {source}", papa.display(), socket.display())]
    StillAbsent {
        /// The program.
        papa: PathBuf,
        /// Path of the socket.
        socket: PathBuf,
        /// Why the connection failed.
        source: std::io::Error,
    },
    /// The greeting failed.
    #[error("the core at {} does not accept this circusd: {source}", socket.display())]
    Greeting {
        /// Path of the socket.
        socket: PathBuf,
        /// Why.
        source: LinkError,
    },
}

/// `papa`'s exit status when the instance is served already (`papa --help`).
const SERVED_ALREADY: i32 = 3;

impl ReachError {
    /// Whether the core that was met may be one that is about to end: then there is soon none, and a new one can start.
    pub(super) fn may_be_ending(&self) -> bool {
        if let Self::PapaFailed { status, .. } = self {
            return status.code() == Some(SERVED_ALREADY);
        }
        let lost = |source: &LinkError| {
            matches!(source, LinkError::Gone { reason: LossReason::Closed | LossReason::Socket(_), .. })
        };
        matches!(self, Self::Greeting { source, .. } if lost(source))
    }
}
