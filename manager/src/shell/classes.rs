//! The classes in Python that a configuration names are tried before anything is started: one that cannot be imported leaves out
//! its watcher or plugin, as other mistakes in a section do. A watcher that still has processes is spared, because to leave it out would
//! end them, and the next circusd is to be there at once: its output waits in the core when its class fails.

use crate::arbiter::owner;
use crate::config::Config;
use ringmaster_protocol::message::ProcessInfo;
use std::collections::BTreeSet;

/// Tries them, and says what came of it.
pub async fn try_out(config: &mut Config, processes: &[ProcessInfo]) {
    if config.classes.is_empty() {
        return;
    }
    let living = processes.iter().filter(|process| process.exit.is_none());
    let running: BTreeSet<String> = living.filter_map(owner).map(|(name, _)| name.to_lowercase()).collect();
    let asked = config.clone();
    let failing = match tokio::task::spawn_blocking(move || asked.failing_classes(&running)).await {
        Ok(failing) => failing,
        Err(error) => return tracing::error!("stream classes and plugins are not tried: {error}"),
    };
    for problem in config.leave_out_failing(failing) {
        tracing::warn!("{problem}");
    }
}
