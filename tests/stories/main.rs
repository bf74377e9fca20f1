//! Stories: what a user lives through, with the real programs from the outside. Each asserts that nothing is left.
#![forbid(unsafe_code)]

mod circus_on_papa;
mod clients;
mod core_away;
mod embedded;
mod ending;
mod errors;
mod events;
mod hook_points;
mod hooks;
mod kill_under_load;
mod lifetimes;
mod lost_output;
mod metrics;
mod observers;
mod overflow;
mod own_suites;
mod papa_package;
mod plugins;
mod plugins_of_both;
mod printing;
mod quickstart;
mod real_client;
mod runtime_changes;
mod sockets;
mod statistics;
mod stream_classes;
mod supervision;
mod surroundings;
mod terminal;
mod tools;
mod trouble;
mod upgrade;

use ringmaster_tests::venv::Venv;
use std::path::Path;

/// A command line that runs one of the Python programs of the tests.
fn python(script: &str) -> anyhow::Result<String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python").join(script);
    Ok(format!("{} {}", Venv::get()?.program("python").display(), script.display()))
}
