//! Classes in Python that a configuration names, with their places: stream classes and plugins. They are tried when circusd is
//! about to use them, not when the file is read, because to import is to run people's code. (Hooks are imported when they
//! are called, and may be missing until then.)

use super::problem::{Place, Problem, ProblemKind, Severity};
use super::sections::Reading;
use super::{Config, PluginSection};
use crate::options::{StreamClass, WatcherOptions};
use crate::plugins::section::needs_python;
use crate::python::{self, Trial, TrialError};
use std::collections::BTreeSet;

/// One class where it is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassUse {
    /// Where.
    pub place: Place,
    /// The section's name without brackets.
    pub section: String,
    /// `stdout_stream.class`, `stderr_stream.class` or `use`.
    pub key: &'static str,
    /// Of the watcher that cannot do without it, in lower case.
    pub watcher: String,
    /// How to find out whether it is there.
    pub trial: Trial,
}

impl ClassUse {
    /// What is wrong, as something that leaves out a section, or does not.
    pub fn problem(&self, error: TrialError, severity: Severity) -> Problem {
        let (key, class) = (self.key, self.trial.target.clone());
        let kind = ProblemKind::Class { key, class, error: Box::new(error) };
        Problem { place: self.place.clone(), section: self.section.clone(), severity, kind }
    }
}

impl Reading<'_> {
    /// The stream classes of a watcher whose environment is complete.
    pub(super) fn stream_classes(&self, watcher: &WatcherOptions) -> Vec<ClassUse> {
        let streams =
            [("stdout_stream.class", &watcher.stdout_stream), ("stderr_stream.class", &watcher.stderr_stream)];
        let mut uses = Vec::new();
        for (key, stream) in streams {
            if let Some(StreamClass::Python(target)) = stream.as_ref().map(|stream| &stream.class) {
                let path = watcher.env.get("PYTHONPATH").cloned();
                let trial = Trial { target: target.clone(), path, environment: None };
                uses.push(self.class_use(key, &watcher.name, trial));
            }
        }
        uses
    }

    /// The class of a plugin that Python runs. In which environment is known later.
    pub(super) fn plugin_class(&self, plugin: &PluginSection) -> Option<ClassUse> {
        let target = plugin.settings.get("use").filter(|class| needs_python(class))?.clone();
        let trial = Trial { target, path: None, environment: None };
        Some(self.class_use("use", &plugin.name, trial))
    }

    fn class_use(&self, key: &'static str, watcher: &str, trial: Trial) -> ClassUse {
        let (place, section) = (self.place_of(key), self.section.name.clone());
        ClassUse { place, section, key, watcher: watcher.to_lowercase(), trial }
    }
}

impl Config {
    /// The classes that cannot be used, or of which that is not known; blocks as long as imports take. Those of watchers in `but_of`, in
    /// lower case, are not tried.
    pub fn failing_classes(&self, but_of: &BTreeSet<String>) -> Vec<(ClassUse, TrialError)> {
        let classes = self.classes.iter().filter(|class| !but_of.contains(&class.watcher));
        let trials: Vec<Trial> = classes.clone().map(|class| class.trial.clone()).collect();
        let outcomes = python::try_all(&trials);
        classes.zip(outcomes).filter_map(|(class, outcome)| Some((class.clone(), outcome.err()?))).collect()
    }

    /// Leaves out the watchers and plugins whose classes cannot be used, and gives what there is to say of it.
    pub fn leave_out_failing(&mut self, failing: Vec<(ClassUse, TrialError)>) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (class, error) in failing {
            let severity = if error.is_final() { Severity::LeftOut } else { Severity::Warning };
            if severity == Severity::LeftOut {
                let is_it = |watcher: &WatcherOptions| watcher.name.to_lowercase() == class.watcher;
                self.watchers.retain(|watcher| !is_it(watcher));
                self.helpers.retain(|watcher| !is_it(watcher));
            }
            problems.push(class.problem(error, severity));
        }
        problems
    }
}
