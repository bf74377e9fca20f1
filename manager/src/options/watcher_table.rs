//! The options of a watcher: one row each.
//!
//! A new option is a field of [`WatcherOptions`], its default, and a row here; reading a file, `options`, `get`,
//! `set`, `add` and help follow from the row.

use super::kind::{Kind, field};
use super::{Expected, OptionError, SizeRange, WatcherOptions};
use ringmaster_protocol::limits::{MAX_RING, MAX_SPILL, MIN_RING};
use serde_json::{Map, Value};

/// What a change by `set` leads to (spec c.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The watcher is brought to its target at once.
    Manage,
    /// The watcher's processes are replaced by a graceful reload, unless it is stopped.
    Reload,
}

/// How `options` and `get` show the option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// Under its own name.
    Plain,
    /// Under another name.
    As(&'static str),
    /// As null, whatever was given: Circus forgets the value (spec a.5, `executable`).
    Null,
    /// Only when it was given.
    WhenGiven,
    /// Never.
    Hidden,
}

/// Whether the option does anything in this version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It works.
    Acts,
    /// It is read, checked and shown, and has no effect yet: using it is worth a warning.
    NotYet,
    /// It has no effect in Circus either.
    Ignored,
}

/// One option of `[watcher:NAME]` (spec a.5, c.8).
pub struct WatcherOption {
    /// The key; the part before the separator for a family such as `rlimit_NAME`.
    pub name: &'static str,
    /// For a family: what separates its name from the member's.
    pub separator: Option<char>,
    /// Type, and where the value lives.
    pub kind: Kind<WatcherOptions>,
    /// How `options` shows it.
    pub shown: Shown,
    /// Whether `set` and `add` accept it.
    pub settable: bool,
    /// What a change leads to.
    pub change: Change,
    /// Whether it does anything.
    pub effect: Effect,
    /// One line for people.
    pub help: &'static str,
}

impl WatcherOption {
    /// The row for a key as it stands in a file or in a `set` request.
    pub fn find(key: &str) -> Option<&'static Self> {
        WATCHER_OPTIONS.iter().find(|row| row.matches(key))
    }

    fn matches(&self, key: &str) -> bool {
        match (key.strip_prefix(self.name), self.separator) {
            (Some(""), _) => true,
            (Some(rest), Some(separator)) => rest.starts_with(separator),
            (Some(_), None) | (None, _) => false,
        }
    }

    /// Reads a file's text for `key` into `watcher`.
    ///
    /// # Errors
    /// What the text should have been; the watcher is then unchanged.
    pub fn read(&self, watcher: &mut WatcherOptions, key: &str, text: &str) -> Result<(), Expected> {
        self.kind.read(watcher, key, text)
    }

    /// The value as JSON, in the type that Circus shows (spec c.8).
    pub fn get(&self, watcher: &WatcherOptions) -> Value {
        match self.shown {
            Shown::Null => Value::Null,
            Shown::Plain | Shown::As(_) | Shown::WhenGiven | Shown::Hidden => self.kind.get(watcher),
        }
    }

    /// Whether the value is text, which is expanded with the watcher's own environment only (spec a.3 item 3).
    pub fn is_text(&self) -> bool {
        match self.kind {
            Kind::Text(_)
            | Kind::MaybeText(_)
            | Kind::TextUnlessEmpty(_)
            | Kind::Directory(_)
            | Kind::Args(_)
            | Kind::Identity(_)
            | Kind::Stream(..)
            | Kind::Hooks(_) => true,
            // `executable` goes the way of numbers in Circus.
            Kind::MaybePath(_)
            | Kind::Flag(_)
            | Kind::MaybeFlag(_)
            | Kind::Count(_)
            | Kind::Processes(_)
            | Kind::Whole(_)
            | Kind::Integer(_)
            | Kind::Port(_)
            | Kind::Octal(_)
            | Kind::WholeSeconds(_)
            | Kind::FloatSeconds(_)
            | Kind::Period(_)
            | Kind::Signal(_)
            | Kind::Retries(_)
            | Kind::Size(..)
            | Kind::Overflow(_)
            | Kind::Metrics(_)
            | Kind::Env(_)
            | Kind::Rlimits(_)
            | Kind::Family(_)
            | Kind::SocketKind(_) => false,
        }
    }

    /// The value of a watcher that does not mention this option.
    pub fn default_value(&self) -> Value {
        self.get(&WatcherOptions::new(""))
    }

    /// Whether `watcher` holds something else than the default.
    pub fn is_changed(&self, watcher: &WatcherOptions) -> bool {
        self.kind.get(watcher) != self.kind.get(&WatcherOptions::new(""))
    }

    /// Checks a client's value without storing it (spec c.8; `set` and `add` check everything first).
    ///
    /// # Errors
    /// Circus's texts of errno 3.
    pub fn check(&self, key: &str, value: &Value) -> Result<(), OptionError> {
        if !self.settable {
            return Err(OptionError::UnknownKey(key.to_owned()));
        }
        self.kind.check(key, value)
    }

    /// Checks and stores a client's value.
    ///
    /// # Errors
    /// As [`check`](Self::check), and the errors of errno 5; the watcher is then unchanged.
    pub fn set(&self, watcher: &mut WatcherOptions, key: &str, value: &Value) -> Result<(), OptionError> {
        self.check(key, value)?;
        if self.name == "numprocesses" && watcher.singleton && value.as_i64().is_some_and(|wanted| wanted > 1) {
            return Err(OptionError::Singleton);
        }
        self.kind.assign(watcher, key, value)
    }
}

/// A key that `set` and `add` take, check and forget (spec c.8); in a file it is a custom option, for the flapping plugin.
const FORGOTTEN_KEY: &str = "retry_in";

/// Checks one key of a `set` or `add` request without storing it. Both check all keys before they change anything.
///
/// # Errors
/// Circus's texts of errno 3; an unknown or not settable key is `unknown key 'X'`.
pub fn check(key: &str, value: &Value) -> Result<(), OptionError> {
    match WatcherOption::find(key) {
        Some(row) => row.check(key, value),
        None if key != FORGOTTEN_KEY => Err(OptionError::UnknownKey(key.to_owned())),
        None if value.is_number() || value.is_boolean() => Ok(()),
        None => Err(OptionError::NotNumber(key.to_owned())),
    }
}

/// What `set` does for one key: checks it, stores it, and says what follows.
///
/// # Errors
/// As [`check`], and what only shows while the value is stored (errno 5).
pub fn set(watcher: &mut WatcherOptions, key: &str, value: &Value) -> Result<Change, OptionError> {
    check(key, value)?;
    match WatcherOption::find(key) {
        Some(row) => row.set(watcher, key, value).map(|()| row.change),
        None => Ok(Change::Manage),
    }
}

/// The object that the `options` command answers with: every shown row and every custom key, sorted (spec c.8).
pub fn shown(watcher: &WatcherOptions) -> Map<String, Value> {
    let custom = watcher.extra.iter().map(|(key, text)| (key.clone(), Value::from(text.as_str())));
    let mut entries: Vec<(String, Value)> = custom.collect();
    for row in WATCHER_OPTIONS {
        let name = match row.shown {
            Shown::Plain | Shown::Null => row.name,
            Shown::As(name) => name,
            Shown::WhenGiven if row.is_changed(watcher) => row.name,
            Shown::WhenGiven | Shown::Hidden => continue,
        };
        entries.push((name.to_owned(), row.get(watcher)));
    }
    entries.sort_by(|a, b| a.0.cmp(&b.0));
    entries.into_iter().collect()
}

/// The value of one shown option or custom key by the name that [`shown`] gives it; what `get` answers.
pub fn get(watcher: &WatcherOptions, name: &str) -> Option<Value> {
    shown(watcher).remove(name)
}

type Watcher = WatcherOptions;

/// A row that is shown and can be set, as most are.
const fn row(name: &'static str, kind: Kind<Watcher>, change: Change, help: &'static str) -> WatcherOption {
    WatcherOption {
        name,
        separator: None,
        kind,
        shown: Shown::Plain,
        settable: true,
        change,
        effect: Effect::Acts,
        help,
    }
}

impl WatcherOption {
    const fn not_settable(mut self) -> Self {
        self.settable = false;
        self
    }

    const fn shown(mut self, shown: Shown) -> Self {
        self.shown = shown;
        self
    }

    const fn effect(mut self, effect: Effect) -> Self {
        self.effect = effect;
        self
    }

    const fn family(mut self, separator: char) -> Self {
        self.separator = Some(separator);
        self
    }
}

use Change::{Manage, Reload};
use Effect::Ignored;
use Kind::{
    Args, Directory, Env, Flag, FloatSeconds, Hooks, Identity, Integer, MaybeFlag, MaybePath, MaybeText, Overflow,
    Processes, Retries, Rlimits, Signal, Size, Stream, Text, Whole, WholeSeconds,
};
use Shown::{As, Hidden, Null, WhenGiven};

const RING_SIZES: SizeRange = SizeRange { least: MIN_RING, most: MAX_RING };
const SPILL_SIZES: SizeRange = SizeRange { least: MIN_RING, most: MAX_SPILL };

/// Every option of a watcher. Keys that match no row are custom options, kept as text in `extra`.
#[rustfmt::skip]
pub const WATCHER_OPTIONS: &[WatcherOption] = &[
    // What runs.
    row("cmd", Text(field!(cmd)), Reload, "the command; split like a shell does, variables expanded"),
    row("args", Args(field!(args)), Reload, "arguments after the command; text or, from a client, a list"),
    row("shell", Flag(field!(shell)), Reload, "run the command through /bin/sh -c"),
    row("shell_args", MaybeText(field!(shell_args)), Reload, "arguments for the shell's command").not_settable(),
    row("executable", MaybePath(field!(executable)), Reload, "the file to execute instead of the command's first word")
        .not_settable().shown(Null),
    row("working_dir", Directory(field!(working_dir)), Reload, "working directory; default circusd's own"),
    row("uid", Identity(field!(uid)), Reload, "user name or number"),
    row("gid", Identity(field!(gid)), Reload, "group name or number; default the user's primary group"),
    row("rlimit", Rlimits(field!(rlimits)), Manage, "rlimit_NAME: soft and hard resource limit; empty means none")
        .family('_').shown(Hidden),
    // Its environment.
    row("env", Env(field!(env)), Reload, "the environment; in a file it comes from [env] and [env:NAME] sections"),
    row("copy_env", Flag(field!(copy_env)), Manage, "start from circusd's environment (when the file is read)"),
    row("copy_path", Flag(field!(copy_path)), Manage, "PYTHONPATH is where python3 finds modules; needs copy_env")
        .not_settable().shown(Hidden),
    row("virtualenv", MaybeText(field!(virtualenv)), Reload, "a virtualenv to put in front; needs copy_env")
        .not_settable().shown(Hidden),
    row("virtualenv_py_ver", MaybeText(field!(virtualenv_py_ver)), Reload, "Python version of the virtualenv; default its newest")
        .not_settable().shown(Hidden),
    // How many, when, for how long.
    row("numprocesses", Processes(field!(numprocesses)), Manage, "how many processes"),
    row("singleton", Flag(field!(singleton)), Manage, "at most one process"),
    row("warmup_delay", WholeSeconds(field!(warmup_delay)), Manage, "seconds between two spawns"),
    row("autostart", Flag(field!(autostart)), Manage, "start with circusd").not_settable().shown(Hidden),
    row("priority", Integer(field!(priority)), Manage, "high starts first, low stops first").not_settable(),
    row("on_demand", Flag(field!(on_demand)), Manage, "start at the first connection to one of its sockets")
        .not_settable(),
    row("respawn", Flag(field!(respawn)), Manage, "replace processes that end"),
    row("max_retry", Retries(field!(max_retry)), Manage, "failing spawns in a row before giving up; -1 for no limit"),
    row("max_age", Whole(field!(max_age)), Reload, "seconds after which a process is replaced; 0 for never"),
    row("max_age_variance", Whole(field!(max_age_variance)), Reload, "random seconds added to max_age"),
    row("use_papa", Flag(field!(use_papa)), Manage, "the processes outlive circusd").not_settable().shown(Hidden),
    row("check_flapping", MaybeFlag(field!(check_flapping)), Manage, "accepted for old files")
        .not_settable().shown(WhenGiven).effect(Ignored),
    // How it stops and reloads.
    row("stop_signal", Signal(field!(stop_signal)), Manage, "the signal that asks a process to end"),
    row("stop_children", Flag(field!(stop_children)), Manage, "signal the process's children, too"),
    row("graceful_timeout", FloatSeconds(field!(graceful_timeout)), Manage, "seconds before SIGKILL"),
    row("send_hup", Flag(field!(send_hup)), Manage, "reload by SIGHUP instead of replacing processes"),
    // Its files.
    row("use_sockets", Flag(field!(use_sockets)), Reload, "processes inherit all sockets").not_settable(),
    row("stdin_socket", MaybeText(field!(stdin_socket)), Reload, "the socket placed on standard input")
        .not_settable().shown(Hidden),
    row("stdout_stream", Stream("stdout_stream", field!(stdout_stream)), Reload, "stdout_stream.KEY: where output goes")
        .family('.').shown(As("stdout_stream_conf")),
    row("stderr_stream", Stream("stderr_stream", field!(stderr_stream)), Reload, "stderr_stream.KEY: where errors go")
        .family('.').shown(As("stderr_stream_conf")),
    // While nobody reads it: ours, not Circus's.
    row("overflow", Overflow(field!(overflow)), Reload, "a full buffer that nobody reads: drop-oldest, block, drop-newest or spill")
        .shown(WhenGiven),
    row("ring_size", Size(field!(ring_size), RING_SIZES), Reload, "the buffer of each stream, in memory; 64K to 1G")
        .shown(WhenGiven),
    row("spill_dir", MaybePath(field!(spill_dir)), Reload, "the directory for overflow = spill").shown(WhenGiven),
    row("spill_quota", Size(field!(spill_quota), SPILL_SIZES), Reload, "what each stream may take there; 64K to 1T")
        .shown(WhenGiven),
    row("close_child_stdin", Flag(field!(close_child_stdin)), Manage, "standard input is /dev/null"),
    row("close_child_stdout", Flag(field!(close_child_stdout)), Manage, "standard output is /dev/null"),
    row("close_child_stderr", Flag(field!(close_child_stderr)), Manage, "standard error is /dev/null"),
    // Who is asked.
    row("hooks", Hooks(field!(hooks)), Manage, "hooks.NAME: dotted.name or exec:PROGRAM[, ignore failure]")
        .family('.').shown(Hidden),
    row("hooks_timeout", FloatSeconds(field!(hooks_timeout)), Manage, "seconds that a hook, or a call of a stream class, may take; 0: as [circus] says")
        .shown(WhenGiven),
];
