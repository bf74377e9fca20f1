//! Environments: `[env]`, `[env:LIST]`, `copy_env`, and what `$(circus.env.NAME)` sees (spec a.3, a.8).

use super::expand::{expand, substitute_names};
use super::fnmatch;
use super::reader::{Document, Section};
use crate::options::WatcherOptions;
use crate::options::python::strip;
use std::collections::BTreeMap;

/// How the title of a section begins that names watchers for its variables.
const LIST: &str = "env:";

/// Variables by name.
pub type Environment = BTreeMap<String, String>;

/// Variables for `$(circus.env.NAME)`: by lower-case name, the last of two that differ in case only.
#[derive(Debug, Clone, Default)]
pub struct Variables(BTreeMap<String, String>);

impl Variables {
    /// From an environment, overlaid by others.
    pub fn new(layers: &[&Environment]) -> Self {
        let pairs = layers.iter().flat_map(|layer| layer.iter());
        Self(pairs.map(|(name, value)| (name.to_lowercase(), value.clone())).collect())
    }

    /// Expands `$(circus.env.NAME)` and nothing else.
    pub fn expand(&self, text: &str) -> String {
        expand(text, &|name| self.0.get(name.strip_prefix("env.")?).cloned())
    }
}

/// What all sections of one configuration share.
#[derive(Debug, Clone)]
pub struct Environments {
    /// circusd's own environment.
    pub process: Environment,
    /// The `[env]` section, expanded against circusd's environment.
    pub local: Environment,
    /// circusd's environment overlaid by `[env]`.
    pub global: Variables,
    /// Which sections are `[env:LIST]`, in the order of the file.
    lists: Vec<usize>,
}

impl Environments {
    /// Reads `[env]`.
    pub fn new(document: &Document, process: &Environment) -> Self {
        let own = Variables::new(&[process]);
        let local = match document.section("env") {
            None => Environment::new(),
            Some(section) => pairs(document, section).map(|(name, value)| (name, own.expand(&value))).collect(),
        };
        let global = Variables::new(&[process, &local]);
        let named = document.sections.iter().enumerate();
        let lists = named.filter(|(_, section)| section.name.starts_with(LIST)).map(|(index, _)| index).collect();
        Self { process: process.clone(), local, global, lists }
    }

    /// A watcher's environment before `$NAME` substitution: circusd's if copied, `[env]`, then every `[env:LIST]` that
    /// names it, in the order of the file.
    pub fn of_watcher(&self, document: &Document, name: &str, copy_env: bool) -> Environment {
        let mut environment = if copy_env { self.process.clone() } else { Environment::new() };
        environment.extend(self.local.clone());
        for section in self.lists.iter().filter_map(|index| document.sections.get(*index)) {
            let list = section.name.strip_prefix(LIST).unwrap_or_default();
            if list.split(',').any(|pattern| fnmatch::matches(name, strip(pattern))) {
                environment.extend(pairs(document, section));
            }
        }
        environment
    }

    /// What `$(circus.env.NAME)` sees inside the section of a watcher with that environment.
    pub fn seen_by_watcher(&self, environment: &Environment) -> Variables {
        Variables::new(&[&self.process, &self.local, environment])
    }
}

fn pairs<'a>(document: &'a Document, section: &'a Section) -> impl Iterator<Item = (String, String)> + 'a {
    document.items(section).into_iter().map(|item| (item.entry.key.clone(), item.entry.value.clone()))
}

/// The environment that a watcher's children get: every `$NAME` in a value replaced from circusd's environment, names
/// and values stripped (spec a.3 item 4). Done when the watcher is created.
pub fn substituted_env(watcher: &WatcherOptions, circusd_env: &Environment) -> Environment {
    let entries = watcher.env.iter();
    let substituted =
        entries.map(|(name, value)| (strip(name).to_owned(), strip(&substitute_names(value, circusd_env)).to_owned()));
    substituted.collect()
}
