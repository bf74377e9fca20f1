//! What is wrong with a configuration: where, what was found, what was expected, and what follows from it.
//!
//! The texts are made here and nowhere else. Each is one line that names file, line, section and key.

use crate::options::{Expected, NameError};
use crate::python::TrialError;
use crate::streams::StreamError;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A line of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file as it was named: on the command line, or by an include pattern.
    pub file: Arc<Path>,
    /// From 1.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// What follows from a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// circusd does not start.
    Fatal,
    /// The watcher, socket or plugin of this section is left out; the rest starts.
    LeftOut,
    /// Everything starts; the writer of the file should know.
    Warning,
}

/// One problem in a file that could be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// The section's name without brackets, e.g. `watcher:web`.
    pub section: String,
    /// What follows.
    pub severity: Severity,
    /// What it is.
    pub kind: ProblemKind,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: [{}] {}", self.place, self.section, self.kind)?;
        match self.severity {
            Severity::Fatal | Severity::Warning => Ok(()),
            Severity::LeftOut => {
                let what = self.section.split(':').next().unwrap_or_default();
                write!(f, " (this {what} is left out)")
            }
        }
    }
}

/// The kinds of problems.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProblemKind {
    /// A value that cannot be read.
    #[error("{key} = {}: {expected}", shorten(.value))]
    Value {
        /// The key.
        key: String,
        /// The value after expansion.
        value: String,
        /// What it should have been.
        expected: Expected,
    },
    /// A key that is no option but looks like one.
    #[error("unknown option '{key}' (did you mean '{near}'?)")]
    UnknownOption {
        /// As written.
        key: String,
        /// The option it looks like.
        near: &'static str,
    },
    /// A key that is no option and looks like none.
    #[error("unknown option '{0}': it is kept and has no effect")]
    NoOption(String),
    /// A type of socket that the core does not make.
    #[error("type: only SOCK_STREAM, SOCK_DGRAM and SOCK_SEQPACKET are supported")]
    SocketKind,
    /// A protocol that is not the type's own.
    #[error("proto = {0}: only the protocol that belongs to the type is supported")]
    Protocol(String),
    /// A section that is ignored but looks like one that is not.
    #[error("unknown section, ignored (did you mean '{near}'?)")]
    UnknownSection {
        /// The section it looks like.
        near: &'static str,
    },
    /// A hook name that Circus never calls.
    #[error("unknown hook '{0}': it is never called")]
    UnknownHook(String),
    /// An option that this version reads and does not act on.
    #[error("{key} = {}: is read but has no effect yet", shorten(.value))]
    NoEffectYet {
        /// The key.
        key: String,
        /// The value.
        value: String,
    },
    /// A negative number of what there is none less than none of. Circus takes it.
    #[error("{key} = {value}: a negative number counts as {taken}")]
    TakenAs {
        /// The key.
        key: String,
        /// As written.
        value: String,
        /// What is done.
        taken: &'static str,
    },
    /// A name that no watcher can have.
    #[error("{0}")]
    Name(NameError),
    /// A variable that cannot be given to a program.
    #[error("the variable {0:?} of its environment, or its value, has a zero byte")]
    ZeroInVariable(String),
    /// A key that Circus documents but never reads.
    #[error("{0}: has no effect, neither here nor in Circus")]
    NeverRead(String),
    /// A plugin without a class.
    #[error("a plugin needs an option 'use', the dotted name of its class")]
    PluginWithoutUse,
    /// The same key again in the same section of the same file.
    #[error("{key}: given before, at {first}; the first one counts")]
    GivenTwice {
        /// The key.
        key: String,
        /// Where it was first.
        first: Place,
    },
    /// `singleton` with more than one process (spec a.5).
    #[error("numprocesses = {0}: a singleton watcher has one process or none")]
    SingletonCount(u32),
    /// `copy_path` or `virtualenv` without `copy_env` (spec a.5).
    #[error("{0}: needs copy_env = True")]
    NeedsCopyEnv(&'static str),
    /// `overflow = spill` without a directory.
    #[error("overflow = spill: needs a directory, spill_dir = /PATH")]
    NeedsSpillDir,
    /// `virtualenv` names no virtualenv (spec a.5).
    #[error("virtualenv = {path}: expected a folder with lib/python{version}/site-packages")]
    NoVirtualenv {
        /// As written.
        path: String,
        /// `virtualenv_py_ver`; `*` for any.
        version: String,
    },
    /// `copy_path` and no Python to ask.
    #[error("copy_path: has no effect because python3 cannot be asked for its path: {0}")]
    NoPython(String),
    /// A stream that cannot be used.
    #[error("{stream}: {error}")]
    Stream {
        /// `stdout_stream` or `stderr_stream`.
        stream: &'static str,
        /// What is wrong with it.
        error: StreamError,
    },
    /// A class in Python that cannot be used, or of which that is not known.
    #[error("{key} = {class}: {error}")]
    Class {
        /// `stdout_stream.class`, `stderr_stream.class` or `use`.
        key: &'static str,
        /// The class.
        class: String,
        /// Why.
        error: Box<TrialError>,
    },
    /// A setting that the class of a stream does not read. Circus ignores it silently (spec h).
    #[error("{key}: {class} reads no such setting, it has no effect")]
    StreamSetting {
        /// The whole key.
        key: String,
        /// The stream's class.
        class: String,
    },
    /// What somebody who chose that class should know.
    #[error("{key} = {class}: {note}")]
    StreamNote {
        /// `stdout_stream.class` or `stderr_stream.class`.
        key: &'static str,
        /// The class.
        class: String,
        /// What is to be known.
        note: &'static str,
    },
    /// A stream with neither class nor file name (spec h).
    #[error("{0}: expected {0}.class or {0}.filename among its keys")]
    StreamWithoutClass(&'static str),
    /// A watcher without a command.
    #[error("cmd: expected a command; without one the watcher cannot start")]
    NoCommand,
    /// `rlimit_NAME` with a name that Linux does not have.
    #[error(
        "rlimit_{0}: expected rlimit_NAME with one of the names {names}; the watcher cannot start",
        names = crate::options::RLIMIT_NAMES.join(", ")
    )]
    UnknownLimit(String),
    /// A command that cannot be split into words.
    #[error("{key}: {error}; the watcher cannot start")]
    NoWords {
        /// `cmd`, `args` or `shell_args`.
        key: &'static str,
        /// Python's text.
        error: super::words::WordsError,
    },
    /// A reference to a socket that no section defines.
    #[error("there is no [socket:{0}]; the variable stays as it is written")]
    NoSuchSocket(String),
    /// `on_demand` without a socket.
    #[error("on_demand: the watcher holds no socket, so that nobody can connect and it never starts")]
    NothingToWaitFor,
    /// `so_reuseport` without a port that several sockets could share.
    #[error("so_reuseport: has no effect without a port of its own; all processes get one socket")]
    SharedWithoutPort,
    /// `AF_UNIX` without a path.
    #[error("family = AF_UNIX: expected a path, too")]
    UnixWithoutPath,
    /// Two sections with one name, in any case.
    #[error("the name '{name}' is taken by [{by}] at {first}")]
    SameName {
        /// The name.
        name: String,
        /// The other section.
        by: String,
        /// Where it is.
        first: Place,
    },
    /// An include pattern without a match. Circus's text (spec a.2).
    #[error("'{0}' does not lead to any config. Make sure include paths are relative to the main config file")]
    IncludeWithoutMatch(String),
    /// An included file that cannot be read.
    #[error("included file {} is skipped: {reason}", .file.display())]
    IncludeSkipped {
        /// The file.
        file: PathBuf,
        /// Why, in the operating system's words.
        reason: String,
    },
}

/// How much of a value a message shows; more hides the sentence behind it.
const SHOWN_VALUE_CHARS: usize = 60;

/// One line of at most [`SHOWN_VALUE_CHARS`]; an empty value is shown as `""`.
fn shorten(value: &str) -> String {
    if value.is_empty() {
        return "\"\"".to_owned();
    }
    let one_line = value.replace('\n', " ");
    if one_line.chars().count() <= SHOWN_VALUE_CHARS {
        return one_line;
    }
    one_line.chars().take(SHOWN_VALUE_CHARS).chain(['…']).collect()
}

/// Why a configuration cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// No file of that name.
    #[error("the configuration file '{}' does not exist", .0.display())]
    Missing(PathBuf),
    /// It exists and cannot be read.
    #[error("{}: cannot be read: {source}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// Longer than [`super::include::MAX_FILE_BYTES`].
    #[error("{}: is longer than {limit} bytes; is it a configuration file?", .path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// The limit.
        limit: u64,
    },
    /// Bytes that are not UTF-8.
    #[error("{0}: is not UTF-8 text")]
    NotText(Place),
    /// A line before any section.
    #[error("{place}: expected a section such as [circus] before '{line}'")]
    NoSection {
        /// Where.
        place: Place,
        /// The line.
        line: String,
    },
    /// A byte order mark, which nobody sees. Circus, too, takes it for text before the first section.
    #[error("{0}: the file begins with a byte order mark; save it as UTF-8 without one")]
    ByteOrderMark(Place),
    /// A line that is neither section, option, comment nor continuation.
    #[error("{place}: expected 'key = value' instead of '{line}'")]
    NoDelimiter {
        /// Where.
        place: Place,
        /// The line.
        line: String,
    },
    /// A value of `[circus]`.
    #[error("{0}")]
    Value(Box<Problem>),
}

/// Everything that is wrong with a configuration that cannot be used. Shown one problem a line, fatal ones first.
#[derive(Debug, Default)]
pub struct ConfigErrors {
    /// Why it cannot be used; never empty in an error.
    pub errors: Vec<ConfigError>,
    /// What else was found.
    pub problems: Vec<Problem>,
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let errors = self.errors.iter().map(ToString::to_string);
        let lines: Vec<String> = errors.chain(self.problems.iter().map(ToString::to_string)).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for ConfigErrors {}

impl From<ConfigError> for ConfigErrors {
    fn from(error: ConfigError) -> Self {
        Self { errors: vec![error], problems: Vec::new() }
    }
}
