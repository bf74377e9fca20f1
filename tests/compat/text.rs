//! Comparing what programs write: exactly, but for numbers that vary from run to run.

use crate::golden::{Run, Text};
use crate::judge;
use regex::Regex;
use ringmaster_tests::daemon::Subject;
use serde_json::Value;
use std::collections::BTreeMap;

/// Why `observed` is not what the transcript says; `None` when it is.
pub fn difference(run: &Run, golden: &Text, observed: &str, subject: Subject) -> Option<String> {
    match golden {
        Text::Exact(golden) if is_json(&run.argv) => json_difference(golden, observed),
        Text::Exact(golden) => {
            let (one, other) = (scrub(&run.argv, golden), scrub(&run.argv, observed));
            (one != other).then(|| format!("{other:?} instead of {one:?}"))
        }
        Text::Help { mentions } => {
            let missing: Vec<&String> = mentions.iter().filter(|word| !observed.contains(*word)).collect();
            (!missing.is_empty()).then(|| format!("the help screen does not mention {missing:?}"))
        }
        Text::Usage { .. } => {
            (!observed.to_lowercase().contains("usage")).then(|| format!("no usage line in {observed:?}"))
        }
        Text::Traceback { traceback } => traceback_difference(traceback, observed, subject),
        Text::Log { log } => missing_lines(log, observed),
    }
}

/// A Python traceback is nothing that ours should write; it says what is wrong in a line or two instead.
fn traceback_difference(last_line: &str, observed: &str, subject: Subject) -> Option<String> {
    let right = match subject {
        Subject::Circus => observed.contains(last_line.trim()),
        Subject::Ringmaster => !observed.trim().is_empty() && !observed.contains("panicked at"),
    };
    (!right).then(|| format!("{observed:?} instead of a failure that ends {last_line:?}"))
}

/// Lines of `log` that `observed`, a log with time stamps, lacks.
pub fn missing_lines(log: &[String], observed: &str) -> Option<String> {
    let lines = log_lines(observed);
    let missing: Vec<&String> = log.iter().filter(|line| !lines.contains(line)).collect();
    (!missing.is_empty()).then(|| format!("the log lacks {missing:?}; it has {lines:?}"))
}

/// `2026-11-20 15:07:04 circus[123] [INFO] text` becomes `INFO text` (spec b.3).
pub fn log_lines(log: &str) -> Vec<String> {
    let line = regex(r"(?m)^\S+ \S+ \S+\[\d+\] \[(\w+)\] (.*)$");
    let pid = regex(r"(on pid|HUP to) \d+");
    line.captures_iter(log)
        .map(|captures| {
            let text = format!("{} {}", &captures[1], &captures[2]);
            pid.replace(&text, "$1 <pid>").into_owned()
        })
        .collect()
}

fn is_json(argv: &[String]) -> bool {
    argv.iter().any(|word| word == "--json")
}

fn json_difference(golden: &str, observed: &str) -> Option<String> {
    if golden.trim().is_empty() || observed.trim().is_empty() {
        return (golden.trim() != observed.trim()).then(|| format!("{observed:?} instead of {golden:?}"));
    }
    let parse = |text: &str| serde_json::from_str::<Value>(text);
    let (Ok(mut one), Ok(mut other)) = (parse(golden), parse(observed)) else {
        return Some(format!("{observed:?} is not the JSON {golden:?}"));
    };
    // The command line draws the id of its request itself.
    for value in [&mut one, &mut other] {
        if let Some(id) = value.get_mut("id").filter(|id| id.is_string()) {
            *id = "drawn".into();
        }
    }
    let mut found = judge::differences(&one, &other, &BTreeMap::new());
    if golden.lines().count() != observed.lines().count() {
        found.push(format!("{} lines instead of {}", observed.lines().count(), golden.lines().count()));
    }
    (!found.is_empty()).then(|| found.join("; "))
}

/// Replaces what varies, command by command.
fn scrub(argv: &[String], text: &str) -> String {
    let has = |word: &str| argv.iter().any(|argument| argument == word);
    let mut text = text.replace("@PID:p@", "1234");
    let mut replace = |pattern: &str, by: &str| text = regex(pattern).replace_all(&text, by).into_owned();
    if has("stats") || has("dstats") {
        replace(r"\b\d+\.\d+[BKMG]?\b", "<n>");
        replace(r"\b\d+:\d\d\.<n>|\b\d+:<n>|\b\d+:\d\d\.\d+", "<time>");
        replace(r"\b\d{2,}\b", "<pid>");
    } else if has("list") {
        replace(r"\b\d{2,}\b", "<pid>");
    } else if has("listsockets") {
        replace(r"(?m)^\d+:", "<fd>:");
    } else if has("listen") {
        replace(r"\d+\.\d+", "<time>");
        replace(r#""process_pid": \d+"#, "<pid>");
    } else if has("--pidfile") {
        replace(r"current pid \d+", "current pid <pid>");
    } else if has("add") {
        // The command line draws the id of its request itself, and an error quotes it.
        replace(r#""id": "[0-9a-f]{32}""#, "<id>");
    }
    text
}

#[allow(clippy::expect_used, reason = "all patterns are written in this file")]
fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a pattern of this file")
}
