//! A look at what clients of a running circusd have changed, without becoming one: for `--print-config`.

use super::attach::{self, StartError};
use super::core_address;
use crate::arbiter::{SocketTable, restore};
use crate::config::Config;
use crate::kernel_link::look;
use crate::process::Heritage;
use crate::watcher::{Seed, World, respawn_limit};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The watchers of a configuration as they would run now: with what clients of a running circusd have changed, when the
/// instance has a core that tells. Nothing is started.
pub async fn present_watchers(config: &Config, environment: BTreeMap<String, String>) -> Result<Vec<Seed>, StartError> {
    let circus = &config.circus;
    let address = core_address(circus)?;
    let changes = match look(&address, attach::BUILD).await? {
        Some(link) => attach::noted(&link).await?.changes,
        None => Vec::new(),
    };
    let files = ringmaster_protocol::message::Rlimit { resource: crate::process::NOFILE, soft: 0, hard: 0 };
    let world = World {
        sockets: SocketTable::default(),
        working_dir: PathBuf::new(),
        check_delay: respawn_limit(circus.check_delay),
        hooks_timeout: crate::hooks::DEFAULT_TIMEOUT,
        session: 0,
        heritage: Heritage { umask: 0, files },
        environment,
    };
    Ok(restore(config.watchers.clone(), &changes, &world))
}
