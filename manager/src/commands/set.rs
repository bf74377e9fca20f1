//! `set`: other options for a watcher. All of them are checked first, then set in order; what follows from them is done
//! once, at the end (spec c.8).

use super::{Answer, Command, Context, Properties, Refusal};
use crate::arbiter::{About, Effect, ReplyShape, keep};
use crate::options::{self, Change, WatcherOptions};
use crate::watcher::{Operation, Status, WatcherId, is_stream, publish};
use serde_json::{Map, Value};

pub(super) const COMMAND: Command =
    Command { name: "set", required: &["name", "options"], summary: "Set options of a watcher.", run };

fn run(context: &mut Context<'_>, properties: &Properties<'_>) -> Result<Answer, Refusal> {
    let wanted = checked(properties)?;
    let watcher = context.watcher(properties)?;
    let (id, options) = (watcher.id, watcher.options.clone());
    super::owner::check_set(context.arbiter, &options, wanted)?;
    context.check_exclusive()?;
    if let Some(answer) = identify(context, wanted)? {
        return Ok(answer);
    }
    let done = set_all(context, id, wanted);
    let watcher = context.arbiter.watchers.get(&id);
    let Some(watcher) = watcher.filter(|_| !wanted.is_empty()) else {
        return Ok(Answer::plain());
    };
    context.effects.push(keep(watcher));
    if wanted.keys().any(|key| is_stream(key)) {
        watcher.swap_streams(context.effects);
    }
    let operation = match done? {
        Change::Manage => Operation::Resize,
        Change::Reload => Operation::Refresh,
    };
    if watcher.status == Status::Stopped && !watcher.busy() {
        return Ok(Answer::plain());
    }
    context.queue(&[id], &operation, ReplyShape::Plain, properties.waiting())
}

/// Users and groups have to exist. Only the system knows them, so the request comes back with what it says.
fn identify(context: &mut Context<'_>, wanted: &Map<String, Value>) -> Result<Option<Answer>, Refusal> {
    if !wanted.contains_key("uid") && !wanted.contains_key("gid") {
        return Ok(None);
    }
    match context.identified.take() {
        Some(result) => result.map(|()| None).map_err(Refusal::Exception),
        None => {
            let mut named = WatcherOptions::new("");
            for key in ["uid", "gid"] {
                if let Some(value) = wanted.get(key) {
                    options::set(&mut named, key, value).map_err(Refusal::Option)?;
                }
            }
            context.effects.push(Effect::Identify {
                client: context.client,
                payload: context.raw.to_vec(),
                uid: named.uid,
                gid: named.gid,
                arrived: context.asker.timing.map(|timing| timing.arrived),
            });
            Ok(Some(Answer::Later))
        }
    }
}

/// The property `options`, every key of it checked.
pub(super) fn checked<'a>(properties: &'a Properties<'_>) -> Result<&'a Map<String, Value>, Refusal> {
    let wanted = properties.get("options").and_then(Value::as_object).ok_or(Refusal::NoObject("options"))?;
    for (key, value) in wanted {
        options::check(key, value).map_err(Refusal::Option)?;
    }
    Ok(wanted)
}

/// Sets one after the other; an error leaves the earlier ones set, as in Circus. Gives what follows from all.
fn set_all(context: &mut Context<'_>, id: WatcherId, wanted: &Map<String, Value>) -> Result<Change, Refusal> {
    let mut follows = Change::Manage;
    let (watchers, world) = (&mut context.arbiter.watchers, &context.arbiter.world);
    let Some(watcher) = watchers.get_mut(&id) else {
        return Ok(follows);
    };
    for (key, value) in wanted {
        match watcher.set(key, value, world).map_err(Refusal::Option)? {
            Change::Manage => {}
            Change::Reload => follows = Change::Reload,
        }
        let updated = [("time", context.now.wall.into())];
        publish(context.effects, &watcher.topic_name(), "updated", &updated, About::Nothing);
    }
    Ok(follows)
}
