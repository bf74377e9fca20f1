//! Watchers that start on demand.

use super::test_rig::{Rig, watcher};
use super::*;
use ringmaster_protocol::message::ExitStatus;
use serde_json::json;

fn bound(name: &str, number: u32) -> BoundSocket {
    let place = SocketPlace::Inet("localhost".to_owned(), 80);
    BoundSocket { name: name.to_owned(), number, place, backlog: 5, reuse_port: false }
}

/// A watcher that waits at the socket `web`; `admin` is somebody else's.
fn rig() -> Rig {
    let mut options = watcher("w", 2);
    options.on_demand = true;
    options.cmd = "serve $(circus.sockets.web)".to_owned();
    let seed = Seed::from_file(options);
    let mut rig = Rig::with(Roster { seeds: vec![seed], ..Roster::default() });
    rig.arbiter.world.sockets = SocketTable::new(vec![bound("web", 3), bound("admin", 4)]);
    rig.event(Event::Attached(Vec::new()));
    rig
}

fn knock(rig: &mut Rig) {
    rig.event(Event::Knocked("circus.web".to_owned()));
}

#[test]
fn the_first_connection_starts_it() {
    let mut rig = rig();
    assert_eq!((rig.status("w"), rig.spawns.len()), ("stopped", 0));
    assert_eq!(rig.awaited, [["circus.web"]]);
    rig.topics();
    knock(&mut rig);
    assert_eq!((rig.status("w"), rig.pids("w").len()), ("active", 2));
    assert_eq!(rig.topics(), ["w.spawn", "w.spawn", "w.start"]);
    assert_eq!(rig.awaited.len(), 1, "nothing is looked at while it runs");
    rig.pass(10.0);

    let pids = rig.pids("w");
    rig.exit(pids[0], ExitStatus::Code(0));
    assert_eq!(rig.pids("w").len(), 2, "replaced, as long as another one lives");
}

#[test]
fn a_lone_process_that_ends_is_waited_for_by_the_next_connection() {
    let mut rig = rig();
    rig.call(json!({"command": "set", "properties": {"name": "w", "options": {"numprocesses": 1}}}));
    knock(&mut rig);
    rig.pass(5.0);
    rig.topics();
    let pid = rig.pids("w")[0];
    rig.exit(pid, ExitStatus::Code(0));
    assert_eq!((rig.status("w"), rig.pids("w").len()), ("stopped", 0));
    assert_eq!(rig.topics(), ["w.reap"], "no stop event, as in Circus");
    assert_eq!(rig.awaited.last().unwrap(), &["circus.web"]);
    knock(&mut rig);
    assert_eq!(rig.pids("w").len(), 1);
}

#[test]
fn one_that_fails_at_once_is_not_started_in_a_loop() {
    let mut rig = rig();
    rig.call(json!({"command": "set", "properties": {"name": "w", "options": {"numprocesses": 1}}}));
    let mut waits = Vec::new();
    for _ in 0..4 {
        knock(&mut rig);
        let told = rig.awaited.len();
        let before = rig.now.mono;
        rig.exit(rig.pids("w")[0], ExitStatus::Code(1));
        while rig.awaited.len() == told {
            rig.pass(0.01);
        }
        waits.push((rig.now.mono - before).as_millis() / 100);
    }
    assert_eq!(waits, [1, 2, 4, 8]);
    rig.broken = true;
    knock(&mut rig);
    assert_eq!(rig.status("w"), "stopped");
    let told = rig.awaited.len();
    rig.pass(4.0);
    assert_eq!(rig.awaited.len(), told);
    rig.pass(2.0);
    assert_eq!(rig.awaited.len(), told + 1, "looked at again after check_delay");
}

#[test]
fn stop_ends_the_waiting_and_start_begins_it_again() {
    let mut rig = rig();
    rig.call(json!({"command": "stop", "properties": {"name": "w", "waiting": true}}));
    assert_eq!(rig.awaited.last().unwrap(), &Vec::<String>::new());
    knock(&mut rig);
    assert_eq!(rig.pids("w").len(), 0);
    rig.call(json!({"command": "start", "properties": {"name": "w", "waiting": true}}));
    assert_eq!((rig.status("w"), rig.pids("w").len()), ("stopped", 0));
    assert_eq!(rig.awaited.last().unwrap(), &["circus.web"]);
    rig.call(json!({"command": "rm", "properties": {"name": "w", "waiting": true}}));
    assert_eq!(rig.awaited.last().unwrap(), &Vec::<String>::new());
}

#[test]
fn a_core_that_comes_back_is_asked_again() {
    let mut rig = rig();
    rig.event(Event::Detached);
    rig.event(Event::Attached(Vec::new()));
    assert_eq!(rig.awaited, [["circus.web"], ["circus.web"]]);
}
