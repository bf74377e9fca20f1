//! The options of `[circus]`: one row each.

use super::kind::{Kind, field};
use super::watcher_table::Effect;
use super::{CircusOptions, Expected};
use serde_json::{Map, Value};

/// One option of `[circus]` (spec a.4).
pub struct CircusOption {
    /// The key.
    pub name: &'static str,
    /// Type, and where the value lives.
    pub kind: Kind<CircusOptions>,
    /// Whether it does anything.
    pub effect: Effect,
    /// One line for people.
    pub help: &'static str,
}

impl CircusOption {
    /// The row of a key.
    pub fn find(key: &str) -> Option<&'static Self> {
        CIRCUS_OPTIONS.iter().find(|row| row.name == key)
    }

    /// Reads a file's text.
    ///
    /// # Errors
    /// What the text should have been; `circus` is then unchanged.
    pub fn read(&self, circus: &mut CircusOptions, text: &str) -> Result<(), Expected> {
        self.kind.read(circus, self.name, text)
    }

    /// The value as JSON.
    pub fn get(&self, circus: &CircusOptions) -> Value {
        self.kind.get(circus)
    }
}

/// What `globaloptions` shows, in its order (spec c.7).
pub const GLOBAL_OPTIONS: &[&str] =
    &["endpoint", "stats_endpoint", "pubsub_endpoint", "check_delay", "multicast_endpoint"];

/// The object that `globaloptions` answers with.
pub fn global_options(circus: &CircusOptions) -> Map<String, Value> {
    let rows = GLOBAL_OPTIONS.iter().filter_map(|name| CircusOption::find(name));
    rows.map(|row| (row.name.to_owned(), row.get(circus))).collect()
}

/// Keys that Circus documents or accepts and never reads from the file (spec a.4).
pub const CIRCUS_KEYS_NEVER_READ: &[&str] =
    &["statsd_close_outputs", "httpd_close_outputs", "stream_backend", "ssh_server", "prereload_fn"];

const fn row(name: &'static str, kind: Kind<CircusOptions>, effect: Effect, help: &'static str) -> CircusOption {
    CircusOption { name, kind, effect, help }
}

use Effect::{Acts, Ignored, NotYet};
use Kind::{Flag, FloatSeconds, MaybePath, MaybeText, Metrics, Octal, Period, Port, Text, TextUnlessEmpty, Whole};

/// Every option of `[circus]`. `include` and `include_dir` are read before, by `config::include`.
#[rustfmt::skip]
pub const CIRCUS_OPTIONS: &[CircusOption] = &[
    row("endpoint", Text(field!(endpoint)), Acts, "where commands are taken"),
    row("endpoint_owner", MaybeText(field!(endpoint_owner)), Acts, "owner of an ipc:// endpoint's file"),
    row("pubsub_endpoint", Text(field!(pubsub_endpoint)), Acts, "where events are published"),
    row("stats_endpoint", Text(field!(stats_endpoint)), Acts, "where statistics are published; turns statsd on"),
    row("statsd", Flag(field!(statsd)), Acts, "publish statistics"),
    row("metrics_endpoint", Metrics(field!(metrics_endpoint)), Acts, "where figures are read, such as http://127.0.0.1:9464/metrics"),
    row("metrics_per_process", Flag(field!(metrics_per_process)), Acts, "figures of single processes, too"),
    row("metrics_remote", Flag(field!(metrics_remote)), Acts, "metrics_endpoint may be an address that other hosts reach"),
    row("multicast_endpoint", TextUnlessEmpty(field!(multicast_endpoint)), Acts, "UDP discovery; empty turns it off"),
    row("check_delay", Period(field!(check_delay)), Acts, "seconds between checks, and the longest respawn back-off"),
    row("hooks_timeout", FloatSeconds(field!(hooks_timeout)), Acts, "seconds that a hook, or a call of a stream class, may take; 0 for the default"),
    row("warmup_delay", Whole(field!(warmup_delay)), Acts, "whole seconds between the starts of two watchers"),
    row("umask", Octal(field!(umask)), Acts, "umask of circusd and its children, octal"),
    row("httpd", Flag(field!(httpd)), NotYet, "run the web console"),
    row("httpd_host", Text(field!(httpd_host)), NotYet, "the web console's host"),
    row("httpd_port", Port(field!(httpd_port)), NotYet, "the web console's port"),
    row("debug", Flag(field!(debug)), Acts, "plugins write to the terminal"),
    row("debug_gc", Flag(field!(debug_gc)), Ignored, "accepted for old files"),
    row("pidfile", MaybePath(field!(pidfile)), Acts, "where the pid is written"),
    row("loglevel", MaybeText(field!(loglevel)), Acts, "debug, info, warning, error or critical"),
    row("logoutput", MaybeText(field!(logoutput)), Acts, "a file, -, syslog://HOST[:PORT][?FACILITY] or syslog:///PATH[?FACILITY]"),
    row("loggerconfig", MaybeText(field!(loggerconfig)), Acts, "a Python logging configuration, JSON or INI"),
    row("fqdn_prefix", MaybeText(field!(fqdn_prefix)), Ignored, "prefix of the host name"),
    row("papa_endpoint", TextUnlessEmpty(field!(papa_endpoint)), Acts, "where the core's own protocol is offered"),
    row("papa_path", MaybePath(field!(papa_path)), Acts, "the papa binary"),
    row("instance", TextUnlessEmpty(field!(instance)), Acts, "name of the core instance"),
];
