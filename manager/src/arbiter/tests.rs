//! Watchers and their processes in the rig.

use super::test_rig::{Rig, exit, info, process, watcher};
use super::*;
use crate::options::Seconds;
use crate::watcher::ASKED_AT_ONCE;
use ringmaster_protocol::message::{ExitStatus, Lifetime, Target};
use serde_json::{Value, json};

#[test]
fn a_start_spawns_all_and_is_announced_last() {
    let mut rig = Rig::new(vec![watcher("a", 2)]);
    assert_eq!(rig.topics(), ["a.spawn", "a.spawn", "a.start"]);
    assert_eq!((rig.pids("a"), rig.status("a")), (vec![101, 102], "active"));
}

#[test]
fn watchers_start_by_priority_then_by_name() {
    let mut late = watcher("b", 1);
    late.priority = -1;
    let mut first = watcher("z", 1);
    first.priority = 5;
    let mut rig = Rig::new(vec![late, first, watcher("a", 1), watcher("c", 1)]);
    let spawns: Vec<String> = rig.topics().into_iter().filter(|topic| topic.ends_with("spawn")).collect();
    assert_eq!(spawns, ["z.spawn", "a.spawn", "c.spawn", "b.spawn"]);
}

#[test]
fn a_process_that_lived_is_replaced_at_once() {
    let mut rig = Rig::new(vec![watcher("a", 1)]);
    rig.pass(10.0);
    rig.topics();
    rig.exit(101, ExitStatus::Signal(9));
    assert_eq!(rig.topics(), ["a.reap", "a.spawn"]);
    assert_eq!(rig.pids("a"), [102]);
    assert_eq!(rig.forgotten, [process(101)]);
}

#[test]
fn an_end_is_announced_with_the_last_words_whichever_is_told_first() {
    for last_words_first in [false, true] {
        let mut rig = Rig::new(Vec::new());
        rig.state.captured = true;
        rig.call(json!({"command": "add", "properties": {"name": "a", "cmd": "sleep 60", "start": true}}));
        rig.pass(10.0);
        rig.topics();
        let pid = rig.next_pid;
        let drained = Event::Drained(process(pid));
        if last_words_first {
            rig.event(drained);
            rig.exit(pid, ExitStatus::Signal(9));
        } else {
            rig.exit(pid, ExitStatus::Signal(9));
            assert_eq!(rig.topics(), Vec::<String>::new());
            rig.event(drained);
        }
        assert_eq!(rig.topics(), ["a.reap", "a.spawn"], "{last_words_first}");
        assert_eq!(
            (rig.forgotten.clone(), rig.arbiter.announced().len()),
            (vec![process(pid)], 0),
            "{last_words_first}"
        );
    }
}

#[test]
fn a_process_that_dies_at_once_is_retried_with_growing_pauses() {
    let mut rig = Rig::new(vec![watcher("a", 1)]);
    for _ in 0..9 {
        let pid = rig.next_pid;
        rig.exit(pid, ExitStatus::Code(1));
        rig.pass(5.0);
    }
    let starts = rig.spawns.clone();
    rig.spawns.clear();
    assert_eq!(starts.len(), 10, "{starts:?}");
    let mut rig = Rig::new(vec![watcher("a", 1)]);
    let mut pauses = Vec::new();
    for _ in 0..8 {
        let pid = rig.next_pid;
        let before = rig.now.mono;
        rig.exit(pid, ExitStatus::Code(1));
        let at = rig.arbiter.deadline().unwrap();
        pauses.push((at - before).as_millis());
        rig.advance_to(at);
        rig.event(Event::Wake);
    }
    assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
}

#[test]
fn a_missing_program_stops_the_watcher_after_its_retries() {
    let mut rig = Rig::unstarted(vec![watcher("a", 3)]);
    rig.broken = true;
    rig.event(Event::Attached(Vec::new()));
    assert_eq!((rig.status("a"), rig.topics()), ("stopped", vec!["a.stop".to_owned()]));
    assert_eq!(rig.arbiter.deadline(), None);
    let answer = rig.call(json!({"command": "start", "properties": {"name": "a", "waiting": true}})).unwrap();
    assert_eq!(answer["info"], json!({"started": [], "kept": []}));
}

#[test]
fn one_bad_watcher_does_not_keep_others_from_starting() {
    let mut bad = watcher("a", 1);
    bad.cmd = String::new();
    let rig = Rig::new(vec![bad, watcher("b", 1)]);
    assert_eq!((rig.status("a"), rig.status("b")), ("stopped", "active"));
}

#[test]
fn stop_signals_then_kills_the_tree() {
    let mut options = watcher("a", 1);
    options.graceful_timeout = Seconds::Whole(2);
    let mut rig = Rig::new(vec![options]);
    rig.topics();
    assert!(rig.call(json!({"command": "stop", "properties": {"name": "a", "waiting": true}})).is_none());
    assert_eq!((rig.status("a"), rig.signals.clone()), ("stopping", vec![(101, 15, Target::Main)]));
    rig.pass(1.9);
    assert_eq!(rig.signals.len(), 1);
    rig.pass(0.2);
    assert_eq!(rig.signals[1], (101, 9, Target::Tree));
    rig.exit(101, ExitStatus::Signal(9));
    assert_eq!(rig.topics(), ["a.kill", "a.kill", "a.reap", "a.stop"]);
    assert_eq!(rig.replies.last().unwrap()["info"], Value::Null);
    assert_eq!(rig.arbiter.deadline(), None, "no timer is left armed");
}

#[test]
fn what_an_ordered_end_leaves_of_a_tree_is_killed_and_a_crash_leaves_it_alone() {
    let mut rig = Rig::new(vec![watcher("a", 1)]);
    rig.pass(2.0);
    rig.exit(101, ExitStatus::Code(1));
    assert!(rig.signals.is_empty());
    rig.call(json!({"command": "stop", "properties": {"name": "a"}}));
    rig.exit(102, ExitStatus::Signal(15));
    assert_eq!(rig.signals, [(102, 15, Target::Main), (102, 9, Target::Tree)]);
}

#[test]
fn restart_tells_old_and_new_pids() {
    let mut rig = Rig::new(vec![watcher("a", 2)]);
    rig.topics();
    rig.call(json!({"command": "restart", "properties": {"name": "a", "waiting": true}}));
    rig.exit(101, ExitStatus::Signal(15));
    rig.exit(102, ExitStatus::Signal(15));
    assert_eq!(rig.topics(), ["a.kill", "a.kill", "a.reap", "a.reap", "a.stop", "a.spawn", "a.spawn", "a.start"]);
    let info = &rig.replies.last().unwrap()["info"];
    assert_eq!(*info, json!({"stopped": [101, 102], "started": [103, 104], "kept": []}));
}

#[test]
fn graceful_reload_starts_the_new_before_the_old_go() {
    let mut rig = Rig::new(vec![watcher("a", 2)]);
    rig.topics();
    rig.call(json!({"command": "reload", "properties": {"name": "a", "waiting": true}}));
    assert_eq!(rig.pids("a"), [101, 102, 103, 104]);
    rig.exit(101, ExitStatus::Signal(15));
    rig.exit(102, ExitStatus::Signal(15));
    assert_eq!(rig.topics(), ["a.spawn", "a.spawn", "a.kill", "a.kill", "a.reap", "a.reap", "a.reload"]);
    assert_eq!(rig.replies.last().unwrap()["info"]["started"], json!([103, 104]));
}

#[test]
fn sequential_reload_replaces_one_after_the_other() {
    let mut rig = Rig::new(vec![watcher("a", 2)]);
    rig.topics();
    rig.call(json!({"command": "reload", "properties": {"name": "a", "sequential": true, "waiting": true}}));
    rig.exit(101, ExitStatus::Signal(15));
    rig.exit(102, ExitStatus::Signal(15));
    assert_eq!(rig.topics(), ["a.kill", "a.reap", "a.spawn", "a.kill", "a.reap", "a.spawn", "a.reload"]);
}

#[test]
fn send_hup_keeps_the_processes() {
    let mut options = watcher("a", 2);
    options.send_hup = true;
    let mut rig = Rig::new(vec![options]);
    rig.topics();
    rig.call(json!({"command": "reload", "properties": {"name": "a"}}));
    assert_eq!((rig.topics(), rig.pids("a")), (vec!["a.reload".to_owned()], vec![101, 102]));
    assert_eq!(rig.signals, [(101, 1, Target::Main), (102, 1, Target::Main)]);
}

#[test]
fn decr_stops_the_oldest_and_waits_for_it() {
    let mut rig = Rig::new(vec![watcher("a", 1)]);
    rig.pass(1.0);
    let number = rig.call(json!({"command": "incr", "properties": {"name": "a", "nb": 2, "waiting": true}})).unwrap();
    assert_eq!(number["numprocesses"], 3);
    assert!(rig.call(json!({"command": "decr", "properties": {"name": "a", "waiting": true}})).is_none());
    assert_eq!(rig.signals, [(101, 15, Target::Main)]);
    rig.exit(101, ExitStatus::Signal(15));
    assert_eq!(rig.replies.last().unwrap()["numprocesses"], 2);
    assert_eq!(rig.pids("a"), [102, 103]);
}

#[test]
fn operations_on_one_watcher_queue_and_on_others_do_not_wait() {
    let mut rig = Rig::new(vec![watcher("a", 1), watcher("b", 1)]);
    rig.call(json!({"command": "stop", "properties": {"name": "a"}}));
    assert!(rig.call(json!({"command": "start", "properties": {"name": "a", "waiting": true}})).is_none());
    let other = rig.call(json!({"command": "incr", "properties": {"name": "b", "waiting": true}})).unwrap();
    assert_eq!(other["numprocesses"], 2);
    rig.exit(101, ExitStatus::Signal(15));
    assert_eq!(rig.replies.last().unwrap()["info"]["started"], json!([104]));
}

#[test]
fn a_stop_during_a_start_stops_what_still_comes() {
    let mut rig = Rig::unstarted(vec![watcher("a", 2)]);
    rig.hold = true;
    rig.event(Event::Attached(Vec::new()));
    rig.call(json!({"command": "stop", "properties": {"name": "a", "waiting": true}}));
    rig.release();
    assert_eq!(rig.status("a"), "stopping");
    rig.exit(101, ExitStatus::Signal(15));
    rig.exit(102, ExitStatus::Signal(15));
    assert_eq!(rig.status("a"), "stopped");
    assert_eq!(rig.replies.last().unwrap()["status"], "ok");
}

#[test]
fn a_large_start_asks_for_some_at_a_time() {
    let mut rig = Rig::unstarted(vec![watcher("a", 1000)]);
    rig.hold = true;
    rig.event(Event::Attached(Vec::new()));
    assert_eq!(rig.held.len(), ASKED_AT_ONCE, "the first, before anything is answered");
    let first = rig.held.remove(0);
    rig.spawn(first);
    assert_eq!(rig.held.len(), ASKED_AT_ONCE, "one more for each answer");
    assert_eq!(rig.arbiter.deadline(), None, "an answer is waited for, not a time");
    while !rig.held.is_empty() {
        let next = rig.held.remove(0);
        rig.spawn(next);
        assert!(rig.held.len() <= ASKED_AT_ONCE);
    }
    assert_eq!((rig.pids("a").len(), rig.status("a")), (1000, "active"));
}

#[test]
fn many_that_have_ended_are_replaced_some_at_a_time() {
    let mut rig = Rig::new(vec![watcher("a", 600)]);
    rig.hold = true;
    for pid in rig.pids("a") {
        rig.exit(pid, ExitStatus::Code(1));
    }
    rig.pass(0.2);
    assert_eq!(rig.held.len(), ASKED_AT_ONCE);
    assert_eq!(rig.arbiter.deadline(), None, "an answer is waited for, not a time");
    rig.release();
    assert_eq!(rig.pids("a").len(), 600);
}

#[test]
fn a_warmup_that_is_over_before_its_process_comes_arms_no_timer() {
    let mut options = watcher("a", 3);
    options.warmup_delay = Seconds::Whole(2);
    let mut rig = Rig::unstarted(vec![options]);
    rig.hold = true;
    rig.event(Event::Attached(Vec::new()));
    rig.pass(5.0);
    assert_eq!((rig.held.len(), rig.arbiter.deadline()), (1, None));
    rig.release();
    assert_eq!(rig.spawns.len(), 2, "the second comes at once");
}

#[test]
fn warmup_spaces_the_spawns() {
    let mut options = watcher("a", 3);
    options.warmup_delay = Seconds::Whole(2);
    let mut rig = Rig::new(vec![options]);
    rig.pass(3.0);
    assert_eq!(rig.status("a"), "starting");
    rig.pass(10.0);
    assert_eq!((rig.spawns.clone(), rig.status("a")), (vec![0.0, 2.0, 4.0], "active"));
}

#[test]
fn a_stop_does_not_wait_for_the_rest_of_a_start() {
    let mut options = watcher("a", 5);
    options.warmup_delay = Seconds::Whole(60);
    let mut rig = Rig::new(vec![options]);
    rig.pass(70.0);
    assert_eq!((rig.pids("a").len(), rig.status("a")), (2, "starting"));
    rig.call(json!({"command": "stop", "properties": {"name": "a", "waiting": true}}));
    assert_eq!((rig.signals.len(), rig.status("a")), (2, "stopping"));
    rig.exit(101, ExitStatus::Signal(15));
    rig.exit(102, ExitStatus::Signal(15));
    assert_eq!((rig.replies.last().unwrap()["status"].clone(), rig.status("a")), (json!("ok"), "stopped"));
    rig.pass(600.0);
    assert_eq!(rig.spawns.len(), 2);
}

#[test]
fn fewer_processes_that_are_wanted_during_a_start_are_not_started_first() {
    let mut options = watcher("a", 5);
    options.warmup_delay = Seconds::Whole(60);
    let mut rig = Rig::new(vec![options]);
    rig.call(json!({"command": "decr", "properties": {"name": "a", "nb": 3}}));
    rig.pass(600.0);
    assert_eq!((rig.spawns.clone(), rig.status("a")), (vec![0.0, 60.0], "active"));
}

#[test]
fn respawn_off_ends_with_a_stop() {
    let mut options = watcher("a", 2);
    options.respawn = false;
    let mut rig = Rig::new(vec![options]);
    rig.topics();
    rig.exit(101, ExitStatus::Code(4));
    assert_eq!(rig.topics(), ["a.reap"]);
    rig.exit(102, ExitStatus::Code(4));
    assert_eq!((rig.topics(), rig.status("a")), (vec!["a.reap".to_owned(), "a.stop".to_owned()], "stopped"));
}

#[test]
fn max_age_replaces_a_process() {
    let mut options = watcher("a", 1);
    options.max_age = 10;
    options.max_age_variance = 0;
    let mut rig = Rig::new(vec![options]);
    rig.pass(9.9);
    assert!(rig.signals.is_empty());
    rig.pass(0.2);
    assert_eq!(rig.signals, [(101, 15, Target::Main)]);
    rig.exit(101, ExitStatus::Signal(15));
    assert_eq!(rig.pids("a"), [102]);
}

#[test]
fn quit_stops_leased_watchers_and_leaves_persistent_ones() {
    let mut persistent = watcher("p", 1);
    persistent.use_papa = true;
    let mut rig = Rig::new(vec![watcher("a", 1), persistent]);
    rig.topics();
    rig.call(json!({"command": "quit", "properties": {"waiting": true}}));
    assert_eq!(rig.finished, None);
    let refused = rig.call(json!({"command": "start", "properties": {"name": "a"}})).unwrap();
    assert_eq!(
        (refused["errno"].clone(), refused["reason"].clone()),
        (json!(5), json!("arbiter is already running arbiter_stop command"))
    );
    rig.exit(101, ExitStatus::Signal(15));
    assert_eq!(
        (rig.finished, rig.topics()),
        (Some(Ending::Quit), vec!["a.kill".into(), "a.reap".into(), "a.stop".into()])
    );
    assert_eq!(rig.pids("p"), [102]);
}

#[test]
fn quit_finishes_a_stop_of_a_persistent_watcher() {
    let mut persistent = watcher("p", 1);
    persistent.use_papa = true;
    persistent.graceful_timeout = Seconds::Whole(2);
    let mut rig = Rig::new(vec![persistent]);
    rig.call(json!({"command": "stop", "properties": {"name": "p"}}));
    rig.call(json!({"command": "quit"}));
    assert_eq!(rig.finished, None);
    rig.pass(2.1);
    rig.exit(101, ExitStatus::Signal(9));
    assert_eq!(rig.finished, Some(Ending::Quit));
    assert_eq!(rig.signals.last(), Some(&(101, 9, Target::Tree)));
}

#[test]
fn quit_answers_those_who_wait_for_something_else() {
    let mut rig = Rig::new(vec![watcher("a", 1)]);
    rig.call(json!({"id": "one", "command": "stop", "properties": {"name": "a", "waiting": true}}));
    rig.call(json!({"id": "two", "command": "quit"}));
    let ids: Vec<&Value> = rig.replies.iter().map(|reply| &reply["id"]).collect();
    assert_eq!(ids, ["one", "two"]);
    assert_eq!(rig.replies[0]["errno"], 5);
}

#[test]
fn recovery_takes_back_pids_and_numbers() {
    let mut rig = Rig::unstarted(vec![watcher("Web", 3)]);
    let note = |wid: u32| json!({"watcher": "Web", "wid": wid}).to_string().into_bytes();
    let mut gone = info(52, "circus.web.2", &note(2), 500.0);
    gone.exit = Some(exit(ExitStatus::Code(3), 900.0));
    let found = vec![info(51, "circus.web.1", &note(1), 400.0), gone, info(53, "circus.web.3", &note(3), 600.0)];
    rig.event(Event::Attached(found));
    let wids: Vec<(u32, i32)> = rig
        .arbiter
        .watcher("web")
        .unwrap()
        .processes
        .iter()
        .map(|process| (process.wid.0, process.live_pid().unwrap()))
        .collect();
    assert_eq!(wids, [(1, 51), (2, 101), (3, 53)]);
    assert_eq!(rig.events[0].1["time"], json!(400.0));
    let reap = rig.events.iter().find(|(topic, _)| topic.ends_with("reap")).unwrap();
    assert_eq!((reap.1["process_pid"].clone(), reap.1["exit_code"].clone()), (json!(52), json!(3)));
    assert_eq!(rig.forgotten, [process(52)]);
}

#[test]
fn a_process_of_no_watcher_is_left_or_stopped_by_its_lifetime() {
    let mut rig = Rig::unstarted(vec![]);
    let mut kept = info(51, "circus.old.1", b"{\"watcher\":\"old\",\"wid\":1}", 1.0);
    kept.lifetime = Lifetime::Persistent;
    let leased = info(52, "circus.old.2", b"{\"watcher\":\"old\",\"wid\":2}", 1.0);
    rig.event(Event::Attached(vec![kept, leased]));
    assert_eq!(rig.signals, [(52, 15, Target::Tree)]);
}

#[test]
fn the_end_of_a_short_life_may_be_told_first() {
    let mut rig = Rig::unstarted(vec![watcher("a", 1)]);
    rig.hold = true;
    rig.event(Event::Attached(Vec::new()));
    rig.exit(101, ExitStatus::Code(7));
    rig.release();
    assert_eq!(rig.topics(), ["a.spawn", "a.reap", "a.start"]);
}

#[test]
fn nothing_is_asked_of_a_core_that_is_away() {
    let mut rig = Rig::new(vec![watcher("a", 2)]);
    rig.pass(2.0);
    rig.event(Event::Detached);
    rig.call(json!({"command": "incr", "properties": {"name": "a"}}));
    assert_eq!(rig.spawns.len(), 2);
    let note = |wid: u32| json!({"watcher": "a", "wid": wid}).to_string().into_bytes();
    rig.event(Event::Attached(vec![info(101, "circus.a.1", &note(1), 1000.0)]));
    assert_eq!(rig.pids("a").len(), 3);
    assert!(rig.pids("a").contains(&101) && !rig.pids("a").contains(&102));
}

#[test]
fn every_call_gets_one_reply_and_a_cast_none() {
    let mut rig = Rig::new(vec![watcher("a", 1)]);
    for command in crate::commands::COMMANDS
        .iter()
        .filter(|command| !matches!(command.name, "quit" | "restart" | "stats" | "dstats" | "upgrade"))
    {
        let before = rig.replies.len();
        rig.call(json!({"id": 1, "command": command.name, "properties": {"name": "nope", "keys": [], "signum": 1}}));
        assert_eq!(rig.replies.len(), before + 1, "{}", command.name);
        rig.call(json!({"id": 1, "msg_type": "cast", "command": command.name, "properties": {"name": "nope"}}));
        assert_eq!(rig.replies.len(), before + 1, "{}", command.name);
    }
}
