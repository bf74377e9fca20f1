//! Comparing the events of a whole transcript, watcher by watcher.
//!
//! The order of the events of one watcher is stable; how those of different watchers interleave, and in which pause
//! between two steps an event arrives, is not.

use crate::golden::{RecordedEvent, Settings, Transcript};
use crate::replay::{Finding, What};
use ringmaster_tests::driver::Event;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// One event as it is compared: where in the transcript it stands, and what it says but for numbers that vary.
#[derive(Debug, Clone)]
struct Seen {
    step: Option<usize>,
    token: String,
}

/// The events of one watcher: before the first step, and from then on.
#[derive(Debug, Default)]
struct Sequence {
    startup: Vec<String>,
    rest: Vec<Seen>,
}

/// Everything that arrived: during the start, and with the step it arrived in.
#[derive(Debug, Default)]
pub struct Observed {
    pub startup: Vec<Event>,
    pub rest: Vec<(usize, Event)>,
}

/// Compares all events.
pub fn compare(transcript: &Transcript, observed: &Observed) -> Vec<Finding> {
    let settings = &transcript.settings;
    let golden = golden_sequences(transcript);
    let seen = observed_sequences(settings, observed);
    let empty = Sequence::default();
    let watchers: BTreeSet<&String> = golden.keys().chain(seen.keys()).collect();
    let mut found = Vec::new();
    for watcher in watchers {
        let golden = golden.get(watcher).unwrap_or(&empty);
        let seen = seen.get(watcher).unwrap_or(&empty);
        if settings.cyclic.contains(watcher) {
            compare_cycle(watcher, golden, seen, &mut found);
        } else {
            compare_startup(watcher, golden, seen, &mut found);
            compare_rest(watcher, &golden.rest, &seen.rest, &mut found);
        }
    }
    found
}

/// How many events of the transcript follow the start: what a replay waits for at its end.
pub fn count_after_startup(transcript: &Transcript) -> usize {
    transcript.steps.iter().map(|step| step.events.len()).sum::<usize>() + transcript.final_events.len()
}

fn golden_sequences(transcript: &Transcript) -> BTreeMap<String, Sequence> {
    let settings = &transcript.settings;
    let mut sequences: BTreeMap<String, Sequence> = BTreeMap::new();
    // An event that a step repeats belongs to the step.
    let stepped: BTreeSet<&RecordedEvent> = transcript.steps.iter().flat_map(|step| &step.events).collect();
    for event in transcript.startup_events.iter().filter(|event| !stepped.contains(event)) {
        let body = serde_json::from_str(&event.1).unwrap_or_default();
        if let Some((watcher, token)) = read(settings, None, &event.0, &body) {
            sequences.entry(watcher).or_default().startup.push(token);
        }
    }
    let last = transcript.steps.len();
    let of_steps = transcript.steps.iter().enumerate().flat_map(|(at, step)| step.events.iter().map(move |e| (at, e)));
    for (step, event) in of_steps.chain(transcript.final_events.iter().map(|event| (last, event))) {
        let body = serde_json::from_str(&event.1).unwrap_or_default();
        if let Some((watcher, token)) = read(settings, Some(step), &event.0, &body) {
            sequences.entry(watcher).or_default().rest.push(Seen { step: Some(step), token });
        }
    }
    sequences
}

fn observed_sequences(settings: &Settings, observed: &Observed) -> BTreeMap<String, Sequence> {
    let mut sequences: BTreeMap<String, Sequence> = BTreeMap::new();
    for event in &observed.startup {
        if let Some((watcher, token)) = read(settings, None, &event.topic, &event.body) {
            sequences.entry(watcher).or_default().startup.push(token);
        }
    }
    for (step, event) in &observed.rest {
        if let Some((watcher, token)) = read(settings, Some(*step), &event.topic, &event.body) {
            sequences.entry(watcher).or_default().rest.push(Seen { step: Some(*step), token });
        }
    }
    sequences
}

/// Watcher and comparable text of an event; `None` for one that may be there or not.
fn read(settings: &Settings, step: Option<usize>, topic: &str, body: &Value) -> Option<(String, String)> {
    let (watcher, kind) = topic.strip_prefix("watcher.")?.rsplit_once('.')?;
    let racy_here = |step: String| settings.racy_events.get(&step).is_some_and(|kinds| has(kinds, kind));
    if racy_here("*".to_owned())
        || step.is_some_and(|step| racy_here(step.to_string()))
        || settings.racy_watchers.get(watcher).is_some_and(|kinds| has(kinds, kind))
    {
        return None;
    }
    let mut keys: Vec<&String> = body.as_object().map(|body| body.keys().collect()).unwrap_or_default();
    keys.sort();
    let keys: Vec<&str> = keys.into_iter().map(String::as_str).filter(|key| *key != "exit_code").collect();
    let code = body.get("exit_code").map(|code| format!("={code}")).unwrap_or_default();
    Some((watcher.to_owned(), format!("{kind}{code}({})", keys.join(","))))
}

fn has(kinds: &[String], kind: &str) -> bool {
    kinds.iter().any(|one| one == kind)
}

/// A subscriber that comes late misses the beginning, so one side must be the end of the other.
fn compare_startup(watcher: &str, golden: &Sequence, seen: &Sequence, found: &mut Vec<Finding>) {
    if !golden.startup.ends_with(&seen.startup) && !seen.startup.ends_with(&golden.startup) {
        found.push(Finding {
            step: None,
            what: What::Events,
            golden: format!("{watcher}, at the start: {:?}", golden.startup),
            observed: format!("{watcher}: {:?}", seen.startup),
        });
    }
}

/// One finding a watcher, at the step of the first difference.
fn compare_rest(watcher: &str, golden: &[Seen], seen: &[Seen], found: &mut Vec<Finding>) {
    let same = golden.iter().zip(seen).take_while(|(one, other)| one.token == other.token).count();
    if same == golden.len() && same == seen.len() {
        return;
    }
    let (golden, seen) = (golden.get(same..).unwrap_or_default(), seen.get(same..).unwrap_or_default());
    let tokens = |events: &[Seen]| events.iter().take(12).map(|seen| seen.token.clone()).collect::<Vec<_>>();
    found.push(Finding {
        step: golden.first().or(seen.first()).and_then(|seen| seen.step),
        what: What::Events,
        golden: format!("{watcher}, after {same} equal ones: {:?}", tokens(golden)),
        observed: format!("{watcher}: {:?}", tokens(seen)),
    });
}

/// The processes of the watcher come and go; which events there are is stable, how often is not.
fn compare_cycle(watcher: &str, golden: &Sequence, seen: &Sequence, found: &mut Vec<Finding>) {
    let kinds = |sequence: &Sequence| -> BTreeSet<String> {
        let rest = sequence.rest.iter().map(|seen| seen.token.clone());
        // At the end a process may be alive, and is then killed, or not.
        let all = sequence.startup.iter().cloned().chain(rest);
        all.filter(|token| !token.starts_with("kill") && !token.starts_with("reap=-15") && !token.starts_with("start"))
            .collect()
    };
    let (golden, seen) = (kinds(golden), kinds(seen));
    if golden != seen {
        found.push(Finding {
            step: None,
            what: What::Events,
            golden: format!("{watcher}, again and again: {golden:?}"),
            observed: format!("{watcher}: {seen:?}"),
        });
    }
}
