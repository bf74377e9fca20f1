//! `reloadconfig` in the rig, which plays the shell: it hands in what the file says now.

use super::test_rig::{Rig, watcher};
use super::*;
use crate::config::Config;
use crate::options::{SocketAddressSpec, SocketFamily, SocketKind, WatcherOptions};
use ringmaster_protocol::message::ExitStatus;
use serde_json::{Value, json};
use std::path::PathBuf;

pub(super) fn config(watchers: Vec<WatcherOptions>, sockets: Vec<SocketOptions>) -> Config {
    Config {
        path: PathBuf::from("circus.ini"),
        files: Vec::new(),
        circus: CircusOptions::default(),
        watchers,
        helpers: Vec::new(),
        sockets,
        plugins: Vec::new(),
        classes: Vec::new(),
        problems: Vec::new(),
    }
}

fn reload(rig: &mut Rig, config: Config) {
    rig.call(json!({"id": "reload", "command": "reloadconfig", "properties": {"waiting": true}}));
    rig.event(Event::ConfigRead(Ok(Box::new(config))));
}

fn answered(rig: &Rig) -> bool {
    rig.replies.last().is_some_and(|reply| reply["id"] == "reload" && reply["status"] == "ok")
}

#[test]
fn of_500_watchers_only_the_changed_one_restarts() {
    let file = || -> Vec<WatcherOptions> { (0..500).map(|n| watcher(&format!("w{n:03}"), 1)).collect() };
    let mut rig = Rig::new(file());
    rig.topics();
    let mut changed = file();
    changed[250].cmd = "other".to_owned();
    reload(&mut rig, config(changed.clone(), Vec::new()));
    let pid = rig.signals[0].0;
    rig.exit(pid, ExitStatus::Signal(15));
    assert!(answered(&rig));
    assert_eq!(rig.topics(), ["w250.kill", "w250.reap", "w250.stop", "w250.spawn", "w250.start"]);
    // The stop signal, and what is left of its tree.
    assert_eq!((rig.spawns.len(), rig.signals.len()), (501, 2));
    // The same file once more: nothing at all.
    reload(&mut rig, config(changed, Vec::new()));
    assert!(answered(&rig) && rig.topics().is_empty());
}

#[test]
fn watchers_come_go_and_change_in_the_order_of_their_priority() {
    let prioritized = |name: &str, priority| {
        let mut options = watcher(name, 1);
        options.priority = priority;
        options
    };
    let mut rig = Rig::new(vec![prioritized("a", 0), prioritized("b", 9), prioritized("gone", 5)]);
    rig.topics();
    let mut a = prioritized("a", 0);
    a.numprocesses = 2;
    let mut lazy = prioritized("lazy", 8);
    lazy.autostart = false;
    let now = vec![a, prioritized("b", 9), lazy, prioritized("x", 1), prioritized("y", 7)];
    reload(&mut rig, config(now, Vec::new()));
    assert!(!answered(&rig));
    let gone = rig.signals[0].0;
    rig.exit(gone, ExitStatus::Signal(15));
    assert!(answered(&rig));
    let own: Vec<String> = rig.topics().into_iter().filter(|topic| !topic.starts_with("gone")).collect();
    assert_eq!(own, ["y.spawn", "y.start", "x.spawn", "x.start", "a.spawn"]);
    let names: Vec<&str> = rig.arbiter.by_name().map(|(name, _)| name).collect();
    assert_eq!((names, rig.status("lazy")), (vec!["a", "b", "lazy", "x", "y"], "stopped"));
}

#[test]
fn a_broken_file_changes_nothing() {
    let mut rig = Rig::new(vec![watcher("a", 1)]);
    rig.topics();
    rig.call(json!({"command": "reloadconfig", "properties": {"waiting": true}}));
    rig.event(Event::ConfigRead(Err("line 1: nonsense".to_owned())));
    let reply = rig.replies.last().unwrap();
    assert_eq!((reply["errno"].clone(), reply["reason"].clone()), (json!(6), json!("server error")));
    assert_eq!((rig.topics(), rig.pids("a")), (vec![], vec![101]));
    assert_eq!(rig.call(json!({"command": "reloadconfig"})).unwrap()["status"], "ok");
    assert_eq!(rig.config_reads, 2);
}

#[test]
fn it_excludes_commands_while_it_reads_and_itself_until_it_is_done() {
    let mut rig = Rig::new(vec![watcher("a", 1)]);
    rig.call(json!({"command": "reloadconfig"}));
    let refused = rig.call(json!({"command": "incr", "properties": {"name": "a"}})).unwrap();
    assert_eq!(refused["reason"], "arbiter is already running arbiter_reload_config command");
    assert_eq!(rig.call(json!({"command": "status"})).unwrap()["status"], "ok");
    let mut a = watcher("a", 1);
    a.cmd = "other".to_owned();
    rig.event(Event::ConfigRead(Ok(Box::new(config(vec![a], Vec::new())))));
    assert_eq!(rig.call(json!({"command": "incr", "properties": {"name": "a"}})).unwrap()["status"], "ok");
    assert_eq!(rig.call(json!({"command": "reloadconfig"})).unwrap()["errno"], 5);
    rig.exit(101, ExitStatus::Signal(15));
    assert_eq!(rig.call(json!({"command": "reloadconfig"})).unwrap()["status"], "ok");
}

#[test]
fn quit_is_not_kept_waiting_and_who_waits_is_told() {
    let mut rig = Rig::new(vec![watcher("a", 1)]);
    rig.call(json!({"id": "reload", "command": "reloadconfig", "properties": {"waiting": true}}));
    rig.call(json!({"id": "quit", "command": "quit"}));
    let ids: Vec<&Value> = rig.replies.iter().map(|reply| &reply["id"]).collect();
    assert_eq!(ids, ["reload", "quit"]);
    rig.event(Event::ConfigRead(Ok(Box::new(config(Vec::new(), Vec::new())))));
    rig.exit(101, ExitStatus::Signal(15));
    assert_eq!(rig.finished, Some(Ending::Quit));
}

#[test]
fn it_goes_back_to_the_file() {
    let file = || vec![watcher("a", 1), watcher("b", 1), watcher("c", 1), watcher("d", 1)];
    let mut rig = Rig::new(file());
    rig.call(json!({"command": "incr", "properties": {"name": "a"}}));
    rig.call(json!({"command": "set", "properties": {"name": "b", "options": {"graceful_timeout": 1}}}));
    rig.call(json!({"command": "set", "properties": {"name": "c", "options": {"cmd": "other"}}}));
    rig.exit(103, ExitStatus::Signal(15));
    rig.call(json!({"command": "add", "properties": {"name": "mine", "cmd": "x", "start": true}}));
    rig.call(json!({"command": "rm", "properties": {"name": "d"}}));
    rig.exit(104, ExitStatus::Signal(15));
    assert_eq!(rig.values.len(), 5);
    rig.topics();
    rig.signals.clear();
    reload(&mut rig, config(file(), Vec::new()));
    for (pid, ..) in rig.signals.clone() {
        rig.exit(pid, ExitStatus::Signal(15));
    }
    assert!(answered(&rig), "{:?}", rig.replies.last());
    assert!(rig.values.is_empty(), "{:?}", rig.values);
    let topics = rig.topics();
    let of = |name: &str| -> Vec<&str> {
        let mine = |topic: &&String| topic.starts_with(name);
        topics.iter().filter(mine).filter_map(|topic| topic.strip_prefix(name)).collect()
    };
    assert_eq!(of("a."), ["kill", "reap"]);
    assert_eq!(of("b."), Vec::<&str>::new());
    assert_eq!(of("c."), ["spawn", "kill", "reap", "reload"]);
    assert_eq!(of("d."), ["spawn", "start"]);
    assert_eq!(of("mine."), ["kill", "reap", "stop"]);
    assert_eq!(rig.arbiter.watcher("b").unwrap().options.graceful_timeout.duration().as_secs(), 30);
}

#[test]
fn old_processes_are_stopped_as_their_own_options_say() {
    let mut rig = Rig::new(vec![watcher("a", 1)]);
    let mut a = watcher("a", 1);
    a.stop_signal = crate::options::Signal::HUP;
    reload(&mut rig, config(vec![a], Vec::new()));
    assert_eq!(rig.signals[0].1, 15);
}

fn socket(port: u16) -> SocketOptions {
    SocketOptions {
        name: "web".to_owned(),
        address: SocketAddressSpec::Inet { host: "localhost".to_owned(), port },
        family: SocketFamily::Inet,
        kind: SocketKind::Stream,
        proto: None,
        backlog: 2048,
        umask: None,
        replace: false,
        interface: None,
        so_reuseport: false,
        blocking: false,
        use_papa: false,
    }
}

fn bound(port: u16) -> BoundSocket {
    BoundSocket {
        name: "web".to_owned(),
        number: 3,
        place: SocketPlace::Inet("localhost".to_owned(), port),
        backlog: 2048,
        reuse_port: false,
    }
}

fn serving() -> (Rig, Vec<WatcherOptions>) {
    let mut server = watcher("server", 1);
    server.args = crate::options::Args::Text("--fd $(circus.sockets.web)".to_owned());
    server.use_sockets = true;
    let file = vec![watcher("other", 1), server];
    let mut rig = Rig::with(Roster {
        chronicle: Chronicle::default(),
        seeds: file.iter().cloned().map(Seed::from_file).collect(),
        sockets: vec![socket(80)],
        left: BTreeSet::new(),
    });
    rig.arbiter.world.sockets = SocketTable::new(vec![bound(80)]);
    rig.event(Event::Attached(Vec::new()));
    rig.topics();
    (rig, file)
}

#[test]
fn a_socket_is_bound_anew_between_the_stop_and_the_start_of_those_who_hold_it() {
    let (mut rig, file) = serving();
    reload(&mut rig, config(file.clone(), vec![socket(80)]));
    assert!(answered(&rig) && rig.rebinds.is_empty(), "the same socket stays");
    reload(&mut rig, config(file, vec![socket(81)]));
    assert!(rig.rebinds.is_empty());
    rig.exit(102, ExitStatus::Signal(15));
    assert_eq!(rig.rebinds.len(), 1);
    rig.event(Event::Rebound(Rebound { bound: vec![bound(81)], failure: None }));
    assert!(answered(&rig));
    assert_eq!(rig.topics(), ["server.kill", "server.reap", "server.stop", "server.spawn", "server.start"]);
    let reply = rig.call(json!({"command": "listsockets"})).unwrap();
    assert_eq!(reply["sockets"][0]["port"], 81);
}

#[test]
fn a_socket_that_cannot_be_bound_changes_nothing() {
    let (mut rig, mut file) = serving();
    file[0].cmd = "changed".to_owned();
    reload(&mut rig, config(file, vec![socket(81)]));
    rig.exit(102, ExitStatus::Signal(15));
    rig.event(Event::Rebound(Rebound { bound: vec![bound(80)], failure: Some("in use".to_owned()) }));
    assert_eq!(rig.replies.last().unwrap()["errno"], 6);
    assert_eq!((rig.status("server"), rig.pids("other")), ("active", vec![101]));
}

#[test]
fn the_arbiters_own_values_are_taken_where_that_is_possible() {
    let mut rig = Rig::new(vec![]);
    let mut now = config(Vec::new(), Vec::new());
    now.circus.check_delay = 2.0;
    now.circus.warmup_delay = 3;
    now.circus.httpd_port = 9999;
    reload(&mut rig, now);
    let reply = rig.call(json!({"command": "globaloptions"})).unwrap();
    assert_eq!(reply["options"]["check_delay"], 2.0);
    assert_eq!(rig.arbiter.world.check_delay, Duration::from_secs(2));
    assert_eq!((rig.arbiter.options.warmup_delay, rig.arbiter.options.httpd_port), (3, 8080));
}
