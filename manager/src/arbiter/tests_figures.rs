//! What is counted, and what is told when somebody asks for figures.

use super::test_rig::{Rig, watcher};
use super::*;
use crate::streams::{Loss, LossReason};
use ringmaster_protocol::message::ExitStatus;
use ringmaster_protocol::ring::Stream;
use serde_json::json;

fn shown(rig: &mut Rig) -> crate::metrics::Snapshot {
    rig.event(Event::Watched);
    rig.shown.take().unwrap()
}

#[test]
fn starts_ends_and_restarts() {
    let mut rig = Rig::new(vec![watcher("web", 2), watcher("idle", 0)]);
    let pids = rig.pids("web");
    rig.pass(2.0);
    rig.exit(pids[0], ExitStatus::Code(3));
    rig.exit(pids[1], ExitStatus::Signal(9));
    rig.pass(1.0);
    let web = &shown(&mut rig).watchers[1];
    assert_eq!((web.name.as_str(), web.wanted, web.processes.len()), ("web", 2, 2));
    assert_eq!((web.tally.starts, web.tally.restarts, web.tally.failed_starts), (4, 2, 0));
    assert_eq!(web.tally.exits, BTreeMap::from([(Some(3), 1), (Some(-9), 1)]));
    // What a command starts is no restart.
    rig.call(json!({"command": "incr", "properties": {"name": "web"}}));
    let web = &shown(&mut rig).watchers[1];
    assert_eq!((web.tally.starts, web.tally.restarts), (5, 2));
}

#[test]
fn processes_that_an_earlier_circusd_started_are_no_starts() {
    let first = Rig::new(vec![watcher("web", 1)]);
    let pid = first.pids("web")[0];
    let launch = first.launches[&pid].clone();
    let mut next = Rig::unstarted(vec![watcher("web", 1)]);
    next.event(Event::Attached(vec![super::test_rig::info(pid, &launch.spawn.name, &launch.spawn.note, 1000.0)]));
    let web = &shown(&mut next).watchers[0];
    assert_eq!((web.processes.len(), web.tally.starts), (1, 0));
}

#[test]
fn failed_starts_lost_output_and_rotations() {
    let mut rig = Rig::new(vec![watcher("web", 1)]);
    let process = test_rig::process(rig.pids("web")[0]);
    let loss = Loss { bytes: 12, since_ns: 1, until_ns: 2, reason: LossReason::Away };
    rig.event(Event::Lost { process, stream: Stream::Stdout, loss });
    rig.event(Event::Rotated { watcher: "WEB".to_owned(), files: 2 });
    rig.event(Event::Rotated { watcher: "nobody".to_owned(), files: 1 });
    rig.broken = true;
    rig.call(json!({"command": "incr", "properties": {"name": "web"}}));
    let tally = shown(&mut rig).watchers[0].tally.clone();
    assert_eq!((tally.lost, tally.rotations), (12, 2));
    assert!(tally.failed_starts > 0, "{tally:?}");
}

#[test]
fn commands_are_timed_until_their_answer() {
    let mut rig = Rig::new(vec![watcher("web", 1)]);
    rig.call(json!({"command": "STATUS"}));
    rig.call(json!({"command": "nonsense"}));
    rig.call(json!({"command": "list", "msg_type": "cast"}));
    let pid = rig.pids("web")[0];
    rig.call(json!({"command": "stop", "properties": {"waiting": true}}));
    assert!(!shown(&mut rig).commands.contains_key("stop"), "it is not answered yet");
    rig.pass(3.0);
    rig.exit(pid, ExitStatus::Code(0));
    let commands = shown(&mut rig).commands;
    let known: Vec<&str> = commands.keys().copied().collect();
    assert_eq!(known, ["status", "stop", "unknown"]);
    assert_eq!((commands["stop"].count(), commands["stop"].sum()), (1, Duration::from_secs(3)));
    assert_eq!(commands["status"].sum(), Duration::ZERO);
}
