//! `options`: all options of a watcher. The lines that `get` and `globaloptions` share are made here.

use serde_json::Value;

use super::{Action, Arity, Ask, Command, Complete, optional_name};
use crate::python;
use crate::reply::{Answer, Reply};

pub(super) const COMMAND: Command = Command {
    name: "options",
    arguments: "NAME",
    summary: "Show all options of a watcher",
    details: "One line 'KEY: VALUE' for each option. What clients have changed since the file was read is marked with \
              what the file says.",
    arity: Arity::new(1, 1).or("number of arguments invalid"),
    options: &[],
    completes: &[Complete::Watcher],
    action: Action::Ask(Ask { properties: optional_name, answer: marked }),
};

/// Text of options: as of get, with a mark where the file says otherwise, and with what is old about processes.
fn marked(reply: &Reply) -> Answer {
    match (as_in_file(reply), reply.object("outdated")) {
        (Answer::Done(text), Some(outdated)) => {
            let line = |(key, pids): (&String, &Value)| {
                format!("\n# {key}: was another when {} started; restart applies it", python::text(pids))
            };
            Answer::Done(text + &outdated.iter().map(line).collect::<String>())
        }
        (answer, _) => answer,
    }
}

fn as_in_file(reply: &Reply) -> Answer {
    let Some(changed) = reply.object("changed").filter(|_| reply.is_ok()) else {
        let added = reply.get("added").is_some();
        let note = if added { "\n# added at run time; reloadconfig removes it" } else { "" };
        return reply.when_ok(|| format!("{}{note}", lines(reply)));
    };
    let shown = reply.object("options");
    let line = |(key, value): (&String, &Value)| match changed.get(key) {
        None => format!("{key}: {}", value_text(key, value)),
        Some(file) => format!("{key}: {}  # in the file: {}", value_text(key, value), value_text(key, file)),
    };
    let mut lines: Vec<String> = shown.into_iter().flatten().map(line).collect();
    let hidden = changed.keys().filter(|key| shown.is_none_or(|shown| !shown.contains_key(*key)));
    lines.extend(hidden.map(|key| format!("# {key}: not as in the file")));
    lines.push("# reloadconfig goes back to the file".to_owned());
    Answer::Done(lines.join("\n"))
}

/// Text of options and get.
pub(super) fn answer(reply: &Reply) -> Answer {
    reply.when_ok(|| lines(reply))
}

/// One `KEY: VALUE` line for each entry of `options`, in the order of the reply.
pub(super) fn lines(reply: &Reply) -> String {
    let lines: Vec<String> = reply
        .object("options")
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}: {}", value_text(key, value)))
        .collect();
    lines.join("\n")
}

/// Python's text, with two exceptions: nothing for null, and `A=b,C=d` sorted by name for `env` (spec c.7).
fn value_text(key: &str, value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Object(variables) if key == "env" => {
            let mut variables: Vec<String> =
                variables.iter().map(|(name, value)| format!("{name}={}", python::text(value))).collect();
            variables.sort();
            variables.join(",")
        }
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
            python::text(value)
        }
    }
}
