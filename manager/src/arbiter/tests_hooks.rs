//! Hooks as the arbiter sees them: a call goes out, an answer comes in, or none for as long as the test likes.

use super::test_rig::*;
use super::*;
use crate::hooks::{HookAnswer, HookCall, HookError};
use crate::options::WatcherOptions;
use ringmaster_protocol::message::{ExitStatus, Target};
use serde_json::{Value, json};

const TERM: i32 = 15;

fn with_hooks(hooks: &[&str]) -> WatcherOptions {
    let mut options = watcher("alpha", 2);
    for name in hooks {
        options.hooks.insert((*name).to_owned(), (format!("my.hooks.{name}"), false));
    }
    options
}

fn raised() -> Result<HookAnswer, HookError> {
    Err(HookError::Raised { message: "boom".to_owned(), traceback: String::new() })
}

fn yes() -> Result<HookAnswer, HookError> {
    Ok(HookAnswer::plain(true))
}

fn no() -> Result<HookAnswer, HookError> {
    Ok(HookAnswer::plain(false))
}

impl Rig {
    /// Answers the oldest call; gives it.
    fn answer(&mut self, outcome: Result<HookAnswer, HookError>) -> HookCall {
        assert!(!self.hook_calls.is_empty(), "no hook is being asked");
        let call = self.hook_calls.remove(0);
        self.event(Event::HookDone { ticket: call.ticket, outcome });
        call
    }

    /// Answers every call in the same way until none is left; gives the names of the points.
    fn answer_all(&mut self, outcome: &Result<HookAnswer, HookError>) -> Vec<&'static str> {
        let mut names = Vec::new();
        while !self.hook_calls.is_empty() {
            names.push(self.answer(outcome.clone()).point.name());
        }
        names
    }

    fn stop(&mut self) {
        self.call(json!({"command": "stop", "properties": {"name": "alpha"}}));
    }

    fn end_all(&mut self) {
        for pid in self.pids("alpha") {
            self.exit(pid, ExitStatus::Signal(TERM));
        }
    }
}

#[test]
fn before_start_is_waited_for_and_status_answers_meanwhile() {
    let mut rig = Rig::new(vec![with_hooks(&["before_start"])]);
    rig.pass(3600.0);
    assert!(rig.spawns.is_empty());
    let status = rig.call(json!({"command": "status", "properties": {"name": "alpha"}})).unwrap();
    assert_eq!(status["status"], "stopped");
    rig.answer(yes());
    assert_eq!(rig.topics(), ["alpha.hook_success", "alpha.spawn", "alpha.spawn", "alpha.start"]);
}

#[test]
fn a_before_start_that_says_no_leaves_the_watcher_stopped_without_a_word() {
    for (outcome, event) in [(no(), "alpha.hook_success"), (raised(), "alpha.hook_failure")] {
        let mut rig = Rig::new(vec![with_hooks(&["before_start"])]);
        rig.answer(outcome);
        assert_eq!((rig.topics(), rig.status("alpha")), (vec![event.to_owned()], "stopped"));
        let started = json!({"command": "start", "properties": {"name": "alpha", "waiting": true}});
        assert_eq!(rig.call(started), None);
        rig.answer(no());
        assert_eq!(rig.replies.last().unwrap()["info"], json!({"started": [], "kept": []}));
    }
}

#[test]
fn an_ignored_failure_is_published_and_changes_nothing() {
    let mut options = with_hooks(&["before_start"]);
    options.hooks.insert("before_start".to_owned(), ("my.hook".to_owned(), true));
    let mut rig = Rig::new(vec![options]);
    rig.answer(raised());
    let (topic, failure) = rig.events.first().unwrap().clone();
    assert_eq!(topic, "watcher.alpha.hook_failure");
    assert_eq!((&failure["name"], &failure["error"]), (&json!("before_start"), &json!("boom")));
    assert_eq!((rig.status("alpha"), rig.pids("alpha").len()), ("active", 2));
}

#[test]
fn after_start_that_says_no_stops_what_has_started() {
    let mut rig = Rig::new(vec![with_hooks(&["after_start", "before_stop", "after_stop"])]);
    assert_eq!(rig.status("alpha"), "starting");
    rig.answer(no());
    assert_eq!(rig.answer(no()).point.name(), "before_stop");
    rig.end_all();
    assert_eq!(rig.answer(raised()).point.name(), "after_stop");
    assert_eq!(rig.status("alpha"), "stopped");
    let topics = rig.topics();
    assert!(!topics.contains(&"alpha.start".to_owned()) && topics.contains(&"alpha.stop".to_owned()), "{topics:?}");
}

#[test]
fn before_spawn_that_says_no_stops_the_watcher() {
    let mut rig = Rig::new(vec![with_hooks(&["before_spawn"])]);
    assert_eq!(rig.hook_calls.len(), 2);
    rig.answer(yes());
    assert_eq!(rig.pids("alpha").len(), 1);
    rig.answer(no());
    rig.end_all();
    assert_eq!((rig.status("alpha"), rig.spawns.len(), rig.hook_calls.len()), ("stopped", 1, 0));
}

#[test]
fn before_spawn_that_says_no_to_a_replacement_stops_the_watcher() {
    let mut rig = Rig::new(vec![with_hooks(&["before_spawn"])]);
    rig.answer_all(&yes());
    assert_eq!(rig.status("alpha"), "active");
    let first = rig.pids("alpha")[0];
    rig.pass(2.0);
    rig.exit(first, ExitStatus::Code(1));
    rig.answer(no());
    rig.end_all();
    assert_eq!((rig.status("alpha"), rig.pids("alpha").len()), ("stopped", 0));
}

#[test]
fn a_process_is_announced_after_its_after_spawn_even_when_it_has_ended_by_then() {
    let mut rig = Rig::new(vec![with_hooks(&["after_spawn", "before_reap", "after_reap"])]);
    let pids = rig.pids("alpha");
    assert_eq!((rig.topics(), rig.status("alpha")), (Vec::new(), "starting"));
    rig.exit(pids[0], ExitStatus::Code(7));
    rig.pass(5.0);
    assert_eq!((rig.topics(), rig.forgotten.len()), (Vec::new(), 0));
    let call = rig.answer(yes());
    assert_eq!(call.facts, *json!({"pid": pids[0]}).as_object().unwrap());
    assert_eq!(rig.topics(), ["alpha.hook_success", "alpha.spawn", "alpha.reap"]);
    assert_eq!(rig.forgotten.len(), 1);
    rig.answer(yes());
    let names = rig.answer_all(&yes());
    assert_eq!(names, ["before_reap", "after_reap", "after_spawn"]);
    assert_eq!((rig.status("alpha"), rig.pids("alpha").len()), ("active", 2));
}

#[test]
fn a_process_that_after_spawn_refuses_goes_unannounced_with_its_watcher() {
    let mut rig = Rig::new(vec![with_hooks(&["after_spawn"])]);
    rig.answer(no());
    rig.answer(yes());
    let signalled: Vec<i32> = rig.signals.iter().map(|(pid, ..)| *pid).collect();
    assert_eq!(signalled, rig.pids("alpha"));
    rig.end_all();
    assert_eq!(rig.status("alpha"), "stopped");
    let spawned = rig.topics().iter().filter(|topic| *topic == "alpha.spawn" || *topic == "alpha.reap").count();
    assert_eq!(spawned, 2, "one process, coming and going");
}

#[test]
fn before_signal_may_forbid_but_not_for_ever() {
    let mut rig = Rig::new(vec![with_hooks(&["before_signal", "after_signal"])]);
    rig.stop();
    let call = rig.answer(no());
    assert_eq!((&call.facts["signum"], rig.signals.len()), (&json!(TERM), 0));
    rig.answer(raised());
    assert_eq!(rig.signals.len(), 1, "a failure is ignored here");
    assert!(rig.answer_all(&no()).iter().all(|name| *name == "after_signal"));
    rig.pass(60.0);
    let killed = rig.signals.iter().filter(|signal| matches!(signal, (_, 9, Target::Tree))).count();
    assert_eq!(killed, 2, "SIGKILL asks nobody: {:?}", rig.signals);
}

#[test]
fn a_before_signal_that_never_answers_only_delays_until_sigkill() {
    let mut rig = Rig::new(vec![with_hooks(&["before_signal"])]);
    rig.stop();
    assert!(rig.signals.is_empty());
    rig.pass(60.0);
    assert_eq!(rig.signals.iter().filter(|(_, signal, _)| *signal == 9).count(), 2);
    rig.end_all();
    assert_eq!(rig.status("alpha"), "stopped");
}

#[test]
fn a_stop_does_not_wait_for_before_spawn() {
    let mut rig = Rig::new(vec![with_hooks(&["before_spawn"])]);
    rig.event(Event::Signal(OwnSignal::Term));
    assert_eq!((rig.status("alpha"), rig.finished), ("stopped", None));
    rig.answer_all(&yes());
    assert_eq!((rig.finished, rig.spawns.len()), (Some(Ending::Quit), 0));
}

#[test]
fn the_end_waits_for_the_last_hooks() {
    let mut rig = Rig::new(vec![with_hooks(&["before_stop", "after_stop", "after_reap"])]);
    rig.event(Event::Signal(OwnSignal::Term));
    assert!(rig.signals.is_empty());
    rig.answer(no());
    rig.end_all();
    assert_eq!(rig.finished, None);
    assert_eq!(rig.answer_all(&no()), ["after_reap", "after_reap", "after_stop"]);
    assert_eq!(rig.finished, Some(Ending::Quit));
}

#[test]
fn a_hook_is_told_what_the_point_is_about() {
    let mut rig = Rig::new(vec![with_hooks(&["before_reap", "after_reap"])]);
    let pid = rig.pids("alpha")[0];
    rig.exit(pid, ExitStatus::Signal(9));
    let before = rig.answer(yes());
    assert_eq!(before.facts["process_pid"], pid);
    let after = rig.answer(yes());
    let facts = &after.facts;
    assert_eq!((&facts["exit_code"], &facts["process_status"]), (&json!(-9), &json!(1)));
    assert_eq!(after.snapshot["name"], "alpha");
}

#[test]
fn set_replaces_a_hook_and_has_its_module_read_again() {
    let mut rig = Rig::new(vec![with_hooks(&["before_stop"])]);
    let set =
        json!({"command": "set", "properties": {"name": "alpha", "options": {"hooks.before_stop": "other.hook"}}});
    assert_eq!(rig.call(set).unwrap()["status"], "ok");
    rig.stop();
    let call = rig.answer(yes());
    assert_eq!((call.target.as_str(), call.generation), ("other.hook", 1));
}

#[test]
fn extended_statistics_are_what_the_hook_leaves() {
    let mut rig = Rig::new(vec![with_hooks(&["extended_stats"])]);
    let sampled = |rig: &mut Rig| {
        let (asker, extension) = rig.sampled.take().unwrap();
        let info = json!({"info": {"101": {"cpu": 1.0}, "102": "No such process (stopped?)"}});
        let result = Ok(info.as_object().unwrap().clone());
        rig.event(Event::Sampled { asker, result, extension });
    };
    let stats = |extended: bool| json!({"command": "stats", "properties": {"name": "alpha", "extended": extended}});
    rig.call(stats(false));
    sampled(&mut rig);
    assert!(rig.hook_calls.is_empty());
    rig.call(stats(true));
    sampled(&mut rig);
    let call = &rig.hook_calls[0];
    assert_eq!(call.facts["stats"], json!({"101": {"cpu": 1.0}}));
    let stats_now = json!({"101": {"cpu": 1.0, "requests": 7}}).as_object().cloned();
    rig.answer(Ok(HookAnswer { truth: true, stats: stats_now }));
    let info: &Value = &rig.replies.last().unwrap()["info"];
    assert_eq!(*info, json!({"101": {"cpu": 1.0, "requests": 7}, "102": "No such process (stopped?)"}));
    rig.call(stats(true));
    sampled(&mut rig);
    rig.answer(raised());
    assert_eq!(rig.replies.last().unwrap()["reason"], "boom");
    assert!(rig.topics().iter().all(|topic| !topic.contains("hook_")), "no events (spec i)");
}

#[test]
fn processes_that_were_taken_back_are_no_start() {
    let mut rig = Rig::unstarted(vec![with_hooks(&["before_start", "before_spawn", "after_start"])]);
    let note = |wid: u32| json!({"watcher": "alpha", "wid": wid}).to_string().into_bytes();
    let there = vec![info(51, "alpha-1", &note(1), 900.0), info(52, "alpha-2", &note(2), 900.0)];
    rig.event(Event::Attached(there));
    assert_eq!(rig.answer(yes()).point.name(), "after_start");
    assert_eq!((rig.status("alpha"), rig.pids("alpha")), ("active", vec![51, 52]));
}
