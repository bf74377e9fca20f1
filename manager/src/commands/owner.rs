//! What clients may ask for when the control endpoint belongs to somebody (`endpoint_owner`, spec l): watchers that run as that
//! user, and nothing that circusd itself would do with its own rights for them.
//!
//! Circus checks the user in `add` and nothing in `set`, so that its owner can become root in one step (spec n.2).

use super::Refusal;
use crate::arbiter::Arbiter;
use crate::options::{Identity, WatcherOptions};
use serde_json::{Map, Value};

/// What an owner may set for a watcher that does not run as the owner: how many processes and how they are treated.
const FREE: &[&str] = &[
    "numprocesses",
    "warmup_delay",
    "max_age",
    "max_age_variance",
    "max_retry",
    "respawn",
    "singleton",
    "stop_signal",
    "stop_children",
    "graceful_timeout",
    "send_hup",
];

/// What circusd does with its own rights, whoever the watcher runs as: other groups, files that it writes, hooks.
const CIRCUSD_DOES: &[&str] = &["gid", "hooks", "stdout_stream", "stderr_stream"];

/// Whether `add` may use these options: `uid` is the owner, written alike.
pub(super) fn check_add(arbiter: &Arbiter, wanted: &Map<String, Value>) -> Result<(), Refusal> {
    let Some(owner) = &arbiter.options.endpoint_owner else {
        return Ok(());
    };
    if wanted.get("uid").and_then(Value::as_str) != Some(owner) {
        return Err(Refusal::NotOwner);
    }
    check_keys(wanted)
}

/// Whether `set` may set these options.
pub(super) fn check_set(
    arbiter: &Arbiter,
    watcher: &WatcherOptions,
    wanted: &Map<String, Value>,
) -> Result<(), Refusal> {
    let Some(owner) = &arbiter.options.endpoint_owner else {
        return Ok(());
    };
    let is_owners = watcher.uid == Some(Identity::Name(owner.clone()));
    let becomes_others = wanted.get("uid").is_some_and(|uid| uid.as_str() != Some(owner));
    let is_harmless = wanted.keys().all(|key| FREE.contains(&key.as_str()));
    if !is_harmless && (!is_owners || becomes_others) {
        return Err(Refusal::NotOwner);
    }
    check_keys(wanted)
}

fn check_keys(wanted: &Map<String, Value>) -> Result<(), Refusal> {
    let is_circusds = |key: &str| CIRCUSD_DOES.contains(&key.split('.').next().unwrap_or(key));
    match wanted.keys().find(|key| is_circusds(key)) {
        Some(key) => Err(Refusal::OwnerMayNot(key.clone())),
        None => Ok(()),
    }
}
