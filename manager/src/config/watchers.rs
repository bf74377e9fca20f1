//! `[watcher:NAME]` to typed options, and what is wrong with a watcher as a whole.

use super::environment::{Environments, Variables};
use super::expand::expand;
use super::problem::{ProblemKind, Severity};
use super::reader::{Document, Item};
use super::sections::Reading;
use super::words;
use crate::options::{
    Args, Effect, Expected, HOOK_NAMES, Overflow, WATCHER_OPTIONS, WatcherOption, WatcherOptions, check_name, python,
};
use crate::streams;
use std::cell::RefCell;

impl Reading<'_> {
    /// `[watcher:NAME]`; `None` when it is left out.
    pub fn watcher(&mut self, document: &Document, environments: &Environments) -> Option<WatcherOptions> {
        let items = self.items.clone();
        let value = |key: &str| items.iter().find(|item| item.entry.key == key).map(|item| &item.entry.value);
        let in_title = self.section.name.strip_prefix("watcher:").unwrap_or_default();
        let mut watcher = WatcherOptions::new(value("name").map_or(in_title, String::as_str));

        // The environment is needed to expand the values, and `copy_env` to know the environment.
        let copy_env = value("copy_env").and_then(|text| python::to_bool(&environments.global.expand(text)));
        watcher.env = environments.of_watcher(document, &watcher.name, copy_env.unwrap_or_default());
        let variables = environments.seen_by_watcher(&watcher.env);
        watcher.extra.insert("__name__".to_owned(), variables.expand(&self.section.name));

        for item in items {
            self.watcher_item(&mut watcher, item, environments, &variables);
        }
        self.watcher_as_a_whole(&watcher);
        if !self.is_left_out() {
            self.python_path(&mut watcher, document, environments);
        }
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
                watcher.extra.insert(key.to_owned(), variables.expand(&entry.value));
                return self.unknown(item, &WATCHER_OPTIONS.iter().map(|row| row.name).collect::<Vec<_>>());
            }
            (_, Some(row)) => row,
        };
        // A typed value is read before the sections `[env:NAME]` are known, a text after that (spec a.3 item 2).
        let text = match row.is_text() {
            true => variables.expand(&entry.value),
            false => variables.expand(&environments.global.expand(&entry.value)),
        };
        if text.contains('\0') {
            return self.bad_value(entry, Severity::LeftOut, &text, Expected::NoZero);
        }
        let amount = self.amount(&row.kind, entry, &text);
        if let Err(expected) = row.read(watcher, &entry.key, amount) {
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
            self.note(entry, Severity::Warning, ProblemKind::UnknownHook(hook.to_owned()));
        }
    }

    /// What no single option shows. Circus drops the watcher in these cases, too (spec a.5).
    fn watcher_as_a_whole(&mut self, watcher: &WatcherOptions) {
        if watcher.singleton && watcher.numprocesses > 1 {
            let kind = ProblemKind::SingletonCount(watcher.numprocesses);
            self.note_at("numprocesses", Severity::LeftOut, kind);
        }
        if watcher.copy_path && !watcher.copy_env {
            self.note_at("copy_path", Severity::LeftOut, ProblemKind::NeedsCopyEnv("copy_path"));
        }
        if watcher.virtualenv.is_some() && !watcher.copy_env {
            self.note_at("virtualenv", Severity::LeftOut, ProblemKind::NeedsCopyEnv("virtualenv"));
        }
        if watcher.overflow == Overflow::Spill && watcher.spill_dir.is_none() {
            self.note_at("overflow", Severity::LeftOut, ProblemKind::NeedsSpillDir);
        }
        if let Err(error) = check_name(&watcher.name) {
            self.note_at("name", Severity::LeftOut, ProblemKind::Name(error));
        }
        let has_zero = |(name, value): &(&String, &String)| name.contains('\0') || value.contains('\0');
        if let Some((name, _)) = watcher.env.iter().find(has_zero) {
            self.note_at("env", Severity::LeftOut, ProblemKind::ZeroInVariable(name.clone()));
        }
        self.limits(watcher);
        self.streams(watcher);
        self.command(watcher);
    }

    /// Like a missing command an unknown limit keeps the watcher from starting, and nobody else (spec n.2).
    fn limits(&mut self, watcher: &WatcherOptions) {
        let unknown = |name: &&String| !crate::options::RLIMIT_NAMES.contains(&name.as_str());
        for name in watcher.rlimits.keys().filter(unknown) {
            let key = format!("rlimit_{name}");
            let kind = ProblemKind::UnknownLimit(name.clone());
            self.note_at(&key, Severity::Warning, kind);
        }
    }

    /// What is wrong with the streams. Circus drops the watcher in these cases, too, but for single settings, which it finds out at
    /// the first write or never (spec h).
    fn streams(&mut self, watcher: &WatcherOptions) {
        let streams = [
            ("stdout_stream", "stdout_stream.class", &watcher.stdout_stream),
            ("stderr_stream", "stderr_stream.class", &watcher.stderr_stream),
        ];
        for (stream, class_key, options) in streams {
            let Some(options) = options else { continue };
            let first = self.items.iter().find(|item| item.entry.key.starts_with(stream));
            let first = first.map_or(String::new(), |item| item.entry.key.clone());
            let has_class = self.items.iter().any(|item| item.entry.key == class_key);
            if !has_class && !options.settings.contains_key("filename") {
                self.note_at(&first, Severity::LeftOut, ProblemKind::StreamWithoutClass(stream));
                continue;
            }
            if let Err(error) = streams::validate(options) {
                let key = format!("{stream}.{}", error.key().unwrap_or("class"));
                let is_there = self.items.iter().any(|item| item.entry.key == key);
                let key = if is_there { key } else { first };
                self.note_at(&key, Severity::LeftOut, ProblemKind::Stream { stream, error });
                continue;
            }
            let class = options.class.to_string();
            if let Some(note) = streams::note(options) {
                let (key, class) = (class_key, class.clone());
                self.note_at(key, Severity::Warning, ProblemKind::StreamNote { key, class, note });
            }
            for setting in streams::unknown_settings(options) {
                let key = format!("{stream}.{setting}");
                let at = key.clone();
                let class = class.clone();
                self.note_at(&at, Severity::Warning, ProblemKind::StreamSetting { key, class });
            }
        }
    }

    /// A command that cannot start; the watcher is there, as in Circus, and `start` says so again.
    fn command(&mut self, watcher: &WatcherOptions) {
        if watcher.cmd.trim().is_empty() {
            self.note_at("cmd", Severity::Warning, ProblemKind::NoCommand);
        }
        let args = match &watcher.args {
            Args::Text(text) => text.as_str(),
            Args::List(_) => "",
        };
        let shell_args = watcher.shell_args.as_deref().unwrap_or_default();
        for (key, text) in [("cmd", watcher.cmd.as_str()), ("args", args), ("shell_args", shell_args)] {
            if let Err(error) = words::split(text) {
                self.note_at(key, Severity::Warning, ProblemKind::NoWords { key, error });
            }
        }
    }

    /// Sockets that the watcher names and no section defines, `defined` being the lower-case names of all that do.
    pub fn missing_sockets(&mut self, watcher: &WatcherOptions, defined: &[&str]) {
        if watcher.on_demand && !defined.iter().any(|name| watcher.holds(name)) {
            self.note_at("on_demand", Severity::Warning, ProblemKind::NothingToWaitFor);
        }
        for item in self.items.clone() {
            let key = item.entry.key.as_str();
            let named = match (key, &watcher.stdin_socket) {
                ("stdin_socket", Some(name)) => vec![name.to_lowercase()],
                ("cmd" | "args" | "shell_args", _) => sockets_named_in(&item.entry.value),
                _ => continue,
            };
            for name in named {
                if !defined.contains(&name.as_str()) {
                    self.note(item.entry, Severity::Warning, ProblemKind::NoSuchSocket(name));
                }
            }
        }
    }
}

/// The NAMEs of every `$(circus.sockets.NAME)`, in lower case.
fn sockets_named_in(text: &str) -> Vec<String> {
    let names = RefCell::new(Vec::new());
    expand(text, &|name| {
        names.borrow_mut().extend(name.strip_prefix("sockets.").map(str::to_owned));
        None
    });
    names.into_inner()
}
