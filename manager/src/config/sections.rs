//! Single sections to typed options: `[circus]`, `[watcher:]`, `[socket:]`, `[plugin:]`.
//!
//! Each function goes through the section's items, finds each key's row in the option table, and notes what is wrong.
//! Whether a section is used is decided here: one problem that leaves it out is enough, and all of them are reported.

use super::PluginSection;
use super::environment::{Environments, Variables};
use super::near::nearest;
use super::problem::{Problem, ProblemKind, Severity};
use super::reader::{Document, Entry, Item, Section};
use crate::options::{
    CIRCUS_KEYS_NEVER_READ, CIRCUS_OPTIONS, CircusOption, CircusOptions, Effect, Expected, HOOK_NAMES,
    SOCKET_OPTIONS, SocketDraft, SocketOption, SocketOptions, StreamClass, WATCHER_OPTIONS, WatcherOption,
    WatcherOptions, python,
};

/// One section with its problems so far.
pub struct Reading<'a> {
    section: &'a Section,
    items: Vec<Item<'a>>,
    problems: Vec<Problem>,
}

impl<'a> Reading<'a> {
    /// Starts on a section; `None` when it holds nothing, not even from `[DEFAULT]` (Circus skips it).
    pub fn new(document: &'a Document, section: &'a Section) -> Option<Self> {
        let items = document.items(section);
        (!items.is_empty()).then_some(Self {
            section,
            items,
            problems: Vec::new(),
        })
    }

    /// What was found wrong.
    pub fn into_problems(self) -> Vec<Problem> {
        self.problems
    }

    /// A problem at an entry.
    fn note(&mut self, entry: &Entry, severity: Severity, kind: ProblemKind) {
        let section = self.section.name.clone();
        self.problems.push(Problem {
            place: entry.place.clone(),
            section,
            severity,
            kind,
        });
    }

    /// A problem at the entry of that key, or at the header when there is none.
    fn note_at(&mut self, key: &str, severity: Severity, kind: ProblemKind) {
        let entry = self.items.iter().find(|item| item.entry.key == key);
        let place = entry
            .map_or(&self.section.place, |item| &item.entry.place)
            .clone();
        self.problems.push(Problem {
            place,
            section: self.section.name.clone(),
            severity,
            kind,
        });
    }

    fn bad_value(&mut self, entry: &Entry, severity: Severity, value: &str, expected: Expected) {
        let kind = ProblemKind::Value {
            key: entry.key.clone(),
            value: value.to_owned(),
            expected,
        };
        self.note(entry, severity, kind);
    }

    fn no_effect(&mut self, entry: &Entry, value: &str) {
        let kind = ProblemKind::NoEffectYet {
            key: entry.key.clone(),
            value: value.to_owned(),
        };
        self.note(entry, Severity::Warning, kind);
    }

    fn unknown(&mut self, item: Item<'_>, known: impl Iterator<Item = &'static str>) {
        let key = &item.entry.key;
        if item.from_default || key.starts_with("flapping.") {
            return;
        }
        if let Some(near) = nearest(key, known) {
            let kind = ProblemKind::UnknownOption {
                key: key.clone(),
                near,
            };
            self.note(item.entry, Severity::Warning, kind);
        }
    }

    fn is_left_out(&self) -> bool {
        self.problems
            .iter()
            .any(|problem| problem.severity == Severity::LeftOut)
    }

    /// `[circus]`. A bad value is fatal.
    pub fn circus(&mut self, variables: &Variables) -> CircusOptions {
        let mut circus = CircusOptions::default();
        for item in self.items.clone() {
            let entry = item.entry;
            let text = variables.expand(&entry.value);
            let Some(row) = CircusOption::find(&entry.key) else {
                if CIRCUS_KEYS_NEVER_READ.contains(&entry.key.as_str()) {
                    self.note(
                        entry,
                        Severity::Warning,
                        ProblemKind::NeverRead(entry.key.clone()),
                    );
                } else if !matches!(entry.key.as_str(), "include" | "include_dir") {
                    self.unknown(item, CIRCUS_OPTIONS.iter().map(|row| row.name));
                }
                continue;
            };
            if let Err(expected) = row.read(&mut circus, &text) {
                self.bad_value(entry, Severity::Fatal, &text, expected);
                continue;
            }
            // Naming the statistics endpoint turns statistics on, even at its default (spec a.4).
            let is_stats_endpoint = row.name == "stats_endpoint";
            circus.statsd |= is_stats_endpoint;
            let is_changed = row.get(&circus) != row.get(&CircusOptions::default());
            let is_discovery_on = row.name == "multicast_endpoint" && circus.multicast_endpoint.is_some();
            let has_effect = match row.name {
                "multicast_endpoint" => is_discovery_on,
                _ => is_changed || is_stats_endpoint,
            };
            if row.effect == Effect::NotYet && has_effect {
                self.no_effect(entry, &text);
            }
        }
        // `statsd = False` after `stats_endpoint` does not turn it off again.
        circus.statsd |= self.items.iter().any(|item| item.entry.key == "stats_endpoint");
        circus
    }

    /// `[socket:NAME]`; `None` when it is left out.
    pub fn socket(&mut self, variables: &Variables) -> Option<SocketOptions> {
        let mut draft = SocketDraft::default();
        for item in self.items.clone() {
            let entry = item.entry;
            let text = variables.expand(&entry.value);
            match SocketOption::find(&entry.key) {
                None => self.unknown(item, SOCKET_OPTIONS.iter().map(|row| row.name)),
                Some(row) => {
                    if let Err(expected) = row.read(&mut draft, &text) {
                        self.bad_value(entry, Severity::LeftOut, &text, expected);
                    }
                }
            }
        }
        let name = self
            .section
            .name
            .rsplit("socket:")
            .next()
            .unwrap_or_default()
            .to_lowercase();
        let socket = draft.finish(&name);
        if socket.is_none() {
            self.note_at("family", Severity::LeftOut, ProblemKind::UnixWithoutPath);
        }
        if self.is_left_out() { None } else { socket }
    }

    /// `[plugin:NAME]`; `None` when it is left out.
    pub fn plugin(&mut self, variables: &Variables) -> Option<PluginSection> {
        let items = self.items.clone();
        let settings = items
            .iter()
            .map(|item| (item.entry.key.clone(), variables.expand(&item.entry.value)));
        let plugin = PluginSection {
            name: self.section.name.clone(),
            settings: settings.collect(),
        };
        if let Some(item) = items.iter().find(|item| item.entry.key == "priority") {
            let text = variables.expand(&item.entry.value);
            if python::to_int(&text).is_none() {
                self.bad_value(item.entry, Severity::LeftOut, &text, Expected::Integer);
            }
        }
        self.note_at("use", Severity::Warning, ProblemKind::PluginsNotYet);
        (!self.is_left_out()).then_some(plugin)
    }

    /// `[watcher:NAME]`; `None` when it is left out.
    pub fn watcher(&mut self, document: &Document, environments: &Environments) -> Option<WatcherOptions> {
        let items = self.items.clone();
        let value = |key: &str| {
            items
                .iter()
                .find(|item| item.entry.key == key)
                .map(|item| &item.entry.value)
        };
        let in_title = self.section.name.strip_prefix("watcher:").unwrap_or_default();
        let mut watcher = WatcherOptions::new(value("name").map_or(in_title, String::as_str));

        // The environment is needed to expand the values, and `copy_env` to know the environment.
        let copy_env = value("copy_env").and_then(|text| python::to_bool(&environments.global.expand(text)));
        watcher.env = environments.of_watcher(document, &watcher.name, copy_env.unwrap_or_default());
        let variables = environments.seen_by_watcher(&watcher.env);
        watcher
            .extra
            .insert("__name__".to_owned(), variables.expand(&self.section.name));

        for item in items {
            self.watcher_item(&mut watcher, item, environments, &variables);
        }
        self.watcher_as_a_whole(&watcher);
        (!self.is_left_out()).then_some(watcher)
    }

    fn watcher_item(
        &mut self,
        watcher: &mut WatcherOptions,
        item: Item<'_>,
        environments: &Environments,
        variables: &Variables,
    ) {
        let entry = item.entry;
        let row = match (entry.key.as_str(), WatcherOption::find(&entry.key)) {
            ("name", _) => return,
            ("env", _) => {
                return self.bad_value(entry, Severity::Warning, &entry.value, Expected::EnvSection);
            }
            (key, None) => {
                watcher
                    .extra
                    .insert(key.to_owned(), variables.expand(&entry.value));
                let known = WATCHER_OPTIONS.iter().filter(|row| row.separator.is_none());
                return self.unknown(item, known.map(|row| row.name));
            }
            (_, Some(row)) => row,
        };
        // A typed value is read before the sections `[env:NAME]` are known, a text after that (spec a.3 item 2).
        let text = match row.is_text() {
            true => variables.expand(&entry.value),
            false => variables.expand(&environments.global.expand(&entry.value)),
        };
        if let Err(expected) = row.read(watcher, &entry.key, &text) {
            return self.bad_value(entry, Severity::LeftOut, &text, expected);
        }
        if entry.key == "use_papa" {
            // Circus 0.18 and later knows no such option: it shows the text as it shows any custom one.
            watcher.extra.insert(entry.key.clone(), text.clone());
        }
        if row.effect == Effect::NotYet && row.is_changed(watcher) {
            self.no_effect(entry, &text);
        }
        if let Some(hook) = entry.key.strip_prefix("hooks.")
            && !HOOK_NAMES.contains(&hook)
        {
            self.note(
                entry,
                Severity::Warning,
                ProblemKind::UnknownHook(hook.to_owned()),
            );
        }
    }

    /// What no single option shows. Circus drops the watcher in these cases, too (spec a.5).
    fn watcher_as_a_whole(&mut self, watcher: &WatcherOptions) {
        if watcher.singleton && watcher.numprocesses > 1 {
            let kind = ProblemKind::SingletonCount(watcher.numprocesses);
            self.note_at("numprocesses", Severity::LeftOut, kind);
        }
        if watcher.copy_path && !watcher.copy_env {
            self.note_at(
                "copy_path",
                Severity::LeftOut,
                ProblemKind::NeedsCopyEnv("copy_path"),
            );
        }
        if watcher.virtualenv.is_some() && !watcher.copy_env {
            self.note_at(
                "virtualenv",
                Severity::LeftOut,
                ProblemKind::NeedsCopyEnv("virtualenv"),
            );
        }
        let streams = [
            ("stdout_stream", "stdout_stream.class", &watcher.stdout_stream),
            ("stderr_stream", "stderr_stream.class", &watcher.stderr_stream),
        ];
        for (name, class_key, stream) in streams {
            let Some(stream) = stream else { continue };
            if let StreamClass::Python(class) = &stream.class {
                let kind = ProblemKind::NoEffectYet {
                    key: class_key.to_owned(),
                    value: class.clone(),
                };
                self.note_at(class_key, Severity::Warning, kind);
            }
            let has_class = self.items.iter().any(|item| item.entry.key == class_key);
            if !has_class && !stream.settings.contains_key("filename") {
                let first = self.items.iter().find(|item| item.entry.key.starts_with(name));
                let key = first.map_or(String::new(), |item| item.entry.key.clone());
                self.note_at(&key, Severity::LeftOut, ProblemKind::StreamWithoutClass(name));
            }
        }
    }
}
