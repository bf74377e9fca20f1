//! Events across a circusd that is killed: none is lost, none comes twice, each has its own time; and what was answered
//! stays.

use crate::upgrade::ctl;
use anyhow::{Context, Result, ensure};
use ringmaster_tests::processes;
use ringmaster_tests::stack::{PATIENCE, Stack};
use ringmaster_tests::wait::wait_until;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const TWO: &str = "[watcher:a]\ncmd = sleep 3600\nnumprocesses = 2\n[watcher:b]\ncmd = sleep 3600\n";

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// All events that circusd keeps: number, topic, the event itself.
fn kept(stack: &mut Stack, since: u64) -> Result<Vec<(u64, String, Value)>> {
    let reply = stack.call("events", &json!({"since": since}))?;
    let events = reply.get("events").and_then(Value::as_array).with_context(|| reply.to_string())?;
    let one = |event: &Value| {
        let seq = event.get("seq")?.as_u64()?;
        Some((seq, event.get("topic")?.as_str()?.to_owned(), event.get("event")?.clone()))
    };
    events.iter().map(|event| one(event).with_context(|| event.to_string())).collect()
}

#[test]
fn what_happened_while_circusd_was_away_is_told_once_in_order_and_with_its_time() -> Result<()> {
    let mut stack = Stack::new("away", "", TWO)?;
    stack.start()?;
    let (a, b) = (stack.pids("a")?, stack.pids("b")?);
    let before = kept(&mut stack, 0)?;
    let last = before.last().map(|(seq, ..)| *seq).context("events of the start")?;
    stack.driver.subscribe(&stack.sandbox.pubsub_endpoint())?;
    // The subscription stands when an event comes through.
    wait_until(PATIENCE, "the subscriber is there", || {
        stack.call("set", &json!({"name": "b", "options": {"graceful_timeout": 7}})).map_err(|e| e.to_string())?;
        let events = stack.driver.events(Duration::from_millis(100), Some(1)).map_err(|e| e.to_string())?;
        if events.is_empty() { Err("no event".to_owned()) } else { Ok(()) }
    })?;
    stack.driver.events(Duration::from_millis(300), None)?;
    let seen = kept(&mut stack, last)?.last().map_or(last, |(seq, ..)| *seq);

    stack.kill_daemon()?;
    let killed = now();
    let (first, second) = (*b.first().context("b runs")?, *a.first().context("a runs")?);
    for pid in [first, second] {
        processes::signal(pid, Signal::KILL);
        // Reaped, so the core has noted its end: of two that have ended when it looks, the system does not tell which was the first.
        let folder = std::path::PathBuf::from(format!("/proc/{pid}"));
        wait_until(PATIENCE, "it is reaped", || if folder.exists() { Err("it is there") } else { Ok(()) })?;
    }
    let dead = now();
    stack.start()?;
    stack.await_count("a", 2)?;
    stack.await_count("b", 1)?;

    let mut told = Vec::new();
    wait_until(PATIENCE, "two ends and two replacements are told", || {
        told.extend(stack.driver.events(Duration::from_millis(200), None).map_err(|e| e.to_string())?);
        if told.len() >= 4 { Ok(()) } else { Err(format!("{told:?}")) }
    })?;
    told.extend(stack.driver.events(Duration::from_millis(300), None)?);
    let reaps: Vec<(i64, f64)> = told
        .iter()
        .filter(|event| event.topic.ends_with(".reap"))
        .filter_map(|event| Some((event.body.get("process_pid")?.as_i64()?, event.body.get("time")?.as_f64()?)))
        .collect();
    let pids: Vec<i64> = reaps.iter().map(|(pid, _)| *pid).collect();
    ensure!(pids == [i64::from(first), i64::from(second)], "{told:?}");
    ensure!(reaps.iter().all(|(_, time)| (killed..=dead).contains(time)), "{killed} {reaps:?} {dead}");
    let spawns = told.iter().filter(|event| event.topic.ends_with(".spawn")).count();
    ensure!((spawns, told.len()) == (2, 4), "{told:?}");

    // By their numbers: one after the other, the same ones, across the kill.
    let after = kept(&mut stack, seen)?;
    let numbers: Vec<u64> = after.iter().map(|(seq, ..)| *seq).collect();
    ensure!(numbers == (seen + 1..=seen + 4).collect::<Vec<u64>>(), "{numbers:?} after {seen}");
    let topics: Vec<&String> = after.iter().map(|(_, topic, _)| topic).collect();
    ensure!(topics == told.iter().map(|event| &event.topic).collect::<Vec<_>>(), "{topics:?}");
    let all = kept(&mut stack, 0)?;
    ensure!(all.get(..before.len()) == Some(before.as_slice()), "what was kept before is kept");
    stack.end()
}

#[test]
fn a_listener_by_numbers_misses_nothing_while_circusd_is_killed_again_and_again() -> Result<()> {
    let mut stack = Stack::new("since", "", TWO)?;
    stack.start()?;
    for round in 0..3 {
        let pid = *stack.pids("b")?.first().context("b runs")?;
        if round == 1 {
            processes::signal(pid, Signal::KILL);
        }
        stack.kill_daemon()?;
        if round == 2 {
            processes::signal(pid, Signal::KILL);
        }
        stack.start()?;
        stack.await_count("b", 1)?;
    }
    let numbers: Vec<u64> = kept(&mut stack, 0)?.iter().map(|(seq, ..)| *seq).collect();
    let last = u64::try_from(numbers.len())?;
    ensure!(numbers == (1..=last).collect::<Vec<u64>>(), "{numbers:?}");
    let spawns: Vec<String> = kept(&mut stack, 0)?
        .into_iter()
        .filter(|(_, topic, _)| topic == "watcher.b.spawn")
        .map(|(_, _, event)| event.to_string())
        .collect();
    let mut distinct = spawns.clone();
    distinct.dedup();
    ensure!(spawns.len() == 3 && distinct.len() == 3, "one start and two replacements, each once: {spawns:?}");
    stack.end()
}

#[test]
fn what_was_answered_survives_a_kill_right_after_the_answer() -> Result<()> {
    let mut stack = Stack::new("answered", "", TWO)?;
    stack.start()?;
    for round in 0..6_u32 {
        stack.call("incr", &json!({"name": "b"}))?;
        let name = format!("new{round}");
        stack.call("add", &json!({"name": name, "cmd": "sleep 3600"}))?;
        stack.kill_daemon()?;
        stack.start()?;
        let reply = stack.call("get", &json!({"name": "b", "keys": ["numprocesses"]}))?;
        let expected = json!({"numprocesses": round + 2});
        ensure!(reply.get("options") == Some(&expected), "round {round}: {reply}");
        stack.call("status", &json!({"name": name})).with_context(|| format!("round {round}"))?;
        stack.call("rm", &json!({"name": name}))?;
        stack.kill_daemon()?;
        stack.start()?;
        ensure!(stack.call("status", &json!({"name": name})).is_err(), "round {round}: rm was forgotten");
    }
    let (said, ..) = ctl(&stack, &["options", "b"])?;
    ensure!(said.contains("numprocesses: 7  # in the file: 1"), "{said}");
    stack.call("reloadconfig", &json!({"waiting": true}))?;
    let (said, ..) = ctl(&stack, &["options", "b"])?;
    ensure!(!said.contains('#'), "{said}");
    stack.end()
}
