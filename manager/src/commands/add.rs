//! `add`: a new watcher, stopped unless `start` is asked for (spec c.7).

use super::{Answer, Command, Context, Properties, Refusal};
use crate::arbiter::{About, ReplyShape, keep};
use crate::options::{self, WatcherOptions, python};
use crate::watcher::{Changes, Operation, Origin, Seed, publish, set_option};
use serde_json::{Map, Value};
use std::rc::Rc;

pub(super) const COMMAND: Command = Command { name: "add", required: &["name", "cmd"], summary: "Add a watcher.", run };

fn run(context: &mut Context<'_>, properties: &Properties<'_>) -> Result<Answer, Refusal> {
    let wanted = match properties.get("options") {
        None => Map::new(),
        Some(_) => super::set::checked(properties)?.clone(),
    };
    super::owner::check_add(context.arbiter, &wanted)?;
    let name = properties.name()?.ok_or(Refusal::Missing("name"))?;
    options::check_name(name).map_err(Refusal::Name)?;
    if context.arbiter.watcher(name).is_some() {
        let quoted = python::repr_str(name);
        return Err(Refusal::Exception(format!("{quoted} already exist")));
    }
    let start = properties.truth("start").unwrap_or(false);
    let seed = seed(context, properties, name, &wanted, start)?;
    context.check_exclusive()?;
    let id = context.arbiter.add(seed);
    if let Some(watcher) = context.arbiter.watchers.get(&id) {
        let added = [("time", context.now.wall.into())];
        publish(context.effects, &watcher.topic_name(), "add", &added, About::Nothing);
        context.effects.push(keep(watcher));
    }
    if !start {
        return Ok(Answer::plain());
    }
    context.queue(&[id], &Operation::Start, ReplyShape::Started, properties.waiting())
}

/// The watcher that is asked for. `singleton` is looked at last, when the number of processes is known.
fn seed(
    context: &Context<'_>,
    properties: &Properties<'_>,
    name: &str,
    wanted: &Map<String, Value>,
    start: bool,
) -> Result<Seed, Refusal> {
    let mut all = Map::new();
    for key in ["cmd", "args"] {
        if let Some(value) = properties.get(key) {
            options::check(key, value).map_err(Refusal::Option)?;
            all.insert(key.to_owned(), value.clone());
        }
    }
    let (last, first): (Vec<_>, Vec<_>) = wanted.iter().partition(|(key, _)| *key == "singleton");
    all.extend(first.into_iter().chain(last).map(|(key, value)| (key.clone(), value.clone())));
    let mut new = WatcherOptions::new(name);
    for (key, value) in &all {
        set_option(&mut new, key, value, &context.arbiter.world).map_err(Refusal::Option)?;
    }
    Ok(Seed { options: Rc::new(new), origin: Origin::Added { start }, changes: Changes::from(&all) })
}
