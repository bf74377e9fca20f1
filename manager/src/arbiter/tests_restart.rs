//! `restart` of everything, and what is asked for while circusd goes.

use super::test_rig::{Rig, info, watcher};
use super::tests_next::listed;
use super::tests_reload_config::config;
use super::*;
use crate::process::Making;
use ringmaster_protocol::message::ExitStatus;
use serde_json::{Value, json};

fn restart(rig: &mut Rig, properties: Value) -> Option<Value> {
    rig.call(json!({"id": "restart", "command": "restart", "properties": properties}))
}

fn file(rig: &mut Rig, cmd: &str) {
    let mut changed = watcher("a", 1);
    changed.cmd = cmd.to_owned();
    rig.event(Event::ConfigRead(Ok(Box::new(config(vec![changed], Vec::new())))));
}

#[test]
fn a_process_is_noted_with_the_options_that_it_was_made_of() {
    let mut rig = Rig::new(vec![watcher("a", 2)]);
    rig.call(json!({"command": "set", "properties": {"name": "a", "options": {"graceful_timeout": 7}}}));
    rig.call(json!({"command": "incr", "properties": {"name": "a"}}));
    rig.call(json!({"command": "set", "properties": {"name": "a", "options": {"numprocesses": 4, "cmd": "other"}}}));
    rig.pass(60.0);
    let made = |pid: i32| Making::noted(&rig.launches[&pid].spawn.note).unwrap();
    let now = Making::of(&rig.arbiter.watcher("a").unwrap().options, &Rig::world().environment);
    assert_eq!((made(101), made(102)), (made(103), made(103)));
    assert_eq!(now.differences(&made(101)).into_iter().collect::<Vec<_>>(), ["cmd"]);
    assert_eq!(made(rig.next_pid), now);
}

#[test]
fn a_file_with_errors_restarts_nothing_and_is_told() {
    let mut rig = Rig::new(vec![watcher("a", 1)]);
    rig.topics();
    assert_eq!((restart(&mut rig, json!({})), rig.config_reads), (None, 1));
    rig.event(Event::ConfigRead(Err("c.ini:3: [circus] check_delay = soon: expected\nc.ini:9: another".to_owned())));
    let reply = rig.replies.last().unwrap();
    let reason = "nothing is restarted, because the file has errors: \
                  c.ini:3: [circus] check_delay = soon: expected; c.ini:9: another";
    assert_eq!((&reply["status"], &reply["reason"], &reply["errno"]), (&json!("error"), &json!(reason), &json!(5)));
    assert!(rig.topics().is_empty() && rig.signals.is_empty() && rig.arbiter.take_file().is_none());
    // It is as if nobody had asked.
    assert!(restart(&mut rig, json!({})).is_none());
    assert_eq!(restart(&mut rig, json!({})).unwrap()["reason"], "arbiter is restarting...");
}

#[test]
fn what_was_read_is_what_the_next_life_begins_with() {
    for waiting in [false, true] {
        let mut rig = Rig::new(vec![watcher("a", 1)]);
        restart(&mut rig, json!({"waiting": waiting}));
        file(&mut rig, "other");
        assert_eq!(rig.replies.len(), usize::from(!waiting));
        assert_eq!(rig.finished, None);
        rig.exit(101, ExitStatus::Signal(15));
        assert_eq!((rig.finished, rig.replies.len()), (Some(Ending::Restart), 1));
        assert_eq!(rig.replies[0]["status"], "ok");
        assert_eq!(rig.arbiter.take_file().unwrap().watchers[0].cmd, "other");
    }
}

#[test]
fn a_signal_to_end_outdoes_a_restart_under_way() {
    let mut rig = Rig::new(vec![watcher("a", 1)]);
    restart(&mut rig, json!({}));
    file(&mut rig, "other");
    rig.event(Event::Signal(OwnSignal::Hup));
    rig.event(Event::Signal(OwnSignal::Term));
    assert_eq!(rig.finished, None);
    rig.exit(101, ExitStatus::Signal(15));
    assert_eq!(rig.finished, Some(Ending::Quit));
}

#[test]
fn quit_does_not_wait_for_the_file_of_a_restart() {
    let mut rig = Rig::new(vec![watcher("a", 1)]);
    restart(&mut rig, json!({}));
    rig.call(json!({"id": "quit", "command": "quit"}));
    let ids: Vec<&Value> = rig.replies.iter().map(|reply| &reply["id"]).collect();
    assert_eq!(ids, ["restart", "quit"]);
    assert_eq!(rig.replies[0]["status"], "error");
    file(&mut rig, "other");
    rig.exit(101, ExitStatus::Signal(15));
    assert_eq!(rig.finished, Some(Ending::Quit));
}

#[test]
fn who_wants_circusd_to_end_while_it_goes_for_another_calls_the_upgrade_off() {
    for quit in [Event::Signal(OwnSignal::Term), request("quit")] {
        let mut rig = Rig::new(vec![watcher("a", 1)]);
        rig.event(Event::Signal(OwnSignal::Usr2));
        rig.event(Event::Tried(Ok("9.9".to_owned())));
        assert_eq!(rig.finished, Some(Ending::Upgrade));
        rig.event(Event::Signal(OwnSignal::Hup));
        assert!(!rig.arbiter.is_called_off());
        rig.event(quit);
        assert!(rig.arbiter.is_called_off());
        assert!(rig.replies.iter().all(|reply| reply["status"] == "ok"));
    }
    // Nothing is called off by those who have quit already.
    let mut rig = Rig::new(Vec::new());
    rig.event(request("quit"));
    rig.event(request("quit"));
    assert_eq!((rig.arbiter.is_called_off(), rig.replies.len()), (false, 2));
    assert_eq!(rig.replies[1]["status"], "error");
}

fn request(command: &str) -> Event {
    let payload = json!({"id": "1", "command": command}).to_string().into_bytes();
    Event::Request { client: crate::endpoints::ClientId::for_test(1), payload, arrived: None }
}

#[test]
fn a_process_is_noted_with_what_it_is_made_of() {
    let rig = Rig::new(vec![watcher("a", 1)]);
    let made_of = Making::noted(&rig.launches[&101].spawn.note).unwrap();
    let mut changed = watcher("a", 1);
    assert!(Making::of(&changed, &Rig::world().environment).differences(&made_of).is_empty());
    changed.cmd = "other".to_owned();
    assert_eq!(Making::of(&changed, &Rig::world().environment).differences(&made_of).len(), 1);
    // The next circusd, with another file, takes it back and says what is old about it, until it is replaced.
    let note = rig.launches[&101].spawn.note.clone();
    let mut rig = Rig::unstarted(vec![changed]);
    rig.event(Event::Attached(vec![info(101, "circus.a.1", &note, 1000.0)]));
    let ask = json!({"command": "options", "properties": {"name": "a"}});
    assert_eq!(rig.call(ask.clone()).unwrap()["outdated"], json!({"cmd": [101]}));
    rig.exit(101, ExitStatus::Code(0));
    assert_ne!(rig.pids("a"), [101]);
    assert_eq!(rig.call(ask).unwrap().get("outdated"), None);
    // One of an older circusd says nothing, and is taken back.
    let mut rig = Rig::unstarted(vec![watcher("a", 1)]);
    rig.event(Event::Attached(vec![listed(101, "a", 1, None)]));
    assert_eq!(rig.pids("a"), [101]);
}

#[test]
fn a_pattern_that_is_none_is_refused_in_one_line() {
    let mut rig = Rig::new(vec![watcher("a", 1)]);
    let reply = rig.call(json!({"command": "stop", "properties": {"name": "a[", "match": "regex"}})).unwrap();
    let reason = reply["reason"].as_str().unwrap();
    assert!(reason.ends_with("invalid pattern: unclosed character class"), "{reason}");
}

#[test]
fn a_name_that_would_forge_lines_of_the_log_is_refused() {
    let mut rig = Rig::new(Vec::new());
    let reply = rig.call(json!({"command": "add", "properties": {"name": "a\nb", "cmd": "x"}})).unwrap();
    assert_eq!(reply["reason"], "the name of a watcher has no line breaks and no other control characters");
    assert_eq!((&reply["errno"], rig.arbiter.watchers.len()), (&json!(3), 0));
}
