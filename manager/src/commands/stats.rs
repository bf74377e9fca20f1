//! `stats`: what processes use, of all watchers, one, or one process (spec c.7, c.9).

use super::{Answer, Command, Context, Properties, Refusal};
use crate::arbiter::{Effect, Sample, Sampled};
use crate::hooks::HookCall;
use crate::process::Process;
use crate::sampling::Sampler;
use crate::watcher::Watcher;
use serde_json::{Map, Value};

pub(super) const COMMAND: Command =
    Command { name: "stats", required: &[], summary: "Get the statistics of processes.", run };

fn run(context: &mut Context<'_>, properties: &Properties<'_>) -> Result<Answer, Refusal> {
    let mut extension = None;
    let sample = match (properties.name()?, properties.get("process")) {
        (None, _) => Sample::All(
            context.arbiter.watchers.values().map(|watcher| (watcher.options.name.clone(), sampled(watcher))).collect(),
        ),
        (Some(name), None | Some(Value::Null)) => {
            let watcher = context.watcher(properties)?;
            let all = sampled(watcher);
            extension = extended(context, properties, watcher, &all);
            Sample::Watcher(name.to_owned(), all)
        }
        (Some(name), Some(process)) => {
            let pid = pid(process)?;
            let watcher = context.watcher(properties)?;
            let all = sampled(watcher);
            extension = extended(context, properties, watcher, &all);
            let found = all.into_iter().find(|sampled| i64::from(sampled.pid) == pid);
            let refusal = || Refusal::NoProcess { pid: pid.to_string(), watcher: name.to_owned() };
            Sample::Process(process.clone(), found.ok_or_else(refusal)?)
        }
    };
    context.effects.push(Effect::Sample(context.asker.clone(), Box::new(sample), extension));
    Ok(Answer::Later)
}

/// The hook that adds its own values, when they are asked for.
fn extended(
    context: &Context<'_>,
    properties: &Properties<'_>,
    watcher: &Watcher,
    all: &[Sampled],
) -> Option<Box<HookCall>> {
    properties.truth("extended").unwrap_or(false).then(|| context.arbiter.extension(watcher, all)).flatten()
}

fn pid(process: &Value) -> Result<i64, Refusal> {
    let parsed = match process {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    let shown = process.as_str().map_or_else(|| process.to_string(), |text| format!("'{text}'"));
    parsed.ok_or_else(|| Refusal::Exception(format!("invalid literal for int() with base 10: {shown}")))
}

/// The living processes of a watcher, by pid.
pub fn sampled(watcher: &Watcher) -> Vec<Sampled> {
    let live = watcher.processes.iter().filter(|process| process.live_pid().is_some());
    let mut all: Vec<Sampled> = live
        .filter_map(|process: &Process| {
            process.started().map(|started| Sampled {
                pid: started.pid,
                started: started.at,
                wid: process.wid.0,
                lost: started.lost,
            })
        })
        .collect();
    all.sort_by_key(|sampled| sampled.pid);
    all
}

/// Looks at the processes and gives the properties of the answer. Reads /proc; runs beside the loop.
pub fn answer(sample: &Sample, sampler: &mut Sampler) -> Map<String, Value> {
    match sample {
        Sample::Own => Map::from_iter([("info".to_owned(), own(sampler))]),
        Sample::All(watchers) => {
            let infos = watchers.iter().map(|(name, all)| (name.clone(), table(all, sampler))).collect();
            Map::from_iter([("infos".to_owned(), Value::Object(infos))])
        }
        Sample::Watcher(name, all) => {
            Map::from_iter([("name".to_owned(), name.clone().into()), ("info".to_owned(), table(all, sampler))])
        }
        Sample::Process(process, sampled) => {
            Map::from_iter([("process".to_owned(), process.clone()), ("info".to_owned(), one(sampled, sampler))])
        }
    }
}

fn table(all: &[Sampled], sampler: &mut Sampler) -> Value {
    Value::Object(all.iter().map(|sampled| (sampled.pid.to_string(), one(sampled, sampler))).collect())
}

/// The info of a process, with what only the manager knows of it; a text when it is gone (spec c.7).
fn one(sampled: &Sampled, sampler: &mut Sampler) -> Value {
    match sampler.process(sampled.pid) {
        Ok(info) => {
            let mut fields = info.to_object();
            fields.insert("started".to_owned(), sampled.started.into());
            fields.insert("wid".to_owned(), sampled.wid.into());
            if sampled.lost > 0 {
                fields.insert("lost_bytes".to_owned(), sampled.lost.into());
            }
            Value::Object(fields)
        }
        Err(error) => error.to_string().into(),
    }
}

/// circusd itself, always without children (spec c.7).
fn own(sampler: &mut Sampler) -> Value {
    let pid = i32::try_from(std::process::id()).unwrap_or(-1);
    match sampler.alone(pid) {
        Ok(info) => Value::Object(info.to_object()),
        Err(error) => error.to_string().into(),
    }
}
