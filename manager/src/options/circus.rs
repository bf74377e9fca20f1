//! `[circus]`.

use super::{MetricsEndpoint, Seconds};
use std::path::PathBuf;

/// The `[circus]` section (spec a.4), typed.
#[derive(Debug, Clone, PartialEq)]
#[allow(clippy::struct_excessive_bools, reason = "each is an independent on/off option of Circus's own list")]
pub struct CircusOptions {
    /// ROUTER endpoint, default `tcp://127.0.0.1:5555`.
    pub endpoint: String,
    /// PUB endpoint, default `tcp://127.0.0.1:5556`.
    pub pubsub_endpoint: String,
    /// Statistics endpoint, default `tcp://127.0.0.1:5557`; shown by `globaloptions` even when unused.
    pub stats_endpoint: String,
    /// UDP discovery group as written; `None` when the value is empty.
    pub multicast_endpoint: Option<String>,
    /// Run circusd-stats.
    pub statsd: bool,
    /// Seconds between periodic checks; also the upper bound of the respawn back-off. 0 or less: no periodic check.
    pub check_delay: f64,
    /// How long a hook may take; 0: the default.
    pub hooks_timeout: Seconds,
    /// Whole seconds between the starts of two watchers.
    pub warmup_delay: u64,
    /// Umask of circusd, inherited by children.
    pub umask: Option<u32>,
    /// Where to write the pid.
    pub pidfile: Option<PathBuf>,
    /// `debug`, `info`, `warning`, `error`, `critical`, as written.
    pub loglevel: Option<String>,
    /// A file name, `-`, or `syslog://…`.
    pub logoutput: Option<String>,
    /// A file in a form of Python's `logging`, as written.
    pub loggerconfig: Option<String>,
    /// As written (`ipc://PATH` or `tcp://127.0.0.1:PORT`): where the core's own protocol is offered.
    pub papa_endpoint: Option<String>,
    /// The `papa` binary, when it is not beside circusd or on PATH.
    pub papa_path: Option<PathBuf>,
    /// The instance name, when given.
    pub instance: Option<String>,
    /// Where figures are read; `None`: nowhere.
    pub metrics_endpoint: Option<MetricsEndpoint>,
    /// Figures of single processes, too.
    pub metrics_per_process: bool,
    /// Whether `metrics_endpoint` may be an address that other hosts reach.
    pub metrics_remote: bool,
    /// Run the web console.
    pub httpd: bool,
    /// Web console host.
    pub httpd_host: String,
    /// Web console port.
    pub httpd_port: u16,
    /// Plugin children write to the terminal.
    pub debug: bool,
    /// Accepted, unused.
    pub debug_gc: bool,
    /// Owner of an `ipc://` endpoint.
    pub endpoint_owner: Option<String>,
    /// Prefix of the host name (attribute only).
    pub fqdn_prefix: Option<String>,
}

impl Default for CircusOptions {
    /// The values of an empty `[circus]` section (spec a.4).
    fn default() -> Self {
        Self {
            endpoint: "tcp://127.0.0.1:5555".to_owned(),
            pubsub_endpoint: "tcp://127.0.0.1:5556".to_owned(),
            stats_endpoint: "tcp://127.0.0.1:5557".to_owned(),
            multicast_endpoint: Some("udp://237.219.251.97:12027".to_owned()),
            statsd: false,
            check_delay: 5.0,
            hooks_timeout: Seconds::Fractional(30.0),
            warmup_delay: 0,
            umask: None,
            pidfile: None,
            loglevel: None,
            logoutput: None,
            loggerconfig: None,
            papa_endpoint: None,
            papa_path: None,
            instance: None,
            metrics_endpoint: None,
            metrics_per_process: false,
            metrics_remote: false,
            httpd: false,
            httpd_host: "localhost".to_owned(),
            httpd_port: 8080,
            debug: false,
            debug_gc: false,
            endpoint_owner: None,
            fqdn_prefix: None,
        }
    }
}
