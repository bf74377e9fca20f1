//! The manual against the tables of the programs: every command has its page, every option its row.
//!
//! The tables in the pages are written by a machine, between `<!-- table: NAME -->` and `<!-- end of table -->`. After a
//! change of a table, `cargo test -p ringmaster-tests --test tidy -- --ignored write_the_tables_of_the_manual` writes
//! them anew.

use super::report;
use anyhow::{Context, Result};
use ringmaster_manager::commands::COMMANDS;
use ringmaster_manager::metrics::{METRICS, MetricKind, Unit};
use ringmaster_manager::options::{
    CIRCUS_OPTIONS, Change, CircusOptions, Effect, Kind, SOCKET_OPTIONS, SocketDraft, WATCHER_OPTIONS, WatcherOption,
    WatcherOptions,
};
use ringmaster_manager::plugins::PLUGINS;
use ringmaster_manager::streams::CLASSES;
use ringmaster_tests::program::repository;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;

/// Where the manual is.
const MANUAL: &str = "docs/manual";

/// What a command's page tells, in this order.
const PARTS: &[&str] =
    &["## Command line", "## Request", "## Reply", "## Errors", "## Waiting", "## Different from Circus"];

/// A table: the page that holds it, its name there, and how it is made.
type Table = (&'static str, &'static str, fn() -> Vec<Vec<String>>);

const TABLES: &[Table] = &[
    ("commands/README.md", "commands", commands),
    ("options-circus.md", "circus", circus),
    ("options-watcher.md", "watcher", watcher),
    ("options-socket.md", "socket", socket),
    ("options-streams.md", "classes", classes),
    ("options-streams.md", "settings", settings),
    ("metrics.md", "metrics", metrics),
    ("plugins.md", "plugins", plugins),
];

#[test]
fn every_command_has_its_manual_page() -> Result<()> {
    let mut complaints = Vec::new();
    for command in COMMANDS {
        let path = format!("{MANUAL}/commands/{}.md", command.name);
        let Ok(text) = fs::read_to_string(repository().join(&path)) else {
            complaints.push(format!("{path}: there is no such page"));
            continue;
        };
        if !text.starts_with(&format!("# {}\n", command.name)) {
            complaints.push(format!("{path}: does not begin with the name of its command"));
        }
        let headings: Vec<&str> = text.lines().filter(|line| line.starts_with("## ")).collect();
        if headings != PARTS {
            complaints.push(format!("{path}: its parts are {headings:?}, expected {PARTS:?}"));
        }
        let required = command.required.iter().copied();
        for property in required.filter(|property| !text.contains(&format!("`{property}`"))) {
            complaints.push(format!("{path}: does not mention the property `{property}`"));
        }
    }
    report("commands and their pages", &complaints)
}

#[test]
fn every_plugin_has_its_part_of_the_manual() -> Result<()> {
    let text = fs::read_to_string(repository().join(MANUAL).join("plugins.md"))?;
    let parts: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let missing = PLUGINS.iter().filter(|plugin| !parts.contains(&plugin.class)).map(|plugin| plugin.class.to_owned());
    let aliases = PLUGINS.iter().flat_map(|plugin| plugin.aliases).filter(|alias| !text.contains(**alias));
    report(
        "plugins without a part of plugins.md",
        &missing.chain(aliases.map(|alias| (*alias).to_owned())).collect::<Vec<_>>(),
    )
}

/// Every page is reached from the index, every command's page from the index of commands.
#[test]
fn every_page_of_the_manual_is_in_its_index() -> Result<()> {
    let mut complaints = Vec::new();
    for folder in [MANUAL.to_owned(), format!("{MANUAL}/commands")] {
        let index = fs::read_to_string(repository().join(&folder).join("README.md")).context("README.md")?;
        for entry in fs::read_dir(repository().join(&folder))? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            let is_page = name.ends_with(".md") && name != "README.md";
            if is_page && !index.contains(&format!("({name})")) {
                complaints.push(format!("{folder}/README.md does not name {name}"));
            }
        }
    }
    report("pages that nobody finds", &complaints)
}

#[test]
fn the_tables_of_the_manual_are_those_of_the_programs() -> Result<()> {
    let mut complaints = Vec::new();
    for table in TABLES {
        let (page, name, _) = table;
        let path = repository().join(MANUAL).join(page);
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        if renewed(&text, table)? != text {
            complaints.push(format!("{MANUAL}/{page}: table {name}"));
        }
    }
    report("not as in the programs (write_the_tables_of_the_manual mends it)", &complaints)
}

#[test]
#[ignore = "writes the tables into the pages of the manual; run it by name after a change of a table"]
fn write_the_tables_of_the_manual() -> Result<()> {
    for table in TABLES {
        let path = repository().join(MANUAL).join(table.0);
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        fs::write(&path, renewed(&text, table)?)?;
    }
    Ok(())
}

/// The page with this table as it should be.
fn renewed(page: &str, (path, name, rows): &Table) -> Result<String> {
    let opening = format!("<!-- table: {name} -->\n");
    let missing = || format!("{path}: no {opening}");
    let (before, rest) = page.split_once(&opening).with_context(missing)?;
    let (_, after) =
        rest.split_once("<!-- end of table -->").with_context(|| format!("{path}: table {name} has no end"))?;
    Ok(format!("{before}{opening}{}<!-- end of table -->{after}", markdown(&rows())))
}

/// The first row is the heading.
fn markdown(rows: &[Vec<String>]) -> String {
    let line = |cells: &Vec<String>| format!("| {} |\n", cells.join(" | "));
    let mut lines: Vec<String> = rows.iter().map(line).collect();
    let width = rows.first().map_or(0, Vec::len);
    lines.insert(1, format!("|{}\n", "---|".repeat(width)));
    lines.concat()
}

fn cells<const N: usize>(texts: [&str; N]) -> Vec<String> {
    // A bar would end the cell.
    texts.iter().map(|text| text.replace('|', "\\|")).collect()
}

fn commands() -> Vec<Vec<String>> {
    let link = |name: &str| format!("[{name}]({name}.md)");
    let mut rows = vec![cells(["Command", "Purpose", "Required"])];
    for command in COMMANDS {
        let required: Vec<String> = command.required.iter().map(|name| code(name)).collect();
        rows.push(cells([&link(command.name), command.summary, &required.join(", ")]));
    }
    rows
}

fn plugins() -> Vec<Vec<String>> {
    let mut rows = vec![cells(["Class", "Purpose"])];
    rows.extend(PLUGINS.iter().map(|plugin| cells([&code(plugin.class), plugin.help])));
    rows
}

pub(super) fn circus() -> Vec<Vec<String>> {
    let defaults = CircusOptions::default();
    let mut rows = vec![cells(["Option", "Type", "Default", "Meaning", "Effect"])];
    for row in CIRCUS_OPTIONS {
        rows.push(cells([
            &code(row.name),
            type_of(&row.kind),
            &default_of(&row.kind, &defaults),
            row.help,
            effect(row.effect),
        ]));
    }
    rows
}

pub(super) fn watcher() -> Vec<Vec<String>> {
    let defaults = WatcherOptions::new("");
    let mut rows = vec![cells(["Option", "Type", "Default", "Meaning", "`set`", "Effect"])];
    for row in WATCHER_OPTIONS {
        let name = match row.separator {
            None => code(row.name),
            Some(separator) => code(&format!("{}{separator}NAME", row.name)),
        };
        rows.push(cells([
            &name,
            type_of(&row.kind),
            &default_of(&row.kind, &defaults),
            row.help,
            set(row),
            effect(row.effect),
        ]));
    }
    rows
}

pub(super) fn socket() -> Vec<Vec<String>> {
    let defaults = SocketDraft::default();
    let mut rows = vec![cells(["Option", "Type", "Default", "Meaning"])];
    for row in SOCKET_OPTIONS {
        rows.push(cells([&code(row.name), type_of(&row.kind), &default_of(&row.kind, &defaults), row.help]));
    }
    rows
}

fn classes() -> Vec<Vec<String>> {
    let mut rows = vec![cells(["Class", "What it does"])];
    rows.extend(CLASSES.iter().map(|class| cells([&code(class.name), class.summary])));
    rows
}

fn settings() -> Vec<Vec<String>> {
    let mut rows = vec![cells(["Class", "Setting", "Value", "Without it"])];
    for class in CLASSES {
        for setting in class.settings {
            rows.push(cells([&code(class.name), &code(setting.key), setting.expected, setting.default]));
        }
    }
    rows
}

fn metrics() -> Vec<Vec<String>> {
    let mut rows = vec![cells(["Name", "Type", "Labels", "Unit", "Meaning"])];
    for metric in METRICS {
        let kind = match metric.kind {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::Info => "info",
            MetricKind::Histogram => "histogram",
        };
        let labels: Vec<String> = metric.labels.iter().map(|label| code(label)).collect();
        let unit = match metric.unit {
            Unit::None => "",
            Unit::Seconds => "seconds",
            Unit::Bytes => "bytes",
        };
        rows.push(cells([&code(metric.name), kind, &labels.join(", "), unit, metric.help]));
    }
    rows
}

fn code(text: &str) -> String {
    format!("`{text}`")
}

/// What a change by `set` leads to.
fn set(row: &WatcherOption) -> &'static str {
    match (row.settable, row.change) {
        (false, _) => "no",
        (true, Change::Manage) => "at once",
        (true, Change::Reload) => "reload",
    }
}

fn effect(effect: Effect) -> &'static str {
    match effect {
        Effect::Acts => "yes",
        Effect::NotYet => "**not yet**",
        Effect::Ignored => "none, as in Circus",
    }
}

/// The value of a section that does not mention the option, as it would be written in a file.
fn default_of<S>(kind: &Kind<S>, defaults: &S) -> String {
    if let Kind::Directory(_) = kind {
        return "that of circusd".to_owned();
    }
    match kind.get(defaults) {
        Value::Null => "none".to_owned(),
        Value::Bool(flag) => code(if flag { "True" } else { "False" }),
        Value::Number(number) => code(&number.to_string()),
        Value::String(text) if text.is_empty() => "empty".to_owned(),
        Value::String(text) => code(&text),
        Value::Array(_) | Value::Object(_) => "none".to_owned(),
    }
}

/// What is written in a file.
fn type_of<S>(kind: &Kind<S>) -> &'static str {
    match kind {
        Kind::Flag(_) | Kind::MaybeFlag(_) => "yes or no",
        Kind::Count(_) | Kind::Whole(_) | Kind::Processes(_) => "whole number, 0 or more",
        Kind::Integer(_) => "whole number",
        Kind::Port(_) => "port",
        Kind::Octal(_) => "octal number",
        Kind::WholeSeconds(_) => "whole seconds",
        Kind::FloatSeconds(_) | Kind::Period(_) => "seconds",
        Kind::Text(_) | Kind::MaybeText(_) | Kind::TextUnlessEmpty(_) => "text",
        Kind::MaybePath(_) => "path",
        Kind::Directory(_) => "directory",
        Kind::Args(_) => "words",
        Kind::Identity(_) => "name or number",
        Kind::Signal(_) => "signal",
        Kind::Retries(_) => "whole number or -1",
        Kind::Size(..) => "bytes, or with K, M, G, T",
        Kind::Overflow(_) => "policy",
        Kind::Metrics(_) => "URL",
        Kind::Env(_) => "sections",
        Kind::Stream(..) => "[stream](options-streams.md)",
        Kind::Rlimits(_) => "whole number or empty",
        Kind::Hooks(_) => "name[, yes or no]",
        Kind::Family(_) => "address family",
        Kind::SocketKind(_) => "socket type",
    }
}

/// Nothing is explained that is not there.
#[test]
fn every_page_has_its_command() -> Result<()> {
    let known: BTreeSet<&str> = COMMANDS.iter().map(|command| command.name).collect();
    let folder = repository().join(MANUAL).join("commands");
    let mut complaints = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let stem = name.trim_end_matches(".md");
        if stem != "README" && !known.contains(stem) {
            complaints.push(format!("{MANUAL}/commands/{name}"));
        }
    }
    report("a page without its command", &complaints)
}
