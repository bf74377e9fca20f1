//! The next circusd, in the rig: what it takes back, what it tells, what it does not tell again; and the upgrade.

use super::test_rig::{Rig, exit, info, process, watcher};
use super::*;
use ringmaster_protocol::message::ExitStatus;
use serde_json::{Value, json};

/// The note that a process of `name` carries at the core.
fn note(name: &str, wid: u32) -> Vec<u8> {
    json!({"watcher": name, "wid": wid}).to_string().into_bytes()
}

pub(super) fn listed(pid: i32, name: &str, wid: u32, ended: Option<f64>) -> ProcessInfo {
    let mut info = info(pid, &format!("circus.{name}.{wid}"), &note(name, wid), 1000.0);
    info.exit = ended.map(|at| exit(ExitStatus::Code(3), at));
    info
}

/// A circusd that follows one that was killed.
fn next(journal: &[u8], watchers: &[(&str, u32)]) -> Rig {
    let seeds = watchers.iter().map(|(name, number)| Seed::from_file(watcher(name, *number))).collect();
    let chronicle = Chronicle::load(journal);
    let mut rig = Rig::with(Roster { seeds, chronicle, ..Roster::default() });
    rig.now.wall = 2000.0;
    rig.journal = journal.to_vec();
    rig.next_pid = 200;
    rig
}

fn told(rig: &mut Rig) -> Vec<(String, f64)> {
    let time = |(topic, event): (String, Value)| {
        (topic.trim_start_matches("watcher.").to_owned(), event["time"].as_f64().unwrap())
    };
    std::mem::take(&mut rig.events).into_iter().map(time).collect()
}

#[test]
fn nothing_is_told_twice_and_ends_come_in_their_order_with_their_times() {
    let mut first = Rig::new(vec![watcher("a", 2), watcher("b", 1)]);
    assert_eq!(first.topics(), ["a.spawn", "a.spawn", "a.start", "b.spawn", "b.start"]);

    let mut second = next(&first.journal, &[("a", 2), ("b", 1)]);
    // 103 of b ended before 101 of a; the core lists by id.
    let there = vec![listed(101, "a", 1, Some(1500.0)), listed(102, "a", 2, None), listed(103, "b", 1, Some(1400.0))];
    second.event(Event::Attached(there));
    assert!(second.events.is_empty(), "subscribers are not there yet: {:?}", second.events);
    second.pass(0.6);
    let told = told(&mut second);
    let reaps: Vec<_> = told.iter().filter(|(topic, _)| topic.ends_with(".reap")).cloned().collect();
    assert_eq!(reaps, [("b.reap".to_owned(), 1400.0), ("a.reap".to_owned(), 1500.0)]);
    let spawns = told.iter().filter(|(topic, _)| topic.ends_with(".spawn")).count();
    assert_eq!((spawns, told.len()), (2, 4), "{told:?}");
    assert_eq!((second.status("a"), second.status("b")), ("active", "active"));

    // The third one finds the replacements and has nothing to tell.
    let mut third = next(&second.journal, &[("a", 2), ("b", 1)]);
    let there = vec![listed(102, "a", 2, None), listed(201, "b", 1, None), listed(202, "a", 1, None)];
    third.event(Event::Attached(there));
    third.pass(0.6);
    assert!(third.events.is_empty(), "{:?}", third.events);
}

#[test]
fn an_end_that_was_told_but_not_forgotten_is_only_forgotten() {
    let mut first = Rig::new(vec![watcher("a", 1)]);
    first.exit(101, ExitStatus::Code(0));
    first.pass(0.2);
    assert_eq!(first.pids("a"), [102]);
    let mut second = next(&first.journal, &[("a", 1)]);
    second.event(Event::Attached(vec![listed(101, "a", 1, Some(1000.0)), listed(102, "a", 2, None)]));
    second.pass(0.6);
    assert_eq!((second.topics(), second.forgotten), (Vec::<String>::new(), vec![process(101)]));
}

#[test]
fn what_was_stopped_stays_so_and_what_was_between_stop_and_start_starts() {
    let mut first = Rig::new(vec![watcher("a", 1), watcher("b", 1)]);
    first.call(json!({"command": "stop", "properties": {"name": "a"}}));
    first.exit(101, ExitStatus::Signal(15));
    // Killed in the middle of a restart, when everything had stopped.
    first.hold = true;
    first.call(json!({"command": "restart", "properties": {"name": "b"}}));
    first.exit(102, ExitStatus::Signal(15));
    let mut second = next(&first.journal, &[("a", 1), ("b", 1), ("new", 1)]);
    second.event(Event::Attached(Vec::new()));
    assert_eq!((second.status("a"), second.status("b"), second.status("new")), ("stopped", "active", "active"));
}

#[test]
fn a_client_waits_for_events_by_their_numbers() {
    let mut rig = Rig::new(vec![watcher("a", 1)]);
    let ask = |since: u64, waiting: bool| json!({"command": "events", "properties": {"since": since, "waiting": waiting, "topics": ["watcher.a."]}});
    let now = rig.call(ask(0, true)).unwrap();
    assert_eq!(now["events"].as_array().unwrap().len(), 2);
    assert!(rig.call(ask(2, true)).is_none());
    rig.exit(101, ExitStatus::Code(0));
    let event = rig.replies.last().unwrap()["events"][0].clone();
    assert_eq!((event["seq"].clone(), event["topic"].clone()), (json!(3), json!("watcher.a.reap")));
    assert!(rig.call(ask(100, true)).is_none());
    rig.pass(31.0);
    assert_eq!(rig.replies.last().unwrap()["events"], json!([]));
    assert_eq!(rig.call(ask(100, false)).unwrap()["events"], json!([]));
    assert_eq!(rig.call(ask(0, false)).unwrap()["missed"], json!(0));
}

fn ask_for_upgrade(rig: &mut Rig) -> Option<Value> {
    rig.call(json!({"command": "upgrade"}))
}

#[test]
fn an_unfit_program_changes_nothing_and_says_why() {
    let mut rig = Rig::new(vec![watcher("a", 1)]);
    assert!(ask_for_upgrade(&mut rig).is_none());
    assert_eq!(rig.trials, 1);
    let second = ask_for_upgrade(&mut rig).unwrap();
    assert_eq!(second["reason"], "arbiter is already running arbiter_upgrade command");
    rig.event(Event::Tried(Err("it is broken".to_owned())));
    assert_eq!(rig.replies.last().unwrap()["reason"], "this circusd goes on: it is broken");
    assert!(rig.finished.is_none());
    assert_eq!(rig.call(json!({"command": "numwatchers"})).unwrap()["numwatchers"], 1);
}

#[test]
fn a_fit_program_takes_over_when_nobody_waits_for_anything() {
    let mut rig = Rig::new(vec![watcher("a", 1)]);
    rig.event(Event::Signal(OwnSignal::Usr2));
    rig.call(json!({"command": "restart", "properties": {"name": "a", "waiting": true}}));
    rig.event(Event::Tried(Ok("9.9".to_owned())));
    assert!(rig.finished.is_none());
    rig.exit(101, ExitStatus::Signal(15));
    assert_eq!(rig.finished, Some(Ending::Upgrade));
    assert_eq!(rig.replies.len(), 1, "the restart was answered");
    assert_eq!(rig.pids_of_all(), [102], "nothing was stopped");
}

#[test]
fn an_operation_without_end_is_not_waited_for_for_ever() {
    let mut rig = Rig::new(vec![watcher("a", 1)]);
    rig.call(json!({"command": "stop", "properties": {"name": "a", "waiting": true}}));
    ask_for_upgrade(&mut rig);
    rig.event(Event::Tried(Ok("9.9".to_owned())));
    assert!(rig.finished.is_none());
    rig.pass(10.1);
    assert_eq!(rig.finished, Some(Ending::Upgrade));
    assert_eq!(rig.replies.last().unwrap()["to"], "9.9");
}

#[test]
fn a_change_is_answered_when_the_core_has_it() {
    let mut rig = Rig::new(vec![watcher("a", 1)]);
    rig.unanswered = Some(0);
    assert!(rig.call(json!({"command": "incr", "properties": {"name": "a"}})).is_none());
    assert!(rig.call(json!({"command": "numwatchers"})).is_some(), "others do not wait");
    // The core goes away before it answers, and comes back.
    rig.event(Event::Detached);
    assert_eq!(rig.unanswered.take(), Some(1));
    let there = vec![listed(101, "a", 1, None), listed(102, "a", 2, None)];
    rig.event(Event::Attached(there));
    assert_eq!(rig.replies.last().unwrap()["status"], "ok");
    assert_eq!(rig.values["circusd.watcher.a"], json!({"set": [["numprocesses", 2]]}));
}

#[test]
fn start_and_incr_are_answered_when_the_processes_are_there() {
    let mut rig = Rig::new(vec![watcher("a", 1)]);
    rig.hold = true;
    assert!(rig.call(json!({"command": "incr", "properties": {"name": "a", "nb": 2}})).is_none());
    let [first, second] = [(); 2].map(|()| rig.held.remove(0));
    rig.spawn(first);
    assert!(rig.call(json!({"command": "numwatchers"})).is_some(), "others do not wait");
    let before = rig.replies.len();
    rig.spawn(second);
    assert_eq!(rig.replies.len(), before + 1);
    rig.hold = false;
    let list = rig.call(json!({"command": "list", "properties": {"name": "a"}})).unwrap();
    assert_eq!(list["pids"].as_array().unwrap().len(), 3);
    // `stop` makes nothing, and does not wait for its end.
    assert!(rig.call(json!({"command": "stop", "properties": {"name": "a"}})).is_some());
}

#[test]
fn a_pause_keeps_nobody_and_neither_does_the_end() {
    let mut options = watcher("a", 1);
    options.warmup_delay = crate::options::Seconds::Whole(3);
    let mut rig = Rig::new(vec![options]);
    rig.hold = true;
    assert!(rig.call(json!({"command": "incr", "properties": {"name": "a"}})).is_some());
    rig.pass(3.1);
    assert_eq!(rig.held.len(), 1);
    let before = rig.replies.len();
    assert!(rig.call(json!({"command": "incr", "properties": {"name": "a"}})).is_none());
    rig.call(json!({"command": "quit"}));
    assert_eq!(rig.replies.len(), before + 2, "both have their answer");
}
