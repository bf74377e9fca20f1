//! `[watcher:NAME]`.

use super::{Overflow, Seconds, Signal, SocketOptions, StreamOptions};
use ringmaster_protocol::limits::DEFAULT_RING;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// `args`: text that is split like a shell does, or the list that `add` may give (spec a.3 item 7).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Args {
    /// From a file.
    Text(String),
    /// From a client; used element-wise.
    List(Vec<String>),
}

/// A user or a group as configured; resolved at spawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// A name.
    Name(String),
    /// A number.
    Id(u32),
}

/// `max_retry`: how often a failing spawn is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retries {
    /// -1
    Unlimited,
    /// That many attempts in a row.
    Times(u32),
}

/// The value of one `rlimit_NAME`: soft and hard limit alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RlimitValue {
    /// Empty in the file.
    Infinity,
    /// In the unit of setrlimit(2).
    At(u64),
}

/// The most processes of a watcher: what a core can own in all. Without an end, one wrong number would keep circusd busy for hours.
pub const MAX_PROCESSES: u32 = 16_384;

/// `spill_quota`: a night of a talkative process.
const DEFAULT_SPILL_QUOTA: u64 = 1 << 30;

/// One watcher section (spec a.5), typed. Built by `config`, changed by `set`.
#[derive(Debug, Clone, PartialEq)]
#[allow(clippy::struct_excessive_bools, reason = "each is an independent on/off option of Circus's own list")]
pub struct WatcherOptions {
    /// As written; looked up in lower case.
    pub name: String,
    /// The command, before expansion and splitting. Empty: the watcher cannot start.
    pub cmd: String,
    /// Arguments.
    pub args: Args,
    /// How many processes.
    pub numprocesses: u32,
    /// Pause between two spawns.
    pub warmup_delay: Seconds,
    /// Working directory; `None`: circusd's own.
    pub working_dir: Option<PathBuf>,
    /// Run through `/bin/sh -c`.
    pub shell: bool,
    /// Appended after the shell's command string.
    pub shell_args: Option<String>,
    /// User.
    pub uid: Option<Identity>,
    /// Group.
    pub gid: Option<Identity>,
    /// Reload by SIGHUP.
    pub send_hup: bool,
    /// Stop signal.
    pub stop_signal: Signal,
    /// Signal direct children, too.
    pub stop_children: bool,
    /// From the stop signal to SIGKILL.
    pub graceful_timeout: Seconds,
    /// Spawn attempts.
    pub max_retry: Retries,
    /// High starts first, low stops first.
    pub priority: i64,
    /// At most one process.
    pub singleton: bool,
    /// Children inherit all sockets.
    pub use_sockets: bool,
    /// Start on the first connection to a socket that the watcher holds.
    pub on_demand: bool,
    /// Start with circusd.
    pub autostart: bool,
    /// Replace processes that end.
    pub respawn: bool,
    /// Seconds after which a process is replaced; 0: never.
    pub max_age: u64,
    /// Random seconds added to `max_age`.
    pub max_age_variance: u64,
    /// Resource limits by lower-case name without prefix (`nofile`).
    pub rlimits: BTreeMap<String, RlimitValue>,
    /// Start from circusd's environment.
    pub copy_env: bool,
    /// Set PYTHONPATH to the module folders of python3.
    pub copy_path: bool,
    /// The complete environment for children before `$NAME` substitution (spec a.8): copy_env, `[env]`, `[env:…]` merged.
    pub env: BTreeMap<String, String>,
    /// stdout's stream; `None`: inherited from circusd.
    pub stdout_stream: Option<StreamOptions>,
    /// stderr's stream.
    pub stderr_stream: Option<StreamOptions>,
    /// When nobody reads the output.
    pub overflow: Overflow,
    /// Bytes of each stream's buffer in the core.
    pub ring_size: u64,
    /// Where output is spilled.
    pub spill_dir: Option<PathBuf>,
    /// Bytes that each stream may have there.
    pub spill_quota: u64,
    /// fd 0 is /dev/null (default true).
    pub close_child_stdin: bool,
    /// fd 1 is /dev/null.
    pub close_child_stdout: bool,
    /// fd 2 is /dev/null.
    pub close_child_stderr: bool,
    /// Socket placed on fd 0.
    pub stdin_socket: Option<String>,
    /// Persistent: survives circusd.
    pub use_papa: bool,
    /// Hook name to `(dotted.name or exec:…, ignore failure)` as written.
    pub hooks: BTreeMap<String, (String, bool)>,
    /// How long a hook may take; 0: as `[circus]` says.
    pub hooks_timeout: Seconds,
    /// virtualenv path; `env` has its folders in front already.
    pub virtualenv: Option<String>,
    /// Python version of the virtualenv, as written.
    pub virtualenv_py_ver: Option<String>,
    /// The file to execute instead of the command's first word, or of the shell (Circus reads and forgets it).
    pub executable: Option<PathBuf>,
    /// Accepted and shown when given; Circus has no use for it either.
    pub check_flapping: Option<bool>,
    /// Every other key as written, `__name__` among them: shown by `options`, usable as `$(circus.key)`.
    pub extra: BTreeMap<String, String>,
}

impl WatcherOptions {
    /// Whether command or arguments name `$(circus.sockets.NAME)`, in any case; `name` is in lower case.
    pub fn mentions_socket(&self, name: &str) -> bool {
        let variable = format!("circus.sockets.{name}");
        let mentions = |text: &str| text.to_lowercase().contains(&variable);
        let args = match &self.args {
            Args::Text(text) => mentions(text),
            Args::List(words) => words.iter().any(|word| mentions(word)),
        };
        args || mentions(&self.cmd)
    }

    /// Whether its processes get this socket, or at least its number (spec f.4, f.12).
    pub fn holds_socket(&self, socket: &SocketOptions) -> bool {
        if socket.so_reuseport { self.mentions_socket(&socket.name) } else { self.holds(&socket.name) }
    }

    /// The same of a socket that all processes share, by its name in lower case.
    pub fn holds(&self, name: &str) -> bool {
        let on_stdin = self.stdin_socket.as_deref();
        on_stdin.is_some_and(|stdin| stdin.to_lowercase() == name) || self.mentions_socket(name) || self.use_sockets
    }

    /// A watcher of that name with every option at its default (spec a.5), `__name__` not set.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            cmd: String::new(),
            args: Args::Text(String::new()),
            numprocesses: 1,
            warmup_delay: Seconds::Whole(0),
            working_dir: None,
            shell: false,
            shell_args: None,
            uid: None,
            gid: None,
            send_hup: false,
            stop_signal: Signal::TERM,
            stop_children: false,
            graceful_timeout: Seconds::Fractional(30.0),
            max_retry: Retries::Times(5),
            priority: 0,
            singleton: false,
            use_sockets: false,
            on_demand: false,
            autostart: true,
            respawn: true,
            max_age: 0,
            max_age_variance: 30,
            rlimits: BTreeMap::new(),
            copy_env: false,
            copy_path: false,
            env: BTreeMap::new(),
            stdout_stream: None,
            stderr_stream: None,
            overflow: Overflow::DropOldest,
            ring_size: DEFAULT_RING,
            spill_dir: None,
            spill_quota: DEFAULT_SPILL_QUOTA,
            close_child_stdin: true,
            close_child_stdout: false,
            close_child_stderr: false,
            stdin_socket: None,
            use_papa: false,
            hooks: BTreeMap::new(),
            hooks_timeout: Seconds::Fractional(0.0),
            virtualenv: None,
            virtualenv_py_ver: None,
            executable: None,
            check_flapping: None,
            extra: BTreeMap::new(),
        }
    }
}

/// Every hook point that Circus calls (spec i).
pub const HOOK_NAMES: &[&str] = &[
    "before_start",
    "after_start",
    "before_spawn",
    "after_spawn",
    "before_signal",
    "after_signal",
    "before_stop",
    "after_stop",
    "before_reap",
    "after_reap",
    "extended_stats",
];

/// The resource limits of Linux by lower-case name without prefix (getrlimit(2), Python's `resource` module).
pub const RLIMIT_NAMES: &[&str] = &[
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// The limit's own name for any spelling: any case; `ofile` is Python's other word for `nofile`.
pub(super) fn rlimit_name(text: &str) -> Option<&'static str> {
    let lower = text.to_lowercase();
    let wanted = if lower == "ofile" { "nofile" } else { lower.as_str() };
    RLIMIT_NAMES.iter().find(|name| **name == wanted).copied()
}

/// The limits' names for a sentence.
pub(super) fn rlimit_names() -> String {
    RLIMIT_NAMES.join(", ")
}
