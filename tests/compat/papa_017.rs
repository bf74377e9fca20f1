//! `use_papa` as Circus 0.17.2 and Papa had it, made into a transcript like the others.
//!
//! Two runs of circusd with everything that `circusctl` said, what Papa held after each step, and the log of each run. Its events were
//! taken without the steps that they belong to, and its log files end at any moment: neither is compared here.

use crate::golden::{Action, Kind, Probe, Run, Step, Text, Transcript, folder};
use crate::text;
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The step of which the log of the first run takes the place.
const END_OF_THE_FIRST: &str = "keep.out tail at quit";

/// What Papa held when one of the processes was killed; that happened before the step before.
const AFTER_KILL: &str = "papa after kill -9 of one";

#[derive(Deserialize)]
struct Taken {
    ini: String,
    steps: Vec<Map<String, Value>>,
}

/// The transcript.
pub fn transcript() -> Result<Transcript> {
    let taken: Taken = serde_json::from_str(&std::fs::read_to_string(folder().join("papa_017.json"))?)?;
    let logs: Vec<Vec<String>> = steps(&taken).filter(|(name, _)| name.starts_with("circusd log")).map(log).collect();
    let [first, second] = logs.as_slice() else { bail!("{} logs", logs.len()) };
    let mut made: Vec<Step> = Vec::new();
    let mut is_ended = false;
    for (name, value) in steps(&taken).filter(|(name, _)| !name.starts_with("circusd log")) {
        let kind = match name.split_once(' ') {
            Some(("circusctl", words)) => Kind::Cli(run(words, value)?),
            Some(("papa", _)) => Kind::Note { check: Some(held(value)?) },
            _ if name == END_OF_THE_FIRST => Kind::Note { check: Some(Probe::DaemonLog { log_lines: first.clone() }) },
            _ => Kind::Note { check: None },
        };
        let mut before = Vec::new();
        if is_ended {
            before.push(Action::WaitExit { s: 30.0 });
        }
        if name.starts_with("circusctl") && made.last().is_some_and(is_the_log) {
            before.push(Action::StartDaemon { args: Vec::new(), config: "circus.ini".to_owned(), delay: 2.0 });
        }
        if name == AFTER_KILL {
            let list = made.last_mut().context("a step before")?;
            list.before.extend(kill_one());
        }
        is_ended = name.starts_with("circusctl quit");
        made.push(Step { before, events: Vec::new(), kind });
    }
    let kinds = ["spawn", "start", "stop", "kill", "reap", "reload", "remove"];
    let settings = json!({ "start_delay": 3.0, "quit": false, "racy_events": { "*": kinds } });
    let frame = json!({
        "ini": taken.ini, "files": {}, "steps": [], "startup_events": [], "after": [], "circusd_exit_code": 0,
        "settings": settings, "log": second,
    });
    Ok(Transcript { steps: made, ..serde_json::from_value(frame)? })
}

fn steps(taken: &Taken) -> impl Iterator<Item = (&str, &Value)> {
    taken.steps.iter().flat_map(|step| step.iter().map(|(name, value)| (name.as_str(), value)))
}

fn is_the_log(step: &Step) -> bool {
    matches!(&step.kind, Kind::Note { check: Some(Probe::DaemonLog { .. }) })
}

/// The lines of a run's log that are no complaints of Circus about itself.
fn log((_, text): (&str, &Value)) -> Vec<String> {
    let lines = text::log_lines(text.as_str().unwrap_or_default());
    lines.into_iter().filter(|line| line.starts_with("INFO")).collect()
}

fn run(words: &str, said: &Value) -> Result<Run> {
    let text = |key: &str| said.get(key).and_then(Value::as_str).map(|text| Text::Exact(text.to_owned()));
    let endpoint = "tcp://127.0.0.1:@P0@";
    Ok(Run {
        argv: ["circusctl", "--endpoint", endpoint].into_iter().chain(words.split(' ')).map(str::to_owned).collect(),
        stdin: None,
        env: BTreeMap::new(),
        stdout: text("out"),
        stdout_contains: Vec::new(),
        stderr: text("err"),
        stderr_contains: Vec::new(),
        exit_code: said.get("rc").cloned().context("an exit status")?,
        limit: None,
        interrupt: None,
    })
}

fn held(state: &Value) -> Result<Probe> {
    let names = |kind: &str| -> Result<Vec<String>> {
        let all = state.get(kind).and_then(Value::as_object).with_context(|| kind.to_owned())?;
        Ok(all.keys().cloned().collect())
    };
    Ok(Probe::Core { processes: names("processes")?, sockets: names("sockets")? })
}

fn kill_one() -> [Action; 3] {
    let (var, watcher) = ("killed".to_owned(), "keep".to_owned());
    let bind = Action::BindPids { var: var.clone(), watcher };
    [bind, Action::Kill { var, index: Some(0), signal: 9 }, Action::Sleep { s: 2.0 }]
}
