//! The classes in Python that a configuration names are tried before anything is started: one that cannot be imported leaves out
//! its watcher or plugin, as other mistakes in a section do. A watcher that still has processes stays: its output waits in the core, and
//! the class is tried again.

use crate::arbiter::owner;
use crate::config::Config;
use ringmaster_protocol::message::ProcessInfo;
use std::collections::BTreeSet;

/// Tries all of them, and says what came of it.
pub async fn try_out(config: &mut Config, processes: &[ProcessInfo]) {
    if config.classes.is_empty() {
        return;
    }
    let asked = config.clone();
    let tried = tokio::task::spawn_blocking(move || asked.failing_classes()).await;
    let failing = match tried {
        Ok(failing) => failing,
        Err(error) => return tracing::error!("stream classes and plugins are not tried: {error}"),
    };
    let living = processes.iter().filter(|process| process.exit.is_none());
    let running: BTreeSet<String> = living.filter_map(owner).map(|(name, _)| name.to_lowercase()).collect();
    for problem in config.leave_out_failing(failing, &running) {
        tracing::warn!("{problem}");
    }
}
