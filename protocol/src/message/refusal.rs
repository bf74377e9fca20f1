//! Every way in which the core says no. `Display` is the text that people see.

use serde::{Deserialize, Serialize};

/// The step of a child's start that failed, in the order in which they are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SpawnStep {
    /// Making pipes and the process file.
    Prepare,
    /// clone3(2).
    Clone,
    /// Placing descriptors.
    Descriptors,
    /// setsid(2).
    Session,
    /// setrlimit(2).
    Rlimit,
    /// chdir(2).
    WorkingDirectory,
    /// setgroups(2).
    Groups,
    /// setgid(2).
    Gid,
    /// setuid(2).
    Uid,
    /// execve(2).
    Exec,
}

impl std::fmt::Display for SpawnStep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Prepare => "preparing pipes and the process file",
            Self::Clone => "creating the process",
            Self::Descriptors => "placing the file descriptors",
            Self::Session => "starting a session",
            Self::Rlimit => "setting a resource limit",
            Self::WorkingDirectory => "changing to the working directory",
            Self::Groups => "setting the supplementary groups",
            Self::Gid => "setting the group",
            Self::Uid => "setting the user",
            Self::Exec => "executing the program",
        })
    }
}

/// Why a request is not carried out. Variants are only ever appended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// The number of the request is not known to this core.
    #[error("this core does not know message {message}")]
    Unsupported {
        /// As sent.
        message: u16,
    },
    /// The body cannot be read.
    #[error("the request cannot be read: {reason}")]
    Malformed {
        /// What is wrong.
        reason: String,
    },
    /// No common protocol version.
    #[error("no common protocol version: this core speaks {oldest} to {newest}")]
    Version {
        /// The core's lowest.
        oldest: u16,
        /// The core's highest.
        newest: u16,
    },
    /// The first request was not `Hello`.
    #[error("the first request must be hello")]
    NoHello,
    /// There is no such thing.
    #[error("{what} {name} not found")]
    NotFound {
        /// `process`, `socket`.
        what: String,
        /// As asked for.
        name: String,
    },
    /// The name belongs to another process or socket.
    #[error("{what} {name} exists already with other properties")]
    NameTaken {
        /// `process`, `socket`.
        what: String,
        /// As asked for.
        name: String,
    },
    /// The request needs the lease.
    #[error("this needs the lease of the instance, which this connection does not hold")]
    NoLease,
    /// Another manager holds the lease.
    #[error("the instance is managed already by pid {pid} ({holder})")]
    LeaseHeld {
        /// The other's pid.
        pid: i32,
        /// Its words about itself.
        holder: String,
    },
    /// The client may not do this.
    #[error("not permitted: {reason}")]
    NotPermitted {
        /// Which rule.
        reason: String,
    },
    /// A field has an impossible value.
    #[error("{field} is {value}; expected {expected}")]
    Invalid {
        /// Field of the request.
        field: String,
        /// As sent.
        value: String,
        /// What would do.
        expected: String,
    },
    /// A named limit is reached.
    #[error("the limit {limit} ({value}) is reached")]
    Limit {
        /// Name of the limit.
        limit: String,
        /// Its value.
        value: u64,
    },
    /// The process has not ended yet.
    #[error("process {name} is still running")]
    StillRunning {
        /// Name of the process.
        name: String,
    },
    /// A child could not be started.
    #[error("{step} failed for {subject}: {}", std::io::Error::from_raw_os_error(*errno))]
    SpawnFailed {
        /// Where.
        step: SpawnStep,
        /// Program, directory, limit … that it was about.
        subject: String,
        /// Why (errno(3)).
        errno: i32,
    },
    /// The system refused.
    #[error("{action} failed: {}", std::io::Error::from_raw_os_error(*errno))]
    System {
        /// What was tried.
        action: String,
        /// Why (errno(3)).
        errno: i32,
    },
}
