//! The configuration file: read, checked, typed.
//!
//! [`load`] turns a path into a [`Config`] and a list of problems, all of them at once. It opens nothing but the files,
//! starts nothing and resolves no user, host or path: that happens where the values are used. The one exception is
//! `python_path`, which looks into virtualenvs. Walk: `include` reads the files into one `reader::Document`; `environment` gathers the `[env…]` sections; `sections` and `watchers` type each
//! section by the tables of `options`; this module sorts and looks for what is given twice.

mod attendants;
pub mod check;
mod classes;
mod environment;
pub mod expand;
pub mod fnmatch;
pub mod include;
mod near;
pub mod print;
mod problem;
mod python_path;
mod reader;
mod sections;
mod watchers;
pub mod words;

pub use classes::ClassUse;
pub use environment::{Environment, substituted_env};
pub use problem::{ConfigError, ConfigErrors, Place, Problem, ProblemKind, Severity};
pub use reader::{Document, Entry, Item, Repeat, Section};

use crate::options::{CircusOptions, SocketOptions, WatcherOptions};
use environment::Environments;
use near::nearest;

use sections::Reading;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A configuration that can be run.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The main file, as it was named.
    pub path: PathBuf,
    /// Every file that was read, the main one first.
    pub files: Vec<PathBuf>,
    /// `[circus]`.
    pub circus: CircusOptions,
    /// By name, upper case first; names are unique in lower case.
    pub watchers: Vec<WatcherOptions>,
    /// The watchers of plugins and statistics, which no section `[watcher:]` names.
    pub helpers: Vec<WatcherOptions>,
    /// By name; names are lower-case and unique.
    pub sockets: Vec<SocketOptions>,
    /// By name; each has a watcher among `helpers`.
    pub plugins: Vec<PluginSection>,
    /// Classes in Python that watchers and plugins name.
    pub classes: Vec<ClassUse>,
    /// What is wrong but lets the rest start, in the order of the files' sections.
    pub problems: Vec<Problem>,
}

impl Config {
    /// Everything that runs, by name.
    pub fn watchers_to_run(&self) -> Vec<WatcherOptions> {
        let mut all = [self.watchers.as_slice(), self.helpers.as_slice()].concat();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// Whether a socket outlives circusd: it says so, or processes that do hold it and have to find it bound
    /// (docs/adr/0006-sockets-in-the-core.md).
    pub fn keeps_socket(&self, socket: &SocketOptions) -> bool {
        let mut holders = self.watchers.iter().filter(|watcher| watcher.holds_socket(socket));
        socket.use_papa || holders.any(|watcher| watcher.use_papa)
    }
}

/// One `[plugin:NAME]` section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginSection {
    /// The section's whole title, `plugin:NAME`.
    pub name: String,
    /// Every key with its expanded text.
    pub settings: BTreeMap<String, String>,
}

/// Reads a configuration file, its includes, and everything in them.
///
/// `process_env` is circusd's environment: the source of `$(circus.env.NAME)` and of `copy_env`.
///
/// # Errors
/// A missing or unreadable main file, lines that are no INI, and bad values in `[circus]`. A bad watcher, socket or
/// plugin is no error: it is left out and named in `problems`.
pub fn load(path: &Path, process_env: &BTreeMap<String, String>) -> Result<Config, ConfigErrors> {
    let files = include::read(path, process_env)?;
    let environments = Environments::new(&files.document, process_env);
    let mut config = Config {
        path: path.to_owned(),
        files: files.paths,
        circus: CircusOptions::default(),
        watchers: Vec::new(),
        helpers: Vec::new(),
        sockets: Vec::new(),
        plugins: Vec::new(),
        classes: Vec::new(),
        problems: files.problems,
    };
    config.problems.extend(repeats(&files.document));
    let mut found = Found::default();
    for section in &files.document.sections {
        found.read(&files.document, section, &environments, &mut config);
    }
    found.check_sockets(&files.document, &mut config);
    found.keep_one_of_each_name(&mut config);
    attendants::add(&mut config, &environments);

    let (fatal, problems): (Vec<_>, Vec<_>) =
        config.problems.into_iter().partition(|problem| problem.severity == Severity::Fatal);
    config.problems = problems;
    if fatal.is_empty() {
        return Ok(config);
    }
    let errors = fatal.into_iter().map(|problem| ConfigError::Value(Box::new(problem))).collect();
    Err(ConfigErrors { errors, problems: config.problems })
}

/// The typed sections, each with the section it comes from, until it is known which names are given twice.
#[derive(Default)]
struct Found<'a> {
    watchers: Vec<(&'a Section, WatcherOptions)>,
    sockets: Vec<(&'a Section, SocketOptions)>,
}

impl<'a> Found<'a> {
    fn read(&mut self, document: &'a Document, section: &'a Section, environments: &Environments, config: &mut Config) {
        let Some(mut reading) = Reading::new(document, section) else {
            return;
        };
        let variables = &environments.global;
        if section.name == "circus" {
            config.circus = reading.circus(variables);
        } else if section.name.starts_with("watcher:") {
            let watcher = reading.watcher(document, environments);
            config.classes.extend(watcher.iter().flat_map(|watcher| reading.stream_classes(watcher)));
            self.watchers.extend(watcher.map(|watcher| (section, watcher)));
        } else if section.name.starts_with("socket:") {
            self.sockets.extend(reading.socket(variables).map(|socket| (section, socket)));
        } else if section.name.starts_with("plugin:") {
            let plugin = reading.plugin(variables);
            config.classes.extend(plugin.iter().filter_map(|plugin| reading.plugin_class(plugin)));
            config.plugins.extend(plugin);
        } else if section.name != "env" && !section.name.starts_with("env:") {
            config.problems.extend(unknown_section(section));
        }
        config.problems.extend(reading.into_problems());
    }

    /// Looks for sockets that watchers name and nobody defines, once all sections are known.
    fn check_sockets(&self, document: &Document, config: &mut Config) {
        let defined: Vec<&str> = self.sockets.iter().map(|(_, socket)| socket.name.as_str()).collect();
        for (section, watcher) in &self.watchers {
            if let Some(mut reading) = Reading::new(document, section) {
                reading.missing_sockets(watcher, &defined);
                config.problems.extend(reading.into_problems());
            }
        }
    }

    /// Sorts by name, and leaves out the second of two watchers and the first of two sockets with one name (of sockets
    /// the last section counts in Circus, spec g; of watchers it runs both and reaches one).
    fn keep_one_of_each_name(mut self, config: &mut Config) {
        self.watchers.sort_by(|a, b| a.1.name.cmp(&b.1.name));
        config.plugins.sort_by(|a, b| a.name.cmp(&b.name));
        self.sockets.sort_by(|a, b| a.1.name.cmp(&b.1.name));

        let mut taken: BTreeMap<String, &Section> = BTreeMap::new();
        for (section, watcher) in self.watchers {
            match taken.get(&watcher.name.to_lowercase()) {
                Some(first) => config.problems.push(same_name(&watcher.name, section, first)),
                None => {
                    taken.insert(watcher.name.to_lowercase(), section);
                    config.watchers.push(watcher);
                }
            }
        }
        let mut taken: BTreeMap<String, &Section> = BTreeMap::new();
        for (section, socket) in self.sockets.into_iter().rev() {
            match taken.get(&socket.name) {
                Some(last) => config.problems.push(same_name(&socket.name, section, last)),
                None => {
                    taken.insert(socket.name.clone(), section);
                    config.sockets.push(socket);
                }
            }
        }
        config.sockets.reverse();
    }
}

fn same_name(name: &str, section: &Section, other: &Section) -> Problem {
    let kind = ProblemKind::SameName { name: name.to_owned(), by: other.name.clone(), first: other.place.clone() };
    Problem { place: section.place.clone(), section: section.name.clone(), severity: Severity::LeftOut, kind }
}

fn repeats(document: &Document) -> impl Iterator<Item = Problem> + '_ {
    document.repeats.iter().map(|repeat| Problem {
        place: repeat.place.clone(),
        section: repeat.section.clone(),
        severity: Severity::Warning,
        kind: ProblemKind::GivenTwice { key: repeat.key.clone(), first: repeat.first.clone() },
    })
}

/// Circus ignores other sections silently; one that looks like a misspelt one gets a word.
fn unknown_section(section: &Section) -> Option<Problem> {
    let (kind, _name) = section.name.split_once(':').unwrap_or((&section.name, ""));
    let known: &[&str] = &["watcher", "socket", "plugin", "env", "circus", "DEFAULT"];
    let near = match known.iter().find(|known| known.eq_ignore_ascii_case(kind.trim())) {
        Some(known) => known,
        None => nearest(kind, known.iter().copied())?,
    };
    Some(Problem {
        place: section.place.clone(),
        section: section.name.clone(),
        severity: Severity::Warning,
        kind: ProblemKind::UnknownSection { near },
    })
}
