//! Which watchers a name means: `match` = `glob` (the default), `simple` or `regex` (spec c.7).

use super::{Context, Properties, Refusal};
use crate::arbiter::ReplyShape;
use crate::config::fnmatch;
use crate::watcher::WatcherId;

/// The watchers that are meant.
pub(super) struct Selection {
    /// In the order in which they start.
    pub ids: Vec<WatcherId>,
    /// Whether exactly one was named, so that its `info` is told.
    pub shape: ReplyShape,
    /// Whether all were meant, or several.
    pub several: bool,
}

/// All watchers without a name, else those that match it.
pub(super) fn select(context: &Context<'_>, properties: &Properties<'_>) -> Result<Selection, Refusal> {
    let order = context.arbiter.by_priority();
    let Some(name) = properties.name()? else {
        return Ok(Selection { ids: order, shape: ReplyShape::Plain, several: true });
    };
    let matches = matcher(name, properties)?;
    let matching = |id: &WatcherId| {
        context.arbiter.watchers.get(id).is_some_and(|watcher| matches(&watcher.options.name.to_lowercase()))
    };
    let ids: Vec<WatcherId> = order.into_iter().filter(matching).collect();
    match ids.len() {
        0 => Err(Refusal::NoWatcher(name.to_owned())),
        1 => Ok(Selection { ids, shape: ReplyShape::Info, several: false }),
        _ => Ok(Selection { ids, shape: ReplyShape::Plain, several: true }),
    }
}

/// Whether a lower-cased name matches.
type Matcher = Box<dyn Fn(&str) -> bool>;

fn matcher(name: &str, properties: &Properties<'_>) -> Result<Matcher, Refusal> {
    let pattern = name.to_lowercase();
    let method = match properties.get("match") {
        None => "glob",
        Some(value) => value.as_str().ok_or_else(|| Refusal::UnknownMatch(value.to_string()))?,
    };
    match method {
        "simple" => Ok(Box::new(move |name| name == pattern)),
        "glob" => Ok(Box::new(move |name| fnmatch::matches(name, &pattern))),
        "regex" => {
            let regex = regex::RegexBuilder::new(&format!("^(?:{pattern})"))
                .size_limit(PATTERN_SIZE)
                .build()
                .map_err(|error| Refusal::Exception(in_one_line(&error)))?;
            Ok(Box::new(move |name| regex.is_match(name)))
        }
        other => Err(Refusal::UnknownMatch(other.to_owned())),
    }
}

/// Without the picture of the pattern, which takes lines of its own: the reason is the last one.
fn in_one_line(error: &regex::Error) -> String {
    let text = error.to_string();
    let reason = text.lines().last().unwrap_or_default().trim();
    format!("invalid pattern: {}", reason.strip_prefix("error: ").unwrap_or(reason))
}

/// Bytes that a compiled pattern may take: names are short, so are patterns.
const PATTERN_SIZE: usize = 1 << 20;
