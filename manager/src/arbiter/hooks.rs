//! Calls of hooks that are under way, and who waits for each: a watcher, or a client that asked for extended statistics.

use super::effect::{Asker, Effect};
use super::{Arbiter, Sampled};
use crate::clock::Now;
use crate::hooks::{HookAnswer, HookCall, HookError, HookTicket, Point};
use crate::watcher::{Watcher, WatcherId};
use ringmaster_protocol::circus::{self, Errno};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// Who waits for which call.
#[derive(Debug, Default)]
pub struct HookTickets {
    last: u64,
    waiting: BTreeMap<HookTicket, Waits>,
}

#[derive(Debug)]
enum Waits {
    Watcher(WatcherId),
    /// The answer to `stats` without what the hook makes of it.
    Statistics(Asker, Map<String, Value>),
}

impl HookTickets {
    /// The number of a call that a watcher makes.
    pub fn for_watcher(&mut self, id: WatcherId) -> HookTicket {
        self.issue(Waits::Watcher(id))
    }

    fn issue(&mut self, waits: Waits) -> HookTicket {
        self.last += 1;
        let ticket = HookTicket(self.last);
        self.waiting.insert(ticket, waits);
        ticket
    }

    /// No call is under way.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty()
    }
}

impl Arbiter {
    /// The call that `stats` with `extended` makes when the facts are there; `None`: no hook, or nobody to ask about.
    pub fn extension(&self, watcher: &Watcher, sampled: &[Sampled]) -> Option<Box<HookCall>> {
        let call = watcher.hook_call_with(HookTicket(0), Point::ExtendedStats, &[], self.world.hooks_timeout)?;
        (!sampled.is_empty()).then(|| Box::new(call))
    }

    /// Facts about processes are there: they are answered, or handed to a hook first.
    pub(super) fn sampled(
        &mut self,
        asker: Asker,
        result: Result<Map<String, Value>, String>,
        extension: Option<Box<HookCall>>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        match (result, extension) {
            (Ok(properties), Some(mut call)) => {
                call.facts.insert("stats".to_owned(), Value::Object(by_pid(&properties)));
                call.ticket = self.hooks.issue(Waits::Statistics(asker, properties));
                effects.push(Effect::RunHook(call));
            }
            (result, _) => answer(&asker, result, now, effects),
        }
    }

    /// A hook has answered.
    pub(super) fn hook_done(
        &mut self,
        ticket: HookTicket,
        outcome: &Result<HookAnswer, HookError>,
        now: Now,
        effects: &mut Vec<Effect>,
        touched: &mut BTreeSet<WatcherId>,
    ) {
        match self.hooks.waiting.remove(&ticket) {
            None => {}
            Some(Waits::Watcher(id)) => {
                self.with_watcher(id, now, effects, |watcher, turn| watcher.hook_done(ticket, outcome, turn));
                touched.insert(id);
            }
            Some(Waits::Statistics(asker, properties)) => {
                let result = match outcome {
                    Ok(answer) => Ok(extended(properties, answer)),
                    Err(error) => Err(error.to_string()),
                };
                answer(&asker, result, now, effects);
            }
        }
    }
}

fn answer(asker: &Asker, result: Result<Map<String, Value>, String>, now: Now, effects: &mut Vec<Effect>) {
    let Some(client) = asker.client else {
        return;
    };
    let payload = match result {
        Ok(properties) => circus::ok(&asker.id, now.wall, properties),
        Err(reason) => circus::error(&asker.id, now.wall, Errno::Message, &reason, None),
    };
    effects.push(Effect::Reply { client, payload, timing: asker.timing });
}

/// The infos of an answer to `stats` by pid. That of one process has them without the pid around them.
fn by_pid(properties: &Map<String, Value>) -> Map<String, Value> {
    let info = properties.get("info").and_then(Value::as_object).cloned().unwrap_or_default();
    match properties.get("process") {
        Some(process) => Map::from_iter([(pid_text(process), Value::Object(info))]),
        None => info.into_iter().filter(|(_, info)| info.is_object()).collect(),
    }
}

/// The answer with what the hook has made of it.
fn extended(mut properties: Map<String, Value>, answer: &HookAnswer) -> Map<String, Value> {
    let Some(stats) = &answer.stats else {
        return properties;
    };
    let one = properties.get("process").map(pid_text);
    match (one, properties.get_mut("info")) {
        (Some(pid), Some(info)) => {
            if let Some(fresh) = stats.get(&pid).filter(|_| info.is_object()) {
                *info = fresh.clone();
            }
        }
        (None, Some(Value::Object(infos))) => {
            infos.extend(stats.iter().map(|(pid, info)| (pid.clone(), info.clone())));
        }
        (None, Some(_)) | (_, None) => {}
    }
    properties
}

fn pid_text(process: &Value) -> String {
    process.as_str().map_or_else(|| process.to_string(), |text| text.trim().to_owned())
}
