//! What can be wrong with one option's value: in a file ([`Expected`]) and from a client ([`OptionError`]).

use super::{MAX_PROCESSES, SignalError, python};
use serde_json::Value;

/// What a file's text should have been. `config` adds the file, line, section and key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Expected {
    /// A boolean word.
    #[error("expected yes or no (also true, false, on, off, 1, 0)")]
    Boolean,
    /// An integer of either sign.
    #[error("expected a whole number")]
    Integer,
    /// An integer that is not negative.
    #[error("expected a whole number, 0 or more")]
    Count,
    /// More processes than there can be.
    #[error("expected at most {MAX_PROCESSES} processes")]
    Processes,
    /// An octal mask.
    #[error("expected an octal number such as 022, at most 777")]
    Octal,
    /// A TCP or UDP port.
    #[error("expected a port number from 0 to 65535")]
    Port,
    /// A float of either sign.
    #[error("expected a number of seconds such as 5 or 0.5")]
    Period,
    /// A float that is not negative.
    #[error("expected a number of seconds such as 30 or 0.5, 0 or more")]
    Seconds,
    /// `warmup_delay`, which has no fractions in a file.
    #[error("expected a whole number of seconds, 0 or more")]
    WholeSeconds,
    /// `max_retry`.
    #[error("expected a whole number of attempts, or -1 for no limit")]
    Retries,
    /// `uid` and `gid` out of range.
    #[error("expected a name or a number from 0 to 4294967294")]
    Identity,
    /// `stop_signal`; the reason is not repeated, the accepted spellings are.
    #[error("expected a signal name such as TERM, SIGINT or RTMIN+1, or a number from 1 to 64")]
    Signal,
    /// `rlimit_NAME` with an unknown NAME.
    #[error("expected rlimit_NAME with one of the names {}", super::rlimit_names())]
    RlimitName,
    /// `rlimit_NAME`'s value.
    #[error("expected a whole number, or nothing for no limit")]
    RlimitValue,
    /// `stdout_stream` without a dot.
    #[error("expected {0}.class, {0}.filename or another key after a dot")]
    StreamKey(&'static str),
    /// A stream class without a dot that is not built in.
    #[error("expected one of {} or a dotted Python class", super::stream_class_names())]
    StreamClass,
    /// `hooks` without a dot.
    #[error("expected hooks.NAME = dotted.name[, yes or no]")]
    HookKey,
    /// The flag behind a hook's comma.
    #[error("expected dotted.name, or dotted.name and yes or no after a comma")]
    HookFlag,
    /// `family`.
    #[error("expected AF_INET, AF_INET6 or AF_UNIX")]
    SocketFamily,
    /// `type`.
    #[error("expected SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET, SOCK_RAW or SOCK_RDM")]
    SocketKind,
    /// `overflow`.
    #[error("expected one of {}", super::overflow_names())]
    Overflow,
    /// `ring_size`, `spill_quota`.
    #[error("expected a number of bytes such as 4194304 or 4M, {0}")]
    Size(super::SizeRange),
    /// `metrics_endpoint`.
    #[error("expected http://127.0.0.1:PORT/PATH, http://[::1]:PORT/PATH or http+unix:///PATH")]
    MetricsEndpoint,
    /// `metrics_endpoint` on an address that is not this host's alone.
    #[error("expected an address of this host alone, such as 127.0.0.1, or metrics_remote = True beside it")]
    LocalMetrics,
    /// A zero byte, which ends a text for the system (execve(2)).
    #[error("expected no zero byte")]
    NoZero,
    /// A key that a file cannot give.
    #[error("expected no such key here: it is set by [env] and [env:NAME] sections")]
    EnvSection,
}

/// Why `set` or `add` refuses a value. The texts are Circus's, word for word (spec c.8).
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum OptionError {
    /// Not a settable option.
    #[error("unknown key {}", python::repr_str(.0))]
    UnknownKey(String),
    /// An integer is needed.
    #[error("{} isn't an integer", python::repr_str(.0))]
    NotInteger(String),
    /// An integer or float is needed.
    #[error("{} isn't a number", python::repr_str(.0))]
    NotNumber(String),
    /// `uid`, `gid`.
    #[error("{} isn't an integer or string", python::repr_str(.0))]
    NotIdentity(String),
    /// A JSON boolean is needed.
    #[error("{} isn't a valid boolean", python::repr_str(.0))]
    NotBoolean(String),
    /// An object is needed.
    #[error("{} isn't a valid object", python::repr_str(.0))]
    NotObject(String),
    /// A string is needed, here or as a value of `env`.
    #[error("{} isn't a string", python::repr_str(.0))]
    NotString(String),
    /// A stream without its class.
    #[error("{} must have a 'class' key", python::repr_str(.0))]
    NoClass(String),
    /// `hooks` is not an object.
    #[error("{} isn't a valid hook dict", python::repr(.0))]
    NotHooks(Value),
    /// `hooks` names a hook that does not exist; Circus shows the whole object.
    #[error("Unknown hook {}", python::repr(.0))]
    UnknownHook(Value),
    /// A resource limit that does not exist.
    #[error("{} isn't a valid rlimit setting", python::repr_str(.0))]
    NotRlimit(String),
    /// A resource limit's value.
    #[error("{} rlimit value isn't a valid int", python::repr(.0))]
    NotRlimitValue(Value),
    /// More than one process for a singleton.
    #[error("Singleton watcher has a single process")]
    Singleton,
    /// A singleton shall be made of a watcher with several processes. Circus's text, its two spaces included (`add`).
    #[error("Cannot have {0} processes with a singleton  watcher")]
    TooManyForSingleton(u32),
    /// A stream that cannot be used; its output would go nowhere.
    #[error("{0}")]
    Stream(crate::streams::StreamError),
    /// An integer that the option cannot hold. Circus would take it and fail later.
    #[error("{} is out of range: {value}", python::repr_str(.key))]
    OutOfRange {
        /// The option.
        key: String,
        /// The number as sent.
        value: Value,
    },
    /// No such policy, or no such size. Ours alone, so the words are those for files.
    #[error("{}: {expected}", python::repr_str(.key))]
    Own {
        /// The option.
        key: String,
        /// What would do.
        expected: Expected,
    },
    /// What no program can be given: a zero byte ends a text there (execve(2)).
    #[error("{} has a zero byte", python::repr_str(.0))]
    ZeroByte(String),
    /// The name of a variable of the environment; Python's words.
    #[error("illegal environment variable name {}", python::repr_str(.0))]
    VariableName(String),
    /// No such signal.
    #[error(transparent)]
    Signal(#[from] SignalError),
    /// A stream class that is not built in. Circus answers with the text of a KeyError.
    #[error("{}", python::repr_str(.0))]
    StreamClass(String),
    /// The flag behind a hook's comma.
    #[error("{} is not a boolean", python::repr_str(.0))]
    HookFlag(String),
}

/// Circus's error numbers that an option can cause (spec c.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OptionErrno {
    /// 3: refused by validation, before anything is changed.
    Message,
    /// 5: refused while it is applied; the reply's reason carries the request.
    Command,
}

impl OptionError {
    /// Under which number a client sees this error.
    pub fn errno(&self) -> OptionErrno {
        match self {
            Self::UnknownKey(_)
            | Self::NotInteger(_)
            | Self::NotNumber(_)
            | Self::NotIdentity(_)
            | Self::NotBoolean(_)
            | Self::NotObject(_)
            | Self::NotString(_)
            | Self::NoClass(_)
            | Self::NotHooks(_)
            | Self::UnknownHook(_)
            | Self::NotRlimit(_)
            | Self::NotRlimitValue(_)
            | Self::ZeroByte(_)
            | Self::VariableName(_) => OptionErrno::Message,
            Self::Singleton
            | Self::TooManyForSingleton(_)
            | Self::Stream(_)
            | Self::OutOfRange { .. }
            | Self::Own { .. }
            | Self::Signal(_)
            | Self::StreamClass(_)
            | Self::HookFlag(_) => OptionErrno::Command,
        }
    }
}
