//! Single sections to typed options: `[circus]`, `[socket:]`, `[plugin:]`; `[watcher:]` is in `watchers`.
//!
//! Each function goes through the section's items, finds each key's row in the option table, and notes what is wrong.
//! Whether a section is used is decided here: one problem that leaves it out is enough, and all of them are reported.

use super::PluginSection;
use super::environment::Variables;
use super::near::{elsewhere, nearest};
use super::problem::{Place, Problem, ProblemKind, Severity};
use super::reader::{Document, Entry, Item, Section};
use crate::options::{
    CIRCUS_KEYS_NEVER_READ, CIRCUS_OPTIONS, CircusOption, CircusOptions, Effect, Expected, Kind, MetricsEndpoint,
    SOCKET_OPTIONS, SocketDraft, SocketKind, SocketOption, SocketOptions, python,
};

/// One section with its problems so far.
pub struct Reading<'a> {
    pub(super) section: &'a Section,
    pub(super) items: Vec<Item<'a>>,
    problems: Vec<Problem>,
}

impl<'a> Reading<'a> {
    /// Starts on a section; `None` when it holds nothing, not even from `[DEFAULT]` (Circus skips it).
    pub fn new(document: &'a Document, section: &'a Section) -> Option<Self> {
        let items = document.items(section);
        (!items.is_empty()).then_some(Self { section, items, problems: Vec::new() })
    }

    /// What was found wrong.
    pub fn into_problems(self) -> Vec<Problem> {
        self.problems
    }

    /// A problem at an entry.
    pub(super) fn note(&mut self, entry: &Entry, severity: Severity, kind: ProblemKind) {
        let section = self.section.name.clone();
        self.problems.push(Problem { place: entry.place.clone(), section, severity, kind });
    }

    /// A problem at the entry of that key, or at the header when there is none.
    pub(super) fn note_at(&mut self, key: &str, severity: Severity, kind: ProblemKind) {
        let place = self.place_of(key);
        self.problems.push(Problem { place, section: self.section.name.clone(), severity, kind });
    }

    /// Where that key is, or the header when it is not there.
    pub(super) fn place_of(&self, key: &str) -> Place {
        let entry = self.items.iter().find(|item| item.entry.key == key);
        entry.map_or(&self.section.place, |item| &item.entry.place).clone()
    }

    pub(super) fn bad_value(&mut self, entry: &Entry, severity: Severity, value: &str, expected: Expected) {
        let kind = ProblemKind::Value { key: entry.key.clone(), value: value.to_owned(), expected };
        self.note(entry, severity, kind);
    }

    /// What a value is read as: itself, but for a negative number of what there is none less than none of, which is told.
    pub(super) fn amount<'t, S>(&mut self, kind: &Kind<S>, entry: &Entry, text: &'t str) -> &'t str {
        let Some(taken) = kind.instead_of_negative(text) else {
            return text;
        };
        let kind = ProblemKind::TakenAs { key: entry.key.clone(), value: text.to_owned(), taken };
        self.note(entry, Severity::Warning, kind);
        taken
    }

    pub(super) fn no_effect(&mut self, entry: &Entry, value: &str) {
        let kind = ProblemKind::NoEffectYet { key: entry.key.clone(), value: value.to_owned() };
        self.note(entry, Severity::Warning, kind);
    }

    /// A key that is no option is kept, as in Circus; its writer is told once, and which option it looks like. A key that the
    /// section itself uses as `$(circus.KEY)`, or that the flapping plugin reads, is meant as it is.
    pub(super) fn unknown(&mut self, item: Item<'_>, known: &[&'static str]) {
        let key = &item.entry.key;
        if item.from_default || key.starts_with("flapping.") || self.uses(key) {
            return;
        }
        // `stdout_steam.class` is like the family `stdout_stream`.
        let stem = key.split('.').next().unwrap_or(key);
        let foreign = elsewhere(key).filter(|name| known.contains(name));
        let kind = match foreign.or_else(|| nearest(stem, known.iter().copied())) {
            Some(near) => ProblemKind::UnknownOption { key: key.clone(), near },
            None => ProblemKind::NoOption(key.clone()),
        };
        self.note(item.entry, Severity::Warning, kind);
    }

    fn uses(&self, key: &str) -> bool {
        let variable = format!("circus.{}", key.to_lowercase());
        self.items.iter().any(|item| item.entry.value.to_lowercase().contains(&variable))
    }

    pub(super) fn is_left_out(&self) -> bool {
        self.problems.iter().any(|problem| problem.severity == Severity::LeftOut)
    }

    /// `[circus]`. A bad value is fatal.
    pub fn circus(&mut self, variables: &Variables) -> CircusOptions {
        let mut circus = CircusOptions::default();
        for item in self.items.clone() {
            let entry = item.entry;
            let text = variables.expand(&entry.value);
            let Some(row) = CircusOption::find(&entry.key) else {
                if CIRCUS_KEYS_NEVER_READ.contains(&entry.key.as_str()) {
                    self.note(entry, Severity::Warning, ProblemKind::NeverRead(entry.key.clone()));
                } else if !matches!(entry.key.as_str(), "include" | "include_dir") {
                    self.unknown(item, &CIRCUS_OPTIONS.iter().map(|row| row.name).collect::<Vec<_>>());
                }
                continue;
            };
            let amount = self.amount(&row.kind, entry, &text);
            if let Err(expected) = row.read(&mut circus, amount) {
                self.bad_value(entry, Severity::Fatal, &text, expected);
                continue;
            }
            // Naming the statistics endpoint turns statistics on, even at its default (spec a.4).
            let is_stats_endpoint = row.name == "stats_endpoint";
            circus.statsd |= is_stats_endpoint;
            let is_changed = row.get(&circus) != row.get(&CircusOptions::default());
            if row.effect == Effect::NotYet && (is_changed || is_stats_endpoint) {
                self.no_effect(entry, &text);
            }
        }
        let exposed = |endpoint: &&MetricsEndpoint| !endpoint.is_local() && !circus.metrics_remote;
        if let Some(endpoint) = circus.metrics_endpoint.as_ref().filter(exposed) {
            let (key, value) = ("metrics_endpoint".to_owned(), endpoint.to_string());
            let kind = ProblemKind::Value { key, value, expected: Expected::LocalMetrics };
            self.note_at("metrics_endpoint", Severity::Fatal, kind);
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
                None => self.unknown(item, &SOCKET_OPTIONS.iter().map(|row| row.name).collect::<Vec<_>>()),
                Some(row) => {
                    let amount = self.amount(&row.kind, entry, &text);
                    if let Err(expected) = row.read(&mut draft, amount) {
                        self.bad_value(entry, Severity::LeftOut, &text, expected);
                    }
                }
            }
        }
        if draft.gives_up_sharing() {
            self.note_at("so_reuseport", Severity::Warning, ProblemKind::SharedWithoutPort);
        }
        let name = self.section.name.rsplit("socket:").next().unwrap_or_default().to_lowercase();
        let socket = draft.finish(&name);
        if socket.is_none() {
            self.note_at("family", Severity::LeftOut, ProblemKind::UnixWithoutPath);
        }
        if let Some(socket) = &socket {
            self.socket_as_a_whole(socket);
        }
        if self.is_left_out() { None } else { socket }
    }

    /// What the core cannot make leaves out this socket; a protocol of another name than the type's own is not asked for.
    fn socket_as_a_whole(&mut self, socket: &SocketOptions) {
        let own: &[&str] = match socket.kind {
            SocketKind::Stream => &["tcp", "ip", "0", ""],
            SocketKind::Datagram => &["udp", "ip", "0", ""],
            SocketKind::SeqPacket => &["0", ""],
            SocketKind::Raw | SocketKind::Rdm => {
                return self.note_at("type", Severity::LeftOut, ProblemKind::SocketKind);
            }
        };
        if let Some(proto) = socket.proto.as_deref().filter(|proto| !own.contains(&proto.to_lowercase().as_str())) {
            self.note_at("proto", Severity::LeftOut, ProblemKind::Protocol(proto.to_owned()));
        }
    }

    /// `[plugin:NAME]`; `None` when it is left out.
    pub fn plugin(&mut self, variables: &Variables) -> Option<PluginSection> {
        let items = self.items.clone();
        let settings = items.iter().map(|item| (item.entry.key.clone(), variables.expand(&item.entry.value)));
        let plugin = PluginSection { name: self.section.name.clone(), settings: settings.collect() };
        if let Some(item) = items.iter().find(|item| item.entry.key == "priority") {
            let text = variables.expand(&item.entry.value);
            if python::to_int(&text).is_none() {
                self.bad_value(item.entry, Severity::LeftOut, &text, Expected::Integer);
            }
        }
        if !plugin.settings.contains_key("use") {
            self.note_at("use", Severity::LeftOut, ProblemKind::PluginWithoutUse);
        }
        (!self.is_left_out()).then_some(plugin)
    }
}
