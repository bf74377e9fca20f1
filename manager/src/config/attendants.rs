//! The watchers that no `[watcher:]` section names: `circusd-stats` and one for each plugin (spec e, j).

use super::Config;
use super::environment::Environments;
use super::python_path::modules_of_python;
use crate::options::WatcherOptions;
use crate::plugins::section;

/// Where Python programs find modules beside its own.
const PYTHONPATH: &str = "PYTHONPATH";

/// Adds them, in the order of names. A `[watcher:]` of the same name stays what it is.
pub fn add(config: &mut Config, environments: &Environments) {
    let mut env = environments.process.clone();
    env.extend(environments.local.clone());
    let stats = config.circus.statsd.then(|| section::stats(&config.circus, env.clone()));
    let mut helpers: Vec<WatcherOptions> = stats.into_iter().collect();
    for plugin in &config.plugins {
        let mut watcher = section::plugin(plugin, &config.circus, env.clone());
        let class = plugin.settings.get("use").map_or("", String::as_str);
        if section::needs_python(class) && !watcher.env.contains_key(PYTHONPATH) {
            // Where there is no Python, the watcher says so itself when it cannot be started.
            let folders = modules_of_python(&environments.process).as_ref().ok();
            watcher.env.extend(folders.map(|folders| (PYTHONPATH.to_owned(), folders.clone())));
        }
        let name = watcher.name.to_lowercase();
        for class in config.classes.iter_mut().filter(|class| class.watcher == name) {
            class.trial.environment = Some(watcher.env.clone());
        }
        helpers.push(watcher);
    }
    helpers.retain(|helper| {
        let name = helper.name.to_lowercase();
        !config.watchers.iter().any(|watcher| watcher.name.to_lowercase() == name)
    });
    config.helpers = helpers;
}
