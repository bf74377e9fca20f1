//! Everything that a command can be refused for. `Display` is the text behind `Error: `; most of it is Papa's, which client
//! programs compare (spec of Papa, sections 2 to 6).

use crate::message::Refusal;

/// Why a command is not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// The first word is no command.
    #[error("Unknown command \"{0}\"")]
    UnknownCommand(String),
    /// Leaving is only done on purpose.
    #[error("You cannot abbreviate \"exit-if-idle\"")]
    Abbreviated,
    /// A command of two words came with one.
    #[error("\"{0}\" must be followed by one of: {1}")]
    SecondMissing(&'static str, String),
    /// The second word does not belong to the first.
    #[error("Bad \"{0}\" command. The following word must be one of: {1}")]
    SecondWrong(&'static str, String),
    /// `set` or `get` without a name.
    #[error("Value requires a name")]
    ValueName,
    /// `remove values` would remove everything.
    #[error("You cannot remove all variables")]
    RemoveAllValues,
    /// `make socket` without a name.
    #[error("Socket requires a name")]
    SocketName,
    /// `make process` without a name.
    #[error("Process requires a name")]
    ProcessName,
    /// `make process` without a program.
    #[error("No command")]
    NoCommand,
    /// `tail` or `signal` without their words.
    #[error("Usage: {0}")]
    Usage(&'static str),
    /// No such name, pid or file number.
    #[error("{0} not found")]
    NotFound(String),
    /// A pattern that nothing matches, or nothing at all to match.
    #[error("Nothing to watch")]
    NothingToWatch,
    /// An option that does not exist.
    #[error("Unknown {0} option \"{1}\"")]
    UnknownOption(&'static str, String),
    /// Not a whole number.
    #[error("invalid literal for int() with base 10: '{0}'")]
    Number(String),
    /// A family, type or unit that does not exist.
    #[error("'{0}'")]
    Word(String),
    /// Only sockets that can be listened on are made.
    #[error("[Errno 95] Operation not supported")]
    NotListening,
    /// A port outside of its range.
    #[error("bind(): port must be 0-65535.")]
    PortRange,
    /// The host is neither an address nor in the table of hosts.
    #[error("[Errno -2] Name or service not known")]
    UnknownHost,
    /// The host's addresses are all of another family.
    #[error("[Errno -9] Address family for hostname not supported")]
    HostFamily,
    /// A Unix socket needs an absolute path.
    #[error("Absolute path required for Unix sockets")]
    RelativePath,
    /// The name or the path belongs to a socket of other properties.
    #[error("Socket for {0} has already been created{1}")]
    SocketTaken(String, String),
    /// The name belongs to a process of other properties.
    #[error("Process for {0} has already been created - {1}")]
    ProcessTaken(String, String),
    /// The system did not give the address.
    #[error("Bind failed{place}: [Errno {errno}] {}", errno_text(*errno))]
    Bind {
        /// ` on HOST:PORT`, or nothing for a path.
        place: String,
        /// Why (errno(3)).
        errno: i32,
    },
    /// No user of that number.
    #[error("'{0}' is not a valid user id")]
    UserId(String),
    /// No user of that name.
    #[error("'{0}' is not a valid user name")]
    UserName(String),
    /// No such group.
    #[error("No such group: '{0}'")]
    Group(String),
    /// No such limit.
    #[error("Unknown rlimit \"{0}\"")]
    Rlimit(String),
    /// A limit that is no number.
    #[error("The rlimit value for \"{0}\" must be an integer, not \"{1}\"")]
    RlimitValue(String, String),
    /// `$(socket.` without its end.
    #[error("Process for {0} argument starts with \"$(socket.\" but has no closing parenthesis")]
    ReferenceOpen(String),
    /// A reference to neither port nor file number.
    #[error("You forgot to specify either \".port\" or \".fileno\" after the name")]
    ReferenceField,
    /// A reference to a socket that is not there.
    #[error("Socket {0} not found")]
    ReferenceSocket(String),
    /// The program is not there.
    #[error("Bad command - [Errno {errno}] {}: '{program}'", errno_text(*errno))]
    Program {
        /// As given.
        program: String,
        /// Why.
        errno: i32,
    },
    /// The program or something else of the system is not to be had.
    #[error("[Errno {errno}] {}: '{subject}'", errno_text(*errno))]
    System {
        /// What it was about.
        subject: String,
        /// Why.
        errno: i32,
    },
    /// The working directory cannot be entered.
    #[error("Bad working_dir - [Errno {errno}] {}: '{folder}'", errno_text(*errno))]
    Folder {
        /// As given.
        folder: String,
        /// Why.
        errno: i32,
    },
    /// The child could not take on its limits or its user.
    #[error("Exception occurred in preexec_fn.")]
    InChild,
    /// No such signal.
    #[error("Unknown signal \"{0}\"; a name such as TERM or a number from 1 to 64 is expected")]
    Signal(String),
    /// An answer over its limit.
    #[error("the answer has more than {0} bytes; ask for fewer names")]
    TooMuch(usize),
    /// The core refuses.
    #[error("{0}")]
    Refused(#[from] Refusal),
}

/// strerror(3) without what Rust adds to it.
fn errno_text(errno: i32) -> String {
    let text = std::io::Error::from_raw_os_error(errno).to_string();
    match text.rsplit_once(" (os error") {
        Some((words, _)) => words.to_owned(),
        None => text,
    }
}
