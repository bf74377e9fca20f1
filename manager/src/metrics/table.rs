//! The list of all figures: a row each, with where its values come from.
//!
//! Rules, which tests hold: base units at the end of the name, `_total` for what only grows, `_info` for texts. Labels are what
//! the configuration bounds: watchers, the numbers of processes within them, commands, exit codes. Never a pid.

use super::Detail;
use super::facts::{Facts, WatcherFacts};
use super::render::{Number, Samples};
use crate::watcher::Status;
use ringmaster_protocol::message::StatusReply;
use ringmaster_protocol::status;
use std::time::Duration;

/// What a figure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// Only grows, and begins anew with circusd.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Always 1; its labels say something.
    Info,
    /// Durations by their length.
    Histogram,
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Things.
    None,
    /// Seconds; a point in time is counted from the Unix epoch.
    Seconds,
    /// Bytes.
    Bytes,
}

impl Unit {
    /// As it ends a name.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Seconds => Some("seconds"),
            Self::Bytes => Some("bytes"),
        }
    }
}

/// One figure.
#[derive(Debug)]
pub struct Metric {
    /// The name in queries; a histogram's is followed by `_bucket`, `_sum` and `_count`.
    pub name: &'static str,
    /// What it is.
    pub kind: MetricKind,
    /// What is counted.
    pub unit: Unit,
    /// What tells its series apart.
    pub labels: &'static [&'static str],
    /// One sentence.
    pub help: &'static str,
    /// Its values.
    pub(super) samples: fn(&Facts, &mut Samples<'_>),
}

const fn row(
    name: &'static str,
    (kind, unit): (MetricKind, Unit),
    labels: &'static [&'static str],
    help: &'static str,
    samples: fn(&Facts, &mut Samples<'_>),
) -> Metric {
    Metric { name, kind, unit, labels, help, samples }
}

const GAUGE: (MetricKind, Unit) = (MetricKind::Gauge, Unit::None);
const COUNTER: (MetricKind, Unit) = (MetricKind::Counter, Unit::None);
const INFO: (MetricKind, Unit) = (MetricKind::Info, Unit::None);
const BYTES: (MetricKind, Unit) = (MetricKind::Gauge, Unit::Bytes);
const BYTES_TOTAL: (MetricKind, Unit) = (MetricKind::Counter, Unit::Bytes);
const TIME: (MetricKind, Unit) = (MetricKind::Gauge, Unit::Seconds);
const SECONDS_TOTAL: (MetricKind, Unit) = (MetricKind::Counter, Unit::Seconds);
const DURATIONS: (MetricKind, Unit) = (MetricKind::Histogram, Unit::Seconds);

const WATCHER: &[&str] = &["watcher"];
const PROCESS: &[&str] = &["watcher", "wid"];

/// Every figure there is, in the order of the page.
#[rustfmt::skip]
pub const METRICS: &[Metric] = &[
    row("ringmaster_build_info", INFO, &["version", "protocol"], "The circusd that answers, and the version of the protocol to its core.", build),
    row("ringmaster_start_time_seconds", TIME, &[], "When this circusd began to count, in seconds since the Unix epoch.", |facts, out| out.put(&[], facts.snapshot.since)),
    row("ringmaster_snapshot_age_seconds", TIME, &[], "How old the figures of watchers and commands are; grows while circusd waits for its core.", |facts, out| out.put(&[], facts.age)),
    row("ringmaster_watchers", GAUGE, &["status"], "Watchers by their status.", watchers),
    row("ringmaster_watcher_active", GAUGE, WATCHER, "1 while the watcher is kept running, otherwise 0.", |facts, out| each(facts, out, |_, watcher| Some(Number::flag(watcher.status == Status::Active)))),
    row("ringmaster_watcher_processes", GAUGE, WATCHER, "Processes that live.", |facts, out| each(facts, out, |_, watcher| Some(watcher.processes.len().into()))),
    row("ringmaster_watcher_wanted_processes", GAUGE, WATCHER, "Processes that there shall be: numprocesses.", |facts, out| each(facts, out, |_, watcher| Some(watcher.wanted.into()))),
    row("ringmaster_watcher_starts_total", COUNTER, WATCHER, "Processes that were started.", |facts, out| each(facts, out, |_, watcher| Some(watcher.tally.starts.into()))),
    row("ringmaster_watcher_restarts_total", COUNTER, WATCHER, "Those of them that took the place of one that had ended, without a command.", |facts, out| each(facts, out, |_, watcher| Some(watcher.tally.restarts.into()))),
    row("ringmaster_watcher_failed_starts_total", COUNTER, WATCHER, "Processes that could not be started.", |facts, out| each(facts, out, |_, watcher| Some(watcher.tally.failed_starts.into()))),
    row("ringmaster_watcher_exits_total", COUNTER, &["watcher", "code"], "Processes that have ended, by exit status; a negative number is the signal that ended it, unknown when nobody saw it.", exits),
    row("ringmaster_watcher_cpu_seconds_total", SECONDS_TOTAL, WATCHER, "CPU time of the processes and of children that they have waited for.", |facts, out| each(facts, out, |facts, watcher| facts.cpu.get(&watcher.id).map(|time| (*time).into()))),
    row("ringmaster_watcher_resident_memory_bytes", BYTES, WATCHER, "Resident memory of the processes, without their children.", |facts, out| each(facts, out, |facts, watcher| Some(facts.figures(watcher).map(|figures| figures.resident).fold(0, u64::saturating_add).into()))),
    row("ringmaster_watcher_open_fds", GAUGE, WATCHER, "Open file descriptors of the processes.", |facts, out| each(facts, out, |facts, watcher| Some(facts.figures(watcher).filter_map(|figures| figures.open_files).fold(0, u64::saturating_add).into()))),
    row("ringmaster_watcher_oldest_process_start_time_seconds", TIME, WATCHER, "When the process that has lived the longest was started, in seconds since the Unix epoch.", |facts, out| each(facts, out, |_, watcher| starts(watcher).min_by(f64::total_cmp).map(Number::from))),
    row("ringmaster_watcher_newest_process_start_time_seconds", TIME, WATCHER, "When the last process that lives was started, in seconds since the Unix epoch.", |facts, out| each(facts, out, |_, watcher| starts(watcher).max_by(f64::total_cmp).map(Number::from))),
    row("ringmaster_watcher_buffered_bytes", BYTES, WATCHER, "Output that waits in the core and is not in its log yet.", |facts, out| each(facts, out, |facts, watcher| Some(facts.buffered.get(&watcher.id).copied().unwrap_or(0).into()))),
    row("ringmaster_watcher_lost_bytes_total", BYTES_TOTAL, WATCHER, "Output that is in no log.", |facts, out| each(facts, out, |_, watcher| Some(watcher.tally.lost.into()))),
    row("ringmaster_watcher_log_rotations_total", COUNTER, WATCHER, "Log files that were moved away for a new one; those that watchers share count for one of them.", |facts, out| each(facts, out, |_, watcher| Some(watcher.tally.rotations.into()))),
    row("ringmaster_process_pid", GAUGE, PROCESS, "The number that the system gave the process; with metrics_per_process only, as all of ringmaster_process_.", |facts, out| processes(facts, out, |process, _| Some(u64::try_from(process.pid).unwrap_or(0).into()))),
    row("ringmaster_process_start_time_seconds", TIME, PROCESS, "When the process was started, in seconds since the Unix epoch.", |facts, out| processes(facts, out, |process, _| Some(process.started.into()))),
    row("ringmaster_process_cpu_seconds_total", SECONDS_TOTAL, PROCESS, "CPU time of the process and of children that it has waited for.", |facts, out| processes(facts, out, |_, figures| figures.map(|figures| figures.cpu.into()))),
    row("ringmaster_process_resident_memory_bytes", BYTES, PROCESS, "Resident memory of the process.", |facts, out| processes(facts, out, |_, figures| figures.map(|figures| figures.resident.into()))),
    row("ringmaster_process_open_fds", GAUGE, PROCESS, "Open file descriptors of the process.", |facts, out| processes(facts, out, |_, figures| figures.and_then(|figures| figures.open_files).map(Number::from))),
    row("ringmaster_command_duration_seconds", DURATIONS, &["command"], "From a command's arrival to its answer, which for a waiting command is the end of what it began.", |facts, out| facts.snapshot.commands.iter().for_each(|(command, histogram)| out.histogram(&[command], histogram))),
    row("ringmaster_core_reachable", GAUGE, &[], "1 when the core has answered, otherwise 0, and then no other figure of ringmaster_core_ is there.", |facts, out| out.put(&[], Number::flag(facts.core.status().is_some()))),
    row("ringmaster_core_info", INFO, &["version"], "The core that answers.", |facts, out| core(facts, |status| out.put(&[&status.version], 1_u64))),
    row("ringmaster_core_start_time_seconds", TIME, &[], "When the core was started, in seconds since the Unix epoch.", |facts, out| core(facts, |status| out.put(&[], Duration::from_nanos(status.started_ns)))),
    row("ringmaster_core_safe_mode", GAUGE, &[], "1 while the core takes no requests because it has crashed several times, otherwise 0.", |facts, out| core(facts, |status| out.put(&[], Number::flag(status::is_in_safe_mode(status))))),
    row("ringmaster_core_guarantee", GAUGE, &["guarantee"], "1 when this promise of the core holds on this host, otherwise 0.", |facts, out| core(facts, |status| status.guarantees.iter().for_each(|one| out.put(&[&one.name], Number::flag(one.holds))))),
    row("ringmaster_core_deaths_total", COUNTER, &["half"], "How often a half of the core has died and was replaced, since the instance was made.", deaths),
    row("ringmaster_core_upgrades_total", COUNTER, &[], "How often the core's program was replaced, since the instance was made.", |facts, out| core(facts, |status| if let Some([_, _, upgrades]) = status::restarts(status) { out.put(&[], upgrades) })),
    row("ringmaster_core_processes", GAUGE, &[], "Processes of the core, with those whose end nobody has taken note of.", |facts, out| core(facts, |status| out.put(&[], status.processes))),
    row("ringmaster_core_sockets", GAUGE, &[], "Listening sockets of the core.", |facts, out| core(facts, |status| out.put(&[], status.sockets))),
    row("ringmaster_core_values", GAUGE, &[], "Values that the core keeps.", |facts, out| core(facts, |status| out.put(&[], status.values))),
    row("ringmaster_core_clients", GAUGE, &[], "Connections to the core.", |facts, out| core(facts, |status| out.put(&[], status.clients))),
    row("ringmaster_core_buffered_bytes", BYTES, &[], "Output of all processes that waits in the core.", |facts, out| core(facts, |status| out.put(&[], status.buffered_bytes))),
    row("ringmaster_core_lost_bytes_total", BYTES_TOTAL, &[], "Output that the core had to drop, since the instance was made.", |facts, out| core(facts, |status| out.put(&[], status.lost_bytes))),
    row("process_cpu_seconds_total", SECONDS_TOTAL, &[], "CPU time of circusd itself.", |facts, out| own(facts, out, |own| Some(own.cpu.into()))),
    row("process_resident_memory_bytes", BYTES, &[], "Resident memory of circusd itself.", |facts, out| own(facts, out, |own| Some(own.resident.into()))),
    row("process_virtual_memory_bytes", BYTES, &[], "Virtual memory of circusd itself.", |facts, out| own(facts, out, |own| Some(own.virtual_memory.into()))),
    row("process_open_fds", GAUGE, &[], "Open file descriptors of circusd itself.", |facts, out| own(facts, out, |own| own.open_files.map(Number::from))),
    row("process_start_time_seconds", TIME, &[], "When the process of circusd was started, in seconds since the Unix epoch; an upgrade does not change it.", |facts, out| own(facts, out, |own| Some(own.started.into()))),
];

fn build(_: &Facts, out: &mut Samples<'_>) {
    out.put(&[env!("CARGO_PKG_VERSION"), &ringmaster_protocol::message::PROTOCOL.to_string()], 1_u64);
}

fn watchers(facts: &Facts, out: &mut Samples<'_>) {
    for status in [Status::Stopped, Status::Starting, Status::Active, Status::Stopping] {
        let count = facts.snapshot.watchers.iter().filter(|watcher| watcher.status == status).count();
        out.put(&[status.name()], count);
    }
}

/// One value for each watcher that has it.
fn each(facts: &Facts, out: &mut Samples<'_>, value: impl Fn(&Facts, &WatcherFacts) -> Option<Number>) {
    for watcher in &facts.snapshot.watchers {
        if let Some(value) = value(facts, watcher) {
            out.put(&[&watcher.name], value);
        }
    }
}

fn exits(facts: &Facts, out: &mut Samples<'_>) {
    for watcher in &facts.snapshot.watchers {
        for (code, count) in &watcher.tally.exits {
            let code = code.map_or_else(|| "unknown".to_owned(), |code| code.to_string());
            out.put(&[&watcher.name, &code], *count);
        }
    }
}

fn starts(watcher: &WatcherFacts) -> impl Iterator<Item = f64> + '_ {
    watcher.processes.iter().map(|process| process.started)
}

/// One value for each process, when single processes are wanted.
fn processes(
    facts: &Facts,
    out: &mut Samples<'_>,
    value: impl Fn(&crate::arbiter::Sampled, Option<&crate::sampling::Figures>) -> Option<Number>,
) {
    let wanted = match facts.detail {
        Detail::Watchers => &[],
        Detail::Processes => facts.snapshot.watchers.as_slice(),
    };
    for watcher in wanted {
        for process in &watcher.processes {
            if let Some(value) = value(process, facts.processes.get(&process.pid)) {
                out.put(&[&watcher.name, &process.wid.to_string()], value);
            }
        }
    }
}

fn core(facts: &Facts, tell: impl FnOnce(&StatusReply)) {
    if let Some(status) = facts.core.status() {
        tell(status);
    }
}

fn deaths(facts: &Facts, out: &mut Samples<'_>) {
    if let Some([kernel, keeper, _]) = facts.core.status().and_then(status::restarts) {
        out.put(&["kernel"], kernel);
        out.put(&["keeper"], keeper);
    }
}

fn own(facts: &Facts, out: &mut Samples<'_>, value: impl Fn(&crate::sampling::Figures) -> Option<Number>) {
    if let Some(value) = facts.own.as_ref().and_then(value) {
        out.put(&[], value);
    }
}
