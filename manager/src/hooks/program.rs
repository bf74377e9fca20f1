//! Hooks that are programs: `exec:/path/check --flag`. The facts are in `CIRCUS_*` variables, the exit status answers.

use super::{HookAnswer, HookCall, HookError, Point};
use crate::program;
use serde_json::{Map, Value};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::Command;
use std::time::{Duration, Instant};

/// Exit statuses from here on say that the shell could not run it, not that it says no.
const NOT_RUN: i32 = 126;

/// Runs one and waits for it; blocks the thread, at most for the call's time limit.
pub fn run(call: &HookCall, words: &str) -> Result<HookAnswer, HookError> {
    let begun = Instant::now();
    if call.point != Point::ExtendedStats {
        let (status, _) = once(call, words, &call.facts, call.limit)?;
        return Ok(HookAnswer::plain(status));
    }
    let mut stats = call.facts.get("stats").and_then(Value::as_object).cloned().unwrap_or_default();
    for (pid, info) in &mut stats {
        let facts = Map::from_iter([("pid".to_owned(), pid.clone().into()), ("stats".to_owned(), info.clone())]);
        let left = call.limit.saturating_sub(begun.elapsed());
        let (_, said) = once(call, words, &facts, left)?;
        let added: Map<String, Value> = match serde_json::from_str(&said) {
            Ok(added) => added,
            Err(_) => return Err(HookError::NotAnObject { program: words.to_owned(), words: said }),
        };
        if let Some(info) = info.as_object_mut() {
            info.extend(added);
        }
    }
    Ok(HookAnswer { truth: true, stats: Some(stats) })
}

/// One run: whether it says yes, and what it wrote.
fn once(
    call: &HookCall,
    words: &str,
    facts: &Map<String, Value>,
    limit: Duration,
) -> Result<(bool, String), HookError> {
    let failed = |reason: String| HookError::NoProgram { program: words.to_owned(), reason };
    let split = shell_words::split(words).map_err(|error| failed(error.to_string()))?;
    let (name, arguments) = split.split_first().ok_or_else(|| failed("expected exec:PROGRAM".to_owned()))?;
    let mut command = Command::new(name);
    command.args(arguments).process_group(0);
    for (key, value) in variables(call, facts) {
        command.env(key, value);
    }
    if let Some(directory) = &call.working_dir {
        command.current_dir(directory);
    }
    let run = program::run_group(&mut command, limit).map_err(|error| failed(error.to_string()))?;
    let status = run.status.ok_or(HookError::TimedOut { limit: call.limit })?;
    if status.signal().is_some() || status.code().is_some_and(|code| code >= NOT_RUN) {
        let (program, status) = (words.to_owned(), status.to_string());
        return Err(HookError::ProgramFailed { program, status, words: run.words });
    }
    Ok((status.success(), run.words))
}

/// `CIRCUS_HOOK`, `CIRCUS_WATCHER`, `CIRCUS_STATUS`, `CIRCUS_PIDS`, and every fact of the point in capitals; numbers and
/// text as they are, anything else as JSON, nothing as an empty text.
fn variables(call: &HookCall, facts: &Map<String, Value>) -> Vec<(String, String)> {
    let text = |value: &Value| match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    };
    let seen = |key: &str| call.snapshot.get(key).map(text).unwrap_or_default();
    let pids: Vec<String> = call
        .snapshot
        .get("processes")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|process| Some(process.get("pid")?.to_string()))
        .collect();
    let mut all = vec![
        ("CIRCUS_HOOK".to_owned(), call.point.name().to_owned()),
        ("CIRCUS_WATCHER".to_owned(), call.watcher.clone()),
        ("CIRCUS_STATUS".to_owned(), seen("status")),
        ("CIRCUS_PIDS".to_owned(), pids.join(" ")),
    ];
    all.extend(facts.iter().map(|(key, value)| (format!("CIRCUS_{}", key.to_uppercase()), text(value))));
    all
}
