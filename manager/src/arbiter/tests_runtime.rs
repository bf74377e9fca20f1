//! Watchers that clients add, change and remove, in the rig; and what survives a restart of circusd.

use super::test_rig::{Rig, exit, info, process, watcher};
use super::*;
use crate::options::{Identity, MAX_PROCESSES, RlimitValue, Seconds, StreamOptions, WatcherOptions};
use ringmaster_protocol::message::ExitStatus;
use serde_json::{Value, json};

fn set(rig: &mut Rig, options: Value) -> Option<Value> {
    rig.call(json!({"command": "set", "properties": {"name": "a", "options": options, "waiting": true}}))
}

fn options(rig: &Rig) -> WatcherOptions {
    (*rig.arbiter.watcher("a").unwrap().options).clone()
}

#[test]
fn set_checks_everything_before_it_changes_anything() {
    let mut rig = Rig::new(vec![watcher("a", 2)]);
    rig.topics();
    let refused = set(&mut rig, json!({"numprocesses": 5, "bogus": 1})).unwrap();
    assert_eq!((refused["errno"].clone(), refused["reason"].clone()), (json!(3), json!("unknown key 'bogus'")));
    assert_eq!((options(&rig).numprocesses, rig.topics()), (2, vec![]));
    assert!(rig.values.is_empty());
}

#[test]
fn set_applies_in_order_and_acts_once() {
    let mut rig = Rig::new(vec![watcher("a", 1)]);
    rig.topics();
    assert!(set(&mut rig, json!({"cmd": "other", "numprocesses": 2})).is_none());
    assert_eq!(rig.topics(), ["a.updated", "a.updated", "a.spawn", "a.spawn", "a.kill"]);
    rig.exit(101, ExitStatus::Signal(15));
    assert_eq!(rig.topics(), ["a.reap", "a.reload"]);
    assert_eq!(rig.replies.last().unwrap()["status"], "ok");
    assert_eq!(rig.launches[&103].spawn.argv[0], b"other");
}

#[test]
fn set_of_a_stopped_watcher_starts_nothing() {
    let mut rig = Rig::new(vec![watcher("a", 1)]);
    rig.call(json!({"command": "stop", "properties": {"name": "a"}}));
    set(&mut rig, json!({"cmd": "other"}));
    rig.exit(101, ExitStatus::Signal(15));
    assert_eq!((rig.status("a"), rig.spawns.len()), ("stopped", 1));
    assert_eq!(rig.replies.len(), 2, "the one that waited behind the stop is answered");
    set(&mut rig, json!({"cmd": "another"}));
    assert_eq!((rig.replies.len(), rig.spawns.len()), (3, 1));
}

#[test]
fn what_circus_accepts_and_ignores_is_done() {
    let mut rig = Rig::new(vec![watcher("a", 1)]);
    set(&mut rig, json!({"respawn": false, "max_retry": -1, "rlimit_nofile": 100, "copy_env": true, "uid": "me"}));
    let now = options(&rig);
    assert!(!now.respawn);
    assert_eq!(now.max_retry, crate::options::Retries::Unlimited);
    assert_eq!(now.rlimits["nofile"], RlimitValue::At(100));
    assert_eq!(now.uid, Some(Identity::Name("me".to_owned())));
    let spawn = &rig.launches[&102].spawn;
    assert_eq!((spawn.rlimits.len(), spawn.env.len()), (1, 1));
    set(&mut rig, json!({"copy_env": false}));
    assert!(options(&rig).env.is_empty());
}

#[test]
fn set_refuses_a_user_that_does_not_exist() {
    let mut rig = Rig::new(vec![watcher("a", 1)]);
    rig.topics();
    let refused = set(&mut rig, json!({"numprocesses": 2, "uid": "nosuchuser"})).unwrap();
    assert_eq!(refused["errno"], 5);
    let reason = refused["reason"].as_str().unwrap();
    assert!(reason.ends_with("'nosuchuser' isn't a valid user name"), "{reason}");
    assert_eq!((options(&rig).numprocesses, rig.topics()), (1, vec![]));
}

#[test]
fn a_singleton_has_one_process_whichever_is_set_first() {
    let mut rig = Rig::new(vec![watcher("a", 2)]);
    let refused = set(&mut rig, json!({"singleton": true})).unwrap();
    assert_eq!(refused["errno"], 5);
    let reason = refused["reason"].as_str().unwrap();
    assert!(reason.ends_with("Cannot have 2 processes with a singleton  watcher"), "{reason}");
    set(&mut rig, json!({"numprocesses": 1, "singleton": true}));
    rig.exit(101, ExitStatus::Signal(15));
    let refused = set(&mut rig, json!({"numprocesses": 2})).unwrap();
    let reason = refused["reason"].as_str().unwrap();
    assert!(reason.ends_with("Singleton watcher has a single process"), "{reason}");
}

#[test]
fn a_stream_is_swapped_live_and_a_first_one_needs_new_processes() {
    let mut rig = Rig::new(vec![watcher("a", 1)]);
    rig.streams.clear();
    rig.topics();
    set(&mut rig, json!({"stdout_stream": {"class": "FileStream", "filename": "/x"}}));
    rig.exit(101, ExitStatus::Signal(15));
    assert!(rig.topics().contains(&"a.reload".to_owned()));
    assert_eq!(rig.streams, [Some("/x".to_owned())]);
    set(&mut rig, json!({"stdout_stream.filename": "/y"}));
    assert_eq!(rig.topics(), ["a.updated"]);
    assert_eq!(rig.streams[1], Some("/y".to_owned()));
}

#[test]
fn add_starts_when_asked_and_tells_pids_beside_the_status() {
    let mut rig = Rig::new(vec![watcher("b", 1)]);
    rig.topics();
    let add = |rig: &mut Rig, properties: Value| rig.call(json!({"command": "add", "properties": properties})).unwrap();
    let reply = add(
        &mut rig,
        json!({"name": "N1", "cmd": "x", "args": ["1 2"], "start": true, "waiting": true,
               "options": {"numprocesses": 2, "env": {"A": "$HOME"}, "copy_env": true, "rlimit_core": 0}}),
    );
    assert_eq!((reply["started"].clone(), reply["kept"].clone()), (json!([102, 103]), json!([])));
    assert_eq!(rig.topics(), ["n1.add", "n1.spawn", "n1.spawn", "n1.start"]);
    let spawn = &rig.launches[&102].spawn;
    assert_eq!(spawn.argv, [b"x".to_vec(), b"1 2".to_vec()]);
    assert_eq!(spawn.env, [(b"A".to_vec(), b"/home/me".to_vec()), (b"HOME".to_vec(), b"/home/me".to_vec())]);
    let again = add(&mut rig, json!({"name": "n1", "cmd": "x"}));
    assert!(again["reason"].as_str().unwrap().ends_with("'n1' already exist"));
    let many = add(&mut rig, json!({"name": "s", "cmd": "x", "options": {"singleton": true, "numprocesses": 3}}));
    let reason = many["reason"].as_str().unwrap();
    assert!(reason.ends_with("Cannot have 3 processes with a singleton  watcher"), "{reason}");
    let list = add(&mut rig, json!({"name": "s", "cmd": "x", "options": []}));
    assert_eq!(list["reason"], "'options' property should be an object");
    add(&mut rig, json!({"name": "quiet", "cmd": "x"}));
    assert_eq!((rig.status("quiet"), rig.topics()), ("stopped", vec!["quiet.add".to_owned()]));
}

#[test]
fn rm_takes_the_watcher_out_first_and_then_stops_it() {
    let mut rig = Rig::new(vec![watcher("a", 1), watcher("b", 1)]);
    rig.topics();
    assert!(rig.call(json!({"command": "rm", "properties": {"name": "A", "waiting": true}})).is_none());
    let list = rig.call(json!({"command": "list"})).unwrap();
    assert_eq!(list["watchers"], json!(["b"]));
    rig.exit(101, ExitStatus::Signal(15));
    assert_eq!(rig.topics(), ["a.remove", "a.kill", "a.reap", "a.stop"]);
    assert_eq!(rig.replies.last().unwrap()["status"], "ok");
    assert!(rig.arbiter.departing.is_empty());
    assert_eq!(rig.arbiter.deadline(), None, "no timer is left armed");
}

#[test]
fn rm_answers_those_who_wait_for_the_watcher() {
    let mut rig = Rig::new(vec![watcher("a", 1)]);
    rig.call(json!({"id": "one", "command": "restart", "properties": {"name": "a", "waiting": true}}));
    rig.call(json!({"id": "two", "command": "rm", "properties": {"name": "a"}}));
    assert_eq!((rig.replies[0]["id"].clone(), rig.replies[0]["errno"].clone()), (json!("one"), json!(5)));
    rig.exit(101, ExitStatus::Signal(15));
    assert_eq!(rig.pids_of_all(), Vec::<i32>::new());
}

#[test]
fn rm_with_nostop_leaves_processes_to_themselves_and_reaps_them_silently() {
    let mut rig = Rig::new(vec![watcher("a", 2), watcher("b", 1)]);
    rig.topics();
    rig.call(json!({"command": "rm", "properties": {"name": "a", "nostop": true, "waiting": true}}));
    assert_eq!((rig.topics(), rig.signals.len()), (vec!["a.remove".to_owned()], 0));
    assert_eq!(rig.values[LEFT], json!([101, 102]));
    assert_eq!(rig.left_alone, [process(101), process(102)]);
    rig.exit(101, ExitStatus::Signal(9));
    assert_eq!((rig.topics(), rig.forgotten.clone()), (vec![], vec![process(101)]));
    assert_eq!(rig.values[LEFT], json!([102]));
    // A namesake leaves alone the number that the one which lives still holds at the core.
    rig.call(json!({"command": "add", "properties": {"name": "a", "cmd": "x", "start": true,
        "options": {"numprocesses": 2}}}));
    let names: Vec<&str> = [104, 105].iter().map(|pid| rig.launches[pid].spawn.name.as_str()).collect();
    assert_eq!(names, ["circus.a.1", "circus.a.3"]);
    rig.call(json!({"command": "quit"}));
    assert!(rig.signals.iter().all(|(pid, ..)| *pid != 102), "{:?}", rig.signals);
    assert!(!rig.arbiter.left_alone().is_empty());
}

#[test]
fn a_namesake_of_a_stopping_watcher_takes_other_numbers() {
    let mut rig = Rig::new(vec![watcher("a", 1)]);
    rig.call(json!({"command": "rm", "properties": {"name": "a"}}));
    rig.call(json!({"command": "add", "properties": {"name": "a", "cmd": "x", "start": true}}));
    assert_eq!(rig.launches[&102].spawn.name, "circus.a.2");
    rig.exit(101, ExitStatus::Signal(15));
    assert_eq!(rig.pids("a"), [102]);
}

/// The next circusd: the same file, what the core has kept, and the processes that it has.
fn next_life(old: &Rig, file: Vec<WatcherOptions>, processes: Vec<ProcessInfo>) -> Rig {
    let bytes = |value: &Value| value.to_string().into_bytes();
    let kept = old.values.iter().filter(|(name, _)| name.starts_with(KEPT_PREFIX));
    let values: Vec<(String, Vec<u8>)> = kept.map(|(name, value)| (name.clone(), bytes(value))).collect();
    let left_value = old.values.get(LEFT).map(bytes).unwrap_or_default();
    let roster = Roster { seeds: restore(file, &values, &Rig::world()), left: left(&left_value), ..Roster::default() };
    let mut rig = Rig::with(roster);
    rig.next_pid = 200;
    rig.event(Event::Attached(processes));
    rig
}

#[test]
fn what_clients_changed_survives_circusd() {
    let file = || vec![watcher("a", 1), watcher("b", 1), watcher("c", 1)];
    let mut rig = Rig::new(file());
    rig.call(json!({"command": "incr", "properties": {"name": "a"}}));
    set(&mut rig, json!({"graceful_timeout": 2, "env": {"A": "b"}}));
    rig.call(json!({"command": "add", "properties": {"name": "N", "cmd": "x", "start": true,
        "options": {"stdout_stream": {"class": "FileStream", "filename": "/n"}}}}));
    rig.call(json!({"command": "add", "properties": {"name": "idle", "cmd": "x"}}));
    rig.call(json!({"command": "rm", "properties": {"name": "b"}}));
    rig.call(json!({"command": "rm", "properties": {"name": "c", "nostop": true}}));
    let note = |name: &str| json!({"watcher": name, "wid": 1}).to_string().into_bytes();
    let there = vec![info(103, "circus.c.1", &note("c"), 1000.0)];
    let mut rig = next_life(&rig, file(), there);
    let names: Vec<&str> = rig.arbiter.by_name().map(|(name, _)| name).collect();
    assert_eq!(names, ["a", "idle", "n"]);
    let now = options(&rig);
    assert_eq!((now.numprocesses, now.graceful_timeout.duration(), now.env.len()), (2, Duration::from_secs(2), 1));
    assert_eq!((rig.status("n"), rig.status("idle")), ("active", "stopped"));
    let stream: &Option<StreamOptions> = &rig.arbiter.watcher("n").unwrap().options.stdout_stream;
    assert_eq!(stream.as_ref().unwrap().settings["filename"], "/n");
    assert!(rig.signals.is_empty(), "the one that was left running still is");
    rig.event(Event::Exited(Exited { process: process(103), exit: exit(ExitStatus::Code(0), 1.0) }));
    assert_eq!(rig.forgotten, [process(103)]);
    // The next one knows it all again.
    rig.call(json!({"command": "decr", "properties": {"name": "a"}}));
    let rig = next_life(&rig, file(), Vec::new());
    assert_eq!(options(&rig).numprocesses, 1);
    assert_eq!(options(&rig).graceful_timeout, Seconds::Fractional(2.0));
}

#[test]
fn ipython_says_that_there_is_none() {
    let mut rig = Rig::new(vec![]);
    let reply = rig.call(json!({"command": "ipython"})).unwrap();
    assert_eq!((reply["shell"].clone(), reply["status"].clone()), (json!(false), json!("ok")));
}

/// A wrong number must not keep circusd busy: nobody else would be answered.
#[test]
fn more_processes_than_there_can_be_are_not_asked_for() {
    let mut one_at_a_time = watcher("a", 1);
    one_at_a_time.warmup_delay = Seconds::Whole(60);
    let mut rig = Rig::new(vec![one_at_a_time]);
    rig.pass(60.0);
    let refused = set(&mut rig, json!({"numprocesses": 4_000_000_000_u32})).unwrap();
    assert_eq!(refused["reason"].as_str().map(|reason| reason.contains("is out of range")), Some(true), "{refused}");
    assert_eq!(rig.pids("a").len(), 1);
    rig.call(json!({"command": "incr", "properties": {"name": "a", "nb": 4_000_000_000_u32}}));
    assert_eq!(options(&rig).numprocesses, MAX_PROCESSES);
}
