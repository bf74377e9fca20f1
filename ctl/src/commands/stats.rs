//! `stats`: what the operating system says about processes. `dstats` shares its lines.

use serde_json::{Map, Value};

use super::{Action, Arity, Ask, Command, CommandOption, Complete, insert_word};
use crate::python;
use crate::reply::{Answer, Reply};
use crate::request::{ArgumentError, Arguments, Properties, integer};

pub(super) const COMMAND: Command = Command {
    name: "stats",
    arguments: "[NAME [PID]]",
    summary: "Show memory, CPU and times of processes",
    details: "For each process a line 'PID: PID  COMMAND USER NICE RSS VMS CPU% MEM% CPUTIME', and one for each of \
              its children. CPU% is since the previous sample.",
    arity: Arity::new(0, 2).or("message invalid"),
    options: &[EXTENDED],
    completes: &[Complete::Watcher],
    action: Action::Ask(Ask { properties, answer }),
};

const EXTENDED: CommandOption =
    CommandOption { name: "extended", value: None, help: "let the watcher's extended_stats hook add its values" };

fn properties(arguments: &Arguments) -> Result<Properties, ArgumentError> {
    let mut properties = Properties::new();
    insert_word(&mut properties, "name", arguments, 0);
    if let Some(pid) = arguments.word(1) {
        properties.insert("process".into(), integer("PID", pid)?);
    }
    properties.insert("extended".into(), arguments.flag(EXTENDED.name).into());
    Ok(properties)
}

/// Three reply shapes (spec c.7): one watcher (`name`), all (`infos`), one process (`process`).
fn answer(reply: &Reply) -> Answer {
    reply.when_ok(|| {
        let mut lines = Vec::new();
        if let Some(name) = reply.get("name") {
            push_watcher(&mut lines, &python::text(name), reply.object("info"));
        } else if let Some(watchers) = reply.object("infos") {
            for (name, processes) in watchers {
                push_watcher(&mut lines, name, processes.as_object());
            }
        } else {
            let pid = reply.get("process").map(python::text).unwrap_or_default();
            push_process(&mut lines, &pid, reply.get("info").unwrap_or(&Value::Null));
            // Circus ends this form with an empty line.
            lines.push(String::new());
        }
        lines.join("\n")
    })
}

fn push_watcher(lines: &mut Vec<String>, name: &str, processes: Option<&Map<String, Value>>) {
    lines.push(format!("{name}:"));
    for (pid, info) in processes.into_iter().flatten() {
        push_process(lines, pid, info);
    }
}

/// A process and its children; a process that is gone is a string instead of an object (spec c.7).
fn push_process(lines: &mut Vec<String>, pid: &str, info: &Value) {
    let Some(fields) = info.as_object() else {
        lines.push(format!("{pid}: {}", python::text(info)));
        return;
    };
    lines.push(format!("{pid}: {}", process_line(fields)));
    lines.extend(children(fields).map(|child| format!("   {}", process_line(child))));
}

/// The children of a process info object.
pub(super) fn children(info: &Map<String, Value>) -> impl Iterator<Item = &Map<String, Value>> {
    info.get("children").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object)
}

/// `PID  CMDLINE USER NICE RSS VMS CPU MEM CTIME`, two spaces after the pid.
pub(super) fn process_line(info: &Map<String, Value>) -> String {
    const AFTER_PID: [&str; 8] = ["cmdline", "username", "nice", "mem_info1", "mem_info2", "cpu", "mem", "ctime"];
    let field = |name: &str| info.get(name).map_or_else(|| "N/A".to_owned(), python::text);
    format!("{}  {}", field("pid"), AFTER_PID.map(field).join(" "))
}
