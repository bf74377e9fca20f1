//! Processes: spawn, signal, list, output, end.

use super::Ext;
use crate::ring::Stream;
use serde::{Deserialize, Serialize};

/// Names a process for as long as the instance exists; never used twice, unlike a pid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ProcessId(pub u64);

/// How long a process lives when its manager goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Lifetime {
    /// Ends with the manager's lease (after its grace when the manager crashed).
    Leased,
    /// Survives the manager.
    Persistent,
}

/// How the core stops a process on its own, when a lease has run out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopPlan {
    /// The first signal.
    pub signal: i32,
    /// Milliseconds from there to SIGKILL for what is left of the tree.
    pub grace_ms: u64,
}

/// What a child finds on fd 0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stdin {
    /// /dev/null.
    Null,
    /// The listening socket of that name.
    Socket(String),
    /// The descriptor at that position among those sent with the request.
    Passed(u8),
}

/// What a child finds on fd 1 or 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stdout {
    /// A pipe into the ring.
    Captured,
    /// /dev/null.
    Null,
    /// The descriptor at that position among those sent with the request.
    Passed(u8),
    /// The same as fd 1; only for fd 2.
    Merged,
}

/// What happens to output when a ring is full and no manager reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Overflow {
    /// The oldest bytes make room and are counted as lost.
    DropOldest,
    /// The child waits.
    Block,
}

/// What [`Overflow`] cannot say: travels in [`Spawn::ext`] under [`Keeping::TAG`]. The tag is odd, so a core that does not
/// know it goes by `ring` and `overflow` of the request; one that does repeats the tag in [`Spawned::ext`], without bytes.
/// Variants are only ever appended; one that a core cannot read is to it as a tag that it does not know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Keeping {
    /// What is in a full ring stays; what comes then is taken out of the pipe and counted, until a reader has emptied the
    /// ring.
    DropNewest,
    /// The rings lie in a file of a directory and may become large; beyond it goes by `overflow`.
    Spill {
        /// An absolute path. It must be there, and the core may write to it.
        directory: Vec<u8>,
        /// Bytes that each captured stream may occupy, in place of `ring`.
        quota: u64,
    },
}

impl Keeping {
    /// Of the addition, in the request and in the reply.
    pub const TAG: u16 = 1;

    /// As an addition to a request.
    pub fn addition(&self) -> (u16, Vec<u8>) {
        (Self::TAG, super::encode_body(self))
    }

    /// Whether the core that gave this reply goes by the addition.
    pub fn is_known(reply: &Spawned) -> bool {
        reply.ext.iter().any(|(tag, _)| *tag == Self::TAG)
    }
}

/// One resource limit (setrlimit(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rlimit {
    /// `RLIMIT_*` as Linux numbers it.
    pub resource: u32,
    /// Soft limit; `u64::MAX` is infinity.
    pub soft: u64,
    /// Hard limit; `u64::MAX` is infinity.
    pub hard: u64,
}

/// `RLIMIT_*` in small letters with the numbers that `Rlimit` carries: Linux's on x86-64 and arm64 (asm-generic/resource.h).
pub const RLIMITS: &[(&str, u32)] = &[
    ("cpu", 0),
    ("fsize", 1),
    ("data", 2),
    ("stack", 3),
    ("core", 4),
    ("rss", 5),
    ("nproc", 6),
    ("nofile", 7),
    ("ofile", 7),
    ("memlock", 8),
    ("as", 9),
    ("sigpending", 11),
    ("msgqueue", 12),
    ("nice", 13),
    ("rtprio", 14),
    ("rttime", 15),
];

/// Starts a process in a session of its own. Everything that needs a look-up (user names, expansion) is resolved by
/// the client; the core only does what the system does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spawn {
    /// Unique among the processes that the core knows.
    pub name: String,
    /// Drawn by the client for this very spawn: a repeated request with the same name and token is answered with
    /// the process that the first one made.
    pub token: u64,
    /// Lease or not.
    pub lifetime: Lifetime,
    /// How to stop it without a manager.
    pub stop: StopPlan,
    /// Program and arguments. Without a slash the program is looked up in `PATH` of `env`, else in `/bin:/usr/bin`.
    pub argv: Vec<Vec<u8>>,
    /// The whole environment.
    pub env: Vec<(Vec<u8>, Vec<u8>)>,
    /// Working directory; `None`: `/`.
    pub cwd: Option<Vec<u8>>,
    /// User to become.
    pub uid: Option<u32>,
    /// Group to become.
    pub gid: Option<u32>,
    /// Supplementary groups to set.
    pub groups: Option<Vec<u32>>,
    /// Limits to set.
    pub rlimits: Vec<Rlimit>,
    /// File mode mask.
    pub umask: Option<u32>,
    /// fd 0.
    pub stdin: Stdin,
    /// fd 1.
    pub stdout: Stdout,
    /// fd 2.
    pub stderr: Stdout,
    /// Listening sockets to inherit, each at its published number; a `reuse_port` one gets a fresh socket.
    pub sockets: Vec<String>,
    /// Bytes of each captured stream's ring.
    pub ring: u64,
    /// When nobody reads.
    pub overflow: Overflow,
    /// The client's own words about the process, given back by `List`.
    pub note: Vec<u8>,
    /// Later additions.
    pub ext: Ext,
}

impl Spawn {
    /// The addition about what is kept; `None` also when it cannot be read.
    pub fn keeping(&self) -> Option<Keeping> {
        let (tag, bytes) = self.ext.iter().find(|(tag, _)| *tag == Keeping::TAG)?;
        super::decode_body(*tag, bytes).ok()
    }
}

/// The answer to [`Spawn`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spawned {
    /// The process.
    pub process: ProcessInfo,
    /// Later additions.
    pub ext: Ext,
}

/// Whom a signal reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// The process itself, through its pidfd.
    Main,
    /// The direct children of the process, not itself.
    Children,
    /// All descendants, not itself.
    Descendants,
    /// The process, all descendants, and whatever else lives in its session, also after it has ended.
    Tree,
    /// One descendant by pid.
    Descendant(i32),
}

/// Sends a signal. A target that is gone is not an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signal {
    /// Which process.
    pub process: ProcessId,
    /// 1 to 64; 0 only looks.
    pub signal: i32,
    /// Whom it reaches.
    pub target: Target,
    /// Later additions.
    pub ext: Ext,
}

/// The answer to [`Signal`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signalled {
    /// Whom it reached.
    pub pids: Vec<i32>,
    /// Later additions.
    pub ext: Ext,
}

/// Asks for processes in the order of their ids, a page at a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct List {
    /// Those with a larger id; 0 for the first page.
    pub after: ProcessId,
    /// Beginning of the names.
    pub prefix: String,
    /// Later additions.
    pub ext: Ext,
}

/// The answer to [`List`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// At most [`crate::limits::MAX_PAGE`].
    pub processes: Vec<ProcessInfo>,
    /// Whether to ask again.
    pub more: bool,
    /// Later additions.
    pub ext: Ext,
}

/// How far one stream has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct StreamState {
    /// Whether it goes into a ring.
    pub captured: bool,
    /// Whether somebody may still write.
    pub open: bool,
    /// The first offset that has not been acknowledged and not been dropped.
    pub low: u64,
    /// The offset of the next byte to come.
    pub head: u64,
    /// The number of the record that covers `low`.
    pub first_record: u64,
    /// The number of the next record to come.
    pub records: u64,
    /// Bytes dropped so far.
    pub lost: u64,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExitStatus {
    /// By exit(2), with that status.
    Code(i32),
    /// By that signal.
    Signal(i32),
    /// It ended while nobody could see how.
    Unknown,
}

/// What a process used (getrusage(2)), with its waited-for children.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Rusage {
    /// Microseconds in user mode.
    pub user_us: u64,
    /// Microseconds in the system.
    pub system_us: u64,
    /// Largest resident set in KiB.
    pub max_rss_kib: u64,
}

/// The end of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// How.
    pub status: ExitStatus,
    /// Nanoseconds since the Unix epoch at which the core saw it.
    pub realtime_ns: u64,
    /// What it used.
    pub rusage: Rusage,
    /// How far stdout and stderr had come when the pipes were first empty after the end: its last words end there.
    pub heads: [u64; 2],
}

/// One process, whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessInfo {
    /// Names it in requests.
    pub id: ProcessId,
    /// As given.
    pub name: String,
    /// Its pid; still this one after the end.
    pub pid: i32,
    /// Nanoseconds since the Unix epoch at which it was started.
    pub started_ns: u64,
    /// Lease or not.
    pub lifetime: Lifetime,
    /// As given.
    pub note: Vec<u8>,
    /// stdout and stderr.
    pub streams: [StreamState; 2],
    /// When it has ended.
    pub exit: Option<Exit>,
}

/// Cast: everything below `offset` has been taken care of and may be overwritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// Which process.
    pub process: ProcessId,
    /// Which stream.
    pub stream: Stream,
    /// Not below the stream's `low`, not above its `head`; otherwise it is ignored.
    pub offset: u64,
}

/// Gives a process another lifetime from now on, also for a later core. Answered by `Done`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetLifetime {
    /// Which process.
    pub process: ProcessId,
    /// `Leased` only from the holder of the lease.
    pub lifetime: Lifetime,
    /// Later additions.
    pub ext: Ext,
}

/// Tag in [`SetLifetime::ext`], without bytes: nobody wants to hear of the process any more. Its output goes nowhere, and the core
/// forgets it when it ends. A core that does not know the tag keeps its end for somebody who asks.
pub const FORGET_AT_END: u16 = 1;

/// Forgets an ended process, its status and what is left of its output; its name is free again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forget {
    /// Which process.
    pub process: ProcessId,
    /// Later additions.
    pub ext: Ext,
}

/// Asks for the process file, to read output from it (see [`crate::ring`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenProcess {
    /// Which process.
    pub process: ProcessId,
    /// Later additions.
    pub ext: Ext,
}

/// The answer to [`OpenProcess`]; the descriptor of the file, read-only, comes beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessFile {
    /// The process as it is now.
    pub process: ProcessInfo,
    /// Later additions.
    pub ext: Ext,
}

/// Notice: a stream has come as far as `head`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// Which process.
    pub process: ProcessId,
    /// Which stream.
    pub stream: Stream,
    /// The offset of the next byte to come.
    pub head: u64,
    /// The number of the next record to come.
    pub records: u64,
}

/// Notice: a process has ended. Told once after each `Watch`, until it is forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exited {
    /// Which process.
    pub process: ProcessId,
    /// How.
    pub exit: Exit,
}

/// Notice: nobody can write to the stream any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamEnd {
    /// Which process.
    pub process: ProcessId,
    /// Which stream.
    pub stream: Stream,
    /// The final offset.
    pub head: u64,
    /// The number of records written in all.
    pub records: u64,
}
