//! `circusd --print-config FILE`: every effective value and where it comes from, in the form of a configuration file.
//!
//! The origin of a value is a comment: a line of a file, `default`, `command line`, or `run time` for what clients of a
//! running circusd have changed. Values that are not set are left out.

use super::reader::{Document, Section};
use super::{Config, ConfigErrors, Environments, fnmatch, include};
use crate::options::python::{display, strip};
use crate::options::{CIRCUS_OPTIONS, CircusOptions, SOCKET_OPTIONS, SocketDraft, StreamOptions};
use crate::options::{SocketOption, WATCHER_OPTIONS, WatcherOption, WatcherOptions};
use crate::watcher::{Origin, Seed};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// The column in which origins stand, when the value is shorter.
const ORIGIN_COLUMN: usize = 48;

/// What else than the files decides.
#[derive(Debug, Default)]
pub struct Overrides {
    /// Options of `[circus]` that the command line gives.
    pub command_line: Vec<(&'static str, String)>,
    /// The watchers as they would run, with what clients have changed.
    pub seeds: Vec<Seed>,
}

/// The text.
///
/// # Errors
/// As [`super::load`].
pub fn effective(
    config: &Config,
    process_env: &BTreeMap<String, String>,
    overrides: &Overrides,
) -> Result<String, ConfigErrors> {
    let document = include::read(&config.path, process_env)?.document;
    let environments = Environments::new(&document, process_env);
    let mut text = Printer::default();
    circus(&mut text, &document, &config.circus, &overrides.command_line);
    for section in sections(&document, "socket:") {
        let name = section.name.rsplit("socket:").next().unwrap_or_default().to_lowercase();
        if config.sockets.iter().any(|socket| socket.name == name) {
            socket(&mut text, &document, section, &environments);
        }
    }
    for seed in &overrides.seeds {
        watcher(&mut text, &document, seed);
        environment(&mut text, &document, &seed.options, process_env);
    }
    let there: BTreeSet<String> = overrides.seeds.iter().map(|seed| seed.options.name.to_lowercase()).collect();
    for gone in config.watchers.iter().filter(|watcher| !there.contains(&watcher.name.to_lowercase())) {
        text.remark(&format!("[watcher:{}] is removed at run time", gone.name));
    }
    for plugin in &config.plugins {
        text.section(&plugin.name);
        for (key, value) in &plugin.settings {
            text.line(key, value, &origin(&document, document.section(&plugin.name), key));
        }
    }
    Ok(text.0)
}

/// The text so far.
#[derive(Default)]
struct Printer(String);

impl Printer {
    fn section(&mut self, name: &str) {
        let gap = if self.0.is_empty() { "" } else { "\n" };
        // A string takes any text, so writing cannot fail; here and below.
        let _ = writeln!(self.0, "{gap}[{name}]");
    }

    fn remark(&mut self, text: &str) {
        let _ = writeln!(self.0, "\n; {text}");
    }

    /// A value with a semicolon cannot have a comment behind it, so the origin goes before it.
    fn line(&mut self, key: &str, value: &str, origin: &str) {
        let value = if value.is_empty() { "\"\"".to_owned() } else { value.replace('\n', "\n    ") };
        let line = format!("{key} = {value}");
        let _ = match line.contains([';', '\n']) {
            true => writeln!(self.0, "; {origin}:\n{line}"),
            false => writeln!(self.0, "{line:<ORIGIN_COLUMN$} ; {origin}"),
        };
    }
}

/// As a file has it; `None` for what is not set.
fn as_written(value: &Value) -> Option<String> {
    (!value.is_null()).then(|| display(value))
}

fn sections<'a>(document: &'a Document, prefix: &'a str) -> impl Iterator<Item = &'a Section> {
    document.sections.iter().filter(move |section| section.name.starts_with(prefix))
}

/// The line of a key in a section, or in `[DEFAULT]`.
fn origin(document: &Document, section: Option<&Section>, key: &str) -> String {
    let items = section.map(|section| document.items(section)).unwrap_or_default();
    let item = items.iter().find(|item| item.entry.key == key);
    item.map_or_else(|| "default".to_owned(), |item| item.entry.place.to_string())
}

fn circus(text: &mut Printer, document: &Document, circus: &CircusOptions, given: &[(&'static str, String)]) {
    text.section("circus");
    let section = document.section("circus");
    for row in CIRCUS_OPTIONS {
        if let Some((_, value)) = given.iter().find(|(name, _)| *name == row.name) {
            text.line(row.name, value, "command line");
        } else if let Some(value) = as_written(&row.get(circus)) {
            let origin = origin(document, section, row.name);
            if !value.is_empty() || origin != "default" {
                text.line(row.name, &value, &origin);
            }
        }
    }
}

fn socket(text: &mut Printer, document: &Document, section: &Section, environments: &Environments) {
    text.section(&section.name);
    let mut draft = SocketDraft::default();
    for item in document.items(section) {
        if let Some(row) = SocketOption::find(&item.entry.key) {
            // It has been read once without an error.
            let _ = row.read(&mut draft, &environments.global.expand(&item.entry.value));
        }
    }
    for row in SOCKET_OPTIONS {
        if let Some(value) = as_written(&row.kind.get(&draft)) {
            text.line(row.name, &value, &origin(document, Some(section), row.name));
        }
    }
}

/// The section that defines a watcher: by its `name`, or by its title.
fn section_of<'a>(document: &'a Document, name: &str) -> Option<&'a Section> {
    sections(document, "watcher:").find(|section| {
        let items = document.items(section);
        let named = items.iter().find(|item| item.entry.key == "name").map(|item| item.entry.value.as_str());
        named.or_else(|| section.name.strip_prefix("watcher:")) == Some(name)
    })
}

fn watcher(text: &mut Printer, document: &Document, seed: &Seed) {
    let options = &seed.options;
    text.section(&format!("watcher:{}", options.name));
    let section = match &seed.origin {
        Origin::File(_) => section_of(document, &options.name),
        Origin::Added { .. } => None,
    };
    let changed = |key: &str| {
        let family = key.split('.').next().unwrap_or(key);
        seed.changes.iter().any(|(known, _)| known == key || known == family)
    };
    let rows = WATCHER_OPTIONS.iter().flat_map(|row| values(row, options));
    let custom = options.extra.iter().filter(|(key, _)| *key != "__name__");
    for (key, value) in rows.chain(custom.map(|(key, value)| (key.clone(), value.clone()))) {
        let origin = if changed(&key) { "run time".to_owned() } else { origin(document, section, &key) };
        text.line(&key, &value, &origin);
    }
}

/// Keys and values of an option; a family has one for each member.
fn values(row: &WatcherOption, options: &WatcherOptions) -> Vec<(String, String)> {
    let stream = |stream: &Option<StreamOptions>| match stream {
        None => Vec::new(),
        Some(stream) => {
            let class = (format!("{}.class", row.name), stream.class.to_string());
            let settings = stream.settings.iter().map(|(key, value)| (format!("{}.{key}", row.name), value.clone()));
            std::iter::once(class).chain(settings).collect()
        }
    };
    match row.name {
        // In a section of its own.
        "env" => Vec::new(),
        "stdout_stream" => stream(&options.stdout_stream),
        "stderr_stream" => stream(&options.stderr_stream),
        "hooks" => options
            .hooks
            .iter()
            .map(|(name, (target, ignores))| {
                let flag = if *ignores { ",True" } else { "" };
                (format!("hooks.{name}"), format!("{target}{flag}"))
            })
            .collect(),
        "rlimit" => {
            let limits = row.kind.get(options);
            let limits = limits.as_object().into_iter().flatten();
            limits.map(|(name, value)| (format!("rlimit_{name}"), display(value))).collect()
        }
        name => {
            let value = as_written(&row.kind.get(options)).filter(|value| !value.is_empty());
            value.map(|value| (name.to_owned(), value)).into_iter().collect()
        }
    }
}

/// The variables that the configuration sets for a watcher; those that are only circusd's own are left out.
fn environment(
    text: &mut Printer,
    document: &Document,
    options: &WatcherOptions,
    process_env: &BTreeMap<String, String>,
) {
    let own: Vec<_> = options.env.iter().filter(|(name, value)| process_env.get(*name) != Some(value)).collect();
    if own.is_empty() {
        return;
    }
    text.section(&format!("env:{}", options.name));
    for (name, value) in own {
        let applies = |section: &&Section| match section.name.strip_prefix("env") {
            Some("") => true,
            Some(list) => list
                .strip_prefix(':')
                .is_some_and(|list| list.split(',').any(|pattern| fnmatch::matches(&options.name, strip(pattern)))),
            None => false,
        };
        let has = |section: &&Section| document.items(section).iter().any(|item| item.entry.key == *name);
        // The last one wins; `[env]` counts before all others.
        let lists = document.sections.iter().filter(applies).filter(has);
        let mut lists = lists.rev().peekable();
        let first = lists.peek().copied();
        let section = lists.find(|section| section.name != "env").or(first);
        let origin = match section {
            Some(_) => origin(document, section, name),
            None if options.virtualenv.is_some() => origin(document, section_of(document, &options.name), "virtualenv"),
            None => "run time".to_owned(),
        };
        text.line(name, value, &origin);
    }
}
