//! Every `circusctl` step of the recorded Circus transcripts, against our parser and texts.
//!
//! A transcript has the command line and what it printed, but not the reply in between. The reply is taken
//! from a raw step with the same request and the same configuration where there is one; otherwise it is the plain
//! `ok` or error reply that the text itself quotes. Numbers that change from run to run are masked.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that cannot go on has to fail")]

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;

use regex::Regex;
use ringmaster_ctl::cli::{self, Call, Invocation};
use ringmaster_ctl::commands::Action;
use ringmaster_ctl::python;
use ringmaster_ctl::reply::{Answer, Reply};
use serde_json::{Map, Value, json};

/// Errors of arguments that say more than Circus's: its text, and ours.
const SAYS_MORE: &[(&str, &str)] = &[(
    "zork",
    "unknown hook 'zork'; expected one of before_start, after_start, before_spawn, after_spawn, before_signal, \
     after_signal, before_stop, after_stop, before_reap, after_reap, extended_stats",
)];

/// How many steps were compared in which way, so that a change of the data cannot empty the test.
#[derive(Debug, Default)]
struct Tally {
    helped: usize,
    usage: usize,
    argument: usize,
    paired: usize,
    quoted: usize,
    pretty: usize,
    elsewhere: usize,
}

#[test]
fn every_recorded_command_line() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/data/golden/circus");
    let mut files: Vec<PathBuf> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    let scenarios: Vec<Value> =
        files.iter().map(|path| serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()).collect();
    let mut tally = Tally::default();
    for scenario in &scenarios {
        // Transcripts of the same configuration have the same watchers, so their replies may be shared.
        let same: Vec<Value> =
            scenarios.iter().filter(|other| other["ini"] == scenario["ini"]).flat_map(steps).cloned().collect();
        for step in steps(scenario).filter(|step| step["kind"] == "cli" && step["argv"][0] == "circusctl") {
            let place = format!("{}: {}", scenario["scenario"], step["argv"]);
            compare(step, &same, &place, &mut tally);
        }
    }
    println!("{tally:?}");
    assert!(tally.paired >= 40 && tally.quoted >= 12 && tally.argument >= 12, "{tally:?}");
    assert!(tally.helped >= 6 && tally.usage >= 4 && tally.pretty >= 3, "{tally:?}");
}

fn steps(scenario: &Value) -> impl Iterator<Item = &Value> {
    scenario["steps"].as_array().into_iter().flatten()
}

fn compare(step: &Value, steps: &[Value], place: &str, tally: &mut Tally) {
    let argv: Vec<OsString> =
        step["argv"].as_array().unwrap().iter().map(|word| filled(word.as_str().unwrap()).into()).collect();
    // The shell, listen, completion, tunnels and timeouts need a process or a daemon; they have tests of their own. Circus's
    // command line cannot send env, ours can.
    let process = ["stdin", "limit", "interrupt", "stderr_contains"].iter().any(|key| step.get(key).is_some())
        || step["env"].get("AUTO_COMPLETE").is_some()
        || argv.iter().any(|word| word == "env");
    if process {
        tally.elsewhere += 1;
        return;
    }
    match (cli::parse(argv), step["exit_code"].as_u64()) {
        (Ok(Invocation::Show(text)), Some(0)) => {
            compare_help(&text, &step["stdout"], place);
            tally.helped += 1;
        }
        (Err(usage), Some(2)) => {
            assert!(usage.to_string().starts_with("usage: circusctl"), "{place}: {usage}");
            tally.usage += 1;
        }
        (Ok(Invocation::Call(call)), Some(1)) => {
            compare_argument_error(&call, &step["stderr"], place);
            tally.argument += 1;
        }
        (Ok(Invocation::Call(call)), Some(0 | 3)) => match call.settings.format {
            cli::Format::Text => compare_text(&call, step, steps, place, tally),
            cli::Format::Json | cli::Format::PrettyJson => {
                compare_json(step["stdout"].as_str().unwrap(), call.settings.format, place);
                tally.pretty += 1;
            }
        },
        (parsed, code) => panic!("{place}: parsed as {parsed:?}, Circus exits with {code:?}"),
    }
}

fn compare_help(text: &str, expected: &Value, place: &str) {
    if let Some(version) = expected.as_str() {
        // Intended difference: our own version follows Circus's.
        assert!(text.starts_with(version.trim_end()), "{place}: {text}");
        return;
    }
    for word in expected["mentions"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()) {
        assert!(text.contains(word), "{place}: {word} is missing in\n{text}");
    }
}

fn compare_argument_error(call: &Call, expected: &Value, place: &str) {
    let Action::Ask(action) = call.command.action else {
        panic!("{place}: no request");
    };
    let error = action.request(call.command, &call.arguments).unwrap_err().to_string();
    match expected.as_str().map(str::trim_end) {
        Some(text) => {
            let ours = SAYS_MORE.iter().find(|(circus, _)| *circus == text);
            assert_eq!(error, ours.map_or(text, |(_, ours)| *ours), "{place}");
        }
        // Intended difference: a text where Circus prints a traceback.
        None => assert!(error.contains(": expected ") && error.contains(", got '"), "{place}: {error}"),
    }
}

fn compare_json(stdout: &str, format: cli::Format, place: &str) {
    let value: Value = serde_json::from_str(stdout).unwrap();
    if format == cli::Format::PrettyJson {
        assert_eq!(python::pretty_json(&value), stdout.trim_end(), "{place}");
    }
}

fn compare_text(call: &Call, step: &Value, steps: &[Value], place: &str, tally: &mut Tally) {
    let Action::Ask(action) = call.command.action else {
        panic!("{place}: no request");
    };
    let properties =
        action.request(call.command, &call.arguments).unwrap_or_else(|error| panic!("{place}: {error}")).properties;
    let request = json!({"command": call.command.name, "properties": essence(&properties)});
    let expected = expected_answer(step);
    let mut replies = recorded_replies(steps, &request);
    if call.command.name == "get" {
        replies.extend(recorded_options(steps, &properties));
    }
    let answers: Vec<Answer> = replies.into_iter().map(|reply| masked((action.answer)(&Reply::new(reply)))).collect();
    if answers.iter().any(|answer| *answer == masked(expected.clone())) {
        tally.paired += 1;
        return;
    }
    let reply = quoted_reply(call.command.name, &expected)
        .unwrap_or_else(|| panic!("{place}: no recorded reply gives\n{expected:?}\nthose there are give\n{answers:?}"));
    assert_eq!((action.answer)(&Reply::new(reply)), expected, "{place}");
    tally.quoted += 1;
}

fn expected_answer(step: &Value) -> Answer {
    let text = |stream: &str| step[stream].as_str().unwrap().strip_suffix('\n').unwrap().to_owned();
    if step["exit_code"] == 0 { Answer::Done(text("stdout")) } else { Answer::Refused(text("stderr")) }
}

/// Properties without those that say what the daemon does anyhow.
fn essence(properties: &Map<String, Value>) -> Map<String, Value> {
    let idle = |key: &str, value: &Value| {
        *value == json!(false) || (key == "match" && *value == "glob") || (key == "graceful" && *value == json!(true))
    };
    properties
        .iter()
        .filter(|(key, value)| !idle(key, value))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

fn recorded_replies(steps: &[Value], request: &Value) -> Vec<Map<String, Value>> {
    let mut found = Vec::new();
    for step in steps.iter().filter(|step| step["kind"] == "zmq") {
        let sent = step["request_frames"][0].as_str().map(filled).and_then(|text| serde_json::from_str(&text).ok());
        let Some(Value::Object(sent)) = sent else { continue };
        let properties = sent.get("properties").and_then(Value::as_object).cloned().unwrap_or_default();
        if json!({"command": sent.get("command"), "properties": essence(&properties)}) != filled_value(request) {
            continue;
        }
        if let Some(reply) = step["replies"][0]["frames"][0].as_str() {
            found.push(serde_json::from_str(&filled(reply)).unwrap());
        }
    }
    found
}

/// What `get` would have answered, cut out of the recorded reply to `options`.
fn recorded_options(steps: &[Value], properties: &Map<String, Value>) -> Vec<Map<String, Value>> {
    let request = json!({"command": "options", "properties": {"name": properties.get("name")}});
    let keys = properties.get("keys").and_then(Value::as_array).cloned().unwrap_or_default();
    let mut replies = recorded_replies(steps, &request);
    for reply in &mut replies {
        let all = reply["options"].clone();
        let some = keys.iter().filter_map(|key| Some((key.as_str()?.to_owned(), all.get(key.as_str()?)?.clone())));
        reply["options"] = Value::Object(some.collect());
    }
    replies
}

/// Placeholders of the recording harness that stand for numbers and names.
fn filled(text: &str) -> String {
    let text = Regex::new("@P[0-9]@").unwrap().replace_all(text, "4000");
    let text = Regex::new("@PID:[a-z0-9]+@").unwrap().replace_all(&text, "19999");
    text.replace("@USER@", "root")
}

fn filled_value(value: &Value) -> Value {
    serde_json::from_str(&filled(&value.to_string())).unwrap()
}

/// Every number becomes `#`.
fn masked(answer: Answer) -> Answer {
    let numbers = Regex::new(r"[0-9]+(\.[0-9]+)?").unwrap();
    let mask = |text: String| numbers.replace_all(&filled(&text), "#").into_owned();
    match answer {
        Answer::Done(text) => Answer::Done(mask(text)),
        Answer::Refused(text) => Answer::Refused(mask(text)),
    }
}

/// The reply whose whole content a text shows.
fn quoted_reply(command: &str, expected: &Answer) -> Option<Map<String, Value>> {
    let reply = match (command, expected) {
        (_, Answer::Done(text)) if text == "ok" => json!({"status": "ok"}),
        ("list", Answer::Done(text)) => {
            json!({"status": "ok", "watchers": text.split(',').collect::<Vec<_>>()})
        }
        ("status", Answer::Done(text)) => {
            // In the opposite order, as it is the command that sorts.
            let lines = text.lines().rev().map(|line| line.rsplit_once(": "));
            let statuses: Option<Map<String, Value>> =
                lines.map(|line| line.map(|(name, status)| (name.to_owned(), status.into()))).collect();
            json!({"status": "ok", "statuses": statuses?})
        }
        ("incr" | "decr", Answer::Done(text)) if text.starts_with("This watcher is a Singleton") => {
            json!({"status": "ok", "numprocesses": 1, "singleton": true})
        }
        (_, Answer::Done(text)) => json!({"status": "ok", "numprocesses": text.parse::<u32>().ok()?}),
        ("status", Answer::Refused(text)) if text == "error" => {
            json!({"status": "error", "reason": "program x not found", "errno": 3, "tb": null})
        }
        (_, Answer::Refused(text)) => {
            json!({"status": "error", "reason": text.strip_prefix("error: ")?, "errno": 3, "tb": null})
        }
    };
    reply.as_object().cloned()
}
