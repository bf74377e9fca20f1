//! `get`: some options of a watcher. Custom keys are given like any other, where Circus fails (spec n.2).

use super::{Answer, Command, Context, Properties, Refusal};
use serde_json::{Map, Value};

pub(super) const COMMAND: Command =
    Command { name: "get", required: &["name", "keys"], summary: "Get the value of specific watcher options.", run };

fn run(context: &mut Context<'_>, properties: &Properties<'_>) -> Result<Answer, Refusal> {
    let shown = crate::options::shown(&context.watcher(properties)?.options);
    let keys = match properties.get("keys") {
        Some(Value::Array(keys)) => keys.iter().map(text).collect(),
        // Python takes a text as the list of its characters.
        Some(Value::String(keys)) => keys.chars().map(String::from).collect(),
        _ => {
            return Err(Refusal::Invalid { property: "keys", expected: "a list" });
        }
    };
    let keys: Vec<String> = keys;
    let mut options = Map::new();
    for key in keys {
        let value = shown.get(&key).ok_or_else(|| Refusal::NoOption(key.clone()))?;
        options.insert(key, value.clone());
    }
    Ok(Answer::one("options", options))
}

fn text(key: &Value) -> String {
    key.as_str().map_or_else(|| key.to_string(), str::to_owned)
}
