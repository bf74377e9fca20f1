//! The page word for word, and the rules of names.

use super::*;
use crate::arbiter::Sampled;
use crate::sampling::Figures;
use crate::watcher::{Status, Tally, WatcherId};
use ringmaster_protocol::message::{DEATHS, Guarantee, StatusReply};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

fn status() -> StatusReply {
    StatusReply {
        version: "9.9".to_owned(),
        keeper_pid: 1,
        kernel_pid: 2,
        started_ns: 1_500_000_000,
        uptime_ms: 5,
        processes: 3,
        sockets: 2,
        values: 1,
        clients: 4,
        buffered_bytes: 70,
        lost_bytes: 7,
        lease: None,
        guarantees: vec![Guarantee { name: "kill-tree".to_owned(), holds: false, reason: "a test".to_owned() }],
        ext: vec![(DEATHS, [1_u64, 2, 3].map(u64::to_le_bytes).concat())],
    }
}

fn figures(cpu: u64) -> Figures {
    Figures {
        cpu: Duration::from_millis(cpu),
        resident: 1000,
        virtual_memory: 5000,
        open_files: Some(4),
        started: 1000.5,
    }
}

fn watcher(id: u32, name: &str, processes: Vec<Sampled>) -> WatcherFacts {
    let status = if processes.is_empty() { Status::Stopped } else { Status::Active };
    WatcherFacts { id: WatcherId(id), name: name.to_owned(), status, wanted: 2, processes, tally: Tally::default() }
}

fn facts(detail: Detail) -> Facts {
    let process = |pid, wid| Sampled { pid, started: 100.0 + f64::from(pid), wid, lost: 0 };
    let mut web = watcher(1, "we\"b\\\n", vec![process(10, 1), process(11, 2), process(12, 3)]);
    web.tally = Tally {
        starts: 5,
        restarts: 2,
        failed_starts: 1,
        exits: BTreeMap::from([(None, 1), (Some(-9), 2), (Some(0), 3)]),
        cpu: Duration::from_millis(250),
        lost: 6,
        rotations: 8,
    };
    let snapshot = Snapshot {
        since: 1_700_000_000.25,
        watchers: vec![web, watcher(2, "z", Vec::new())],
        commands: BTreeMap::new(),
    };
    // 12 has ended since the snapshot was made.
    let processes = BTreeMap::from([(10, figures(1000)), (11, figures(500))]);
    let cpu = CpuMarks::default().raise(&snapshot, &processes);
    let buffered = BTreeMap::from([(WatcherId(1), 17)]);
    let (age, core, own) = (Duration::from_millis(5), Core::Reachable(Box::new(status())), Some(figures(20)));
    Facts { snapshot, age, core, buffered, own, processes, cpu, detail }
}

/// Lines of `text` that begin so, comments left out.
fn lines<'a>(text: &'a str, start: &str) -> Vec<&'a str> {
    text.lines().filter(|line| line.starts_with(start)).collect()
}

#[test]
fn the_page_of_version_0_0_4() {
    let mut facts = facts(Detail::Watchers);
    let mut histogram = Histogram::default();
    histogram.observe(Duration::from_millis(250));
    facts.snapshot.commands.insert("stop", histogram);
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/metrics.txt");
    let expected = std::fs::read_to_string(golden).unwrap().replace("VERSION", env!("CARGO_PKG_VERSION"));
    let page = render(&facts, Format::Text);
    assert_eq!(page, expected, "the whole page is:\n{page}");
}

#[test]
fn what_open_metrics_writes_otherwise() {
    let mut facts = facts(Detail::Watchers);
    facts.snapshot.commands.insert("stop", Histogram::default());
    let text = render(&facts, Format::OpenMetrics);
    assert!(text.ends_with("\n# EOF\n"));
    for line in [
        "# TYPE ringmaster_build info",
        "# TYPE ringmaster_watcher_cpu_seconds counter",
        "# UNIT ringmaster_watcher_cpu_seconds seconds",
        "ringmaster_watcher_cpu_seconds_total{watcher=\"z\"} 0",
        "ringmaster_command_duration_seconds_bucket{command=\"stop\",le=\"1.0\"} 0",
        "# UNIT ringmaster_watcher_lost_bytes bytes",
    ] {
        assert!(text.lines().any(|there| there == line), "{line} is missing in\n{text}");
    }
    // Values are the same in both.
    let values = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| !line.starts_with('#') && !line.contains("le="));
        lines.map(str::to_owned).collect()
    };
    assert_eq!(values(&text), values(&render(&facts, Format::Text)));
}

#[test]
fn single_processes_only_when_they_are_wanted() {
    assert!(lines(&render(&facts(Detail::Watchers), Format::Text), "ringmaster_process_").is_empty());
    let text = render(&facts(Detail::Processes), Format::Text);
    let pids = lines(&text, "ringmaster_process_pid{");
    assert_eq!(pids.len(), 3, "{text}");
    assert!(pids[0].ends_with("wid=\"1\"} 10"), "{pids:?}");
    // Nobody could look at the third.
    assert_eq!(lines(&text, "ringmaster_process_resident_memory_bytes{").len(), 2);
}

#[test]
fn without_a_core_the_rest_is_there() {
    let away = Facts { core: Core::Unreachable, own: None, ..facts(Detail::Watchers) };
    let text = render(&away, Format::Text);
    assert_eq!(lines(&text, "ringmaster_core_"), ["ringmaster_core_reachable 0"]);
    assert!(lines(&text, "process_").is_empty() && !lines(&text, "ringmaster_watcher_").is_empty());
}

#[test]
fn cpu_time_never_goes_back() {
    let Facts { mut snapshot, processes, .. } = facts(Detail::Watchers);
    let mut marks = CpuMarks::default();
    let web = WatcherId(1);
    assert_eq!(marks.raise(&snapshot, &processes)[&web], Duration::from_millis(1750));
    // A process has ended, and the arbiter does not know yet.
    assert_eq!(marks.raise(&snapshot, &BTreeMap::new())[&web], Duration::from_millis(1750));
    snapshot.watchers[0].tally.cpu = Duration::from_millis(1800);
    assert_eq!(marks.raise(&snapshot, &BTreeMap::new())[&web], Duration::from_millis(1800));
    snapshot.watchers.clear();
    assert!(marks.raise(&snapshot, &processes).is_empty());
}

#[test]
fn names_are_as_prometheus_wants_them() {
    let mut names = BTreeSet::new();
    for Metric { name, kind, unit, labels, help, .. } in METRICS {
        assert!(names.insert(*name), "{name} is there twice");
        assert!(name.starts_with("ringmaster_") || name.starts_with("process_"), "{name}");
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
        assert_eq!(*kind == MetricKind::Counter, name.ends_with("_total"), "{name}");
        assert_eq!(*kind == MetricKind::Info, name.ends_with("_info"), "{name}");
        let base = name.strip_suffix("_total").unwrap_or(name);
        for known in [Unit::Seconds, Unit::Bytes] {
            assert_eq!(*unit == known, base.ends_with(&format!("_{}", known.name().unwrap())), "{name}");
        }
        assert!(help.ends_with('.') && !help.contains('\n'), "{name}: {help}");
        let bounded = ["watcher", "wid", "command", "code", "status", "guarantee", "half", "version", "protocol"];
        assert!(labels.iter().all(|label| bounded.contains(label)), "{name}: {labels:?}");
    }
}
