//! The end of a life of circusd at the core: what is closed, what stays, and for whom.

use super::attach::{BUILD, PROCESS_PREFIX};
use super::sockets;
use crate::arbiter::{Ending, KEPT_PREFIX, SOCKET_PREFIX};
use crate::config::Config;
use crate::kernel_link::{KernelLink, LinkError};
use ringmaster_protocol::message::{FORGET_AT_END, Lifetime, ProcessId, ProcessInfo, Refusal, SetLifetime};
use std::collections::BTreeSet;
use std::time::Duration;

/// How all values of circusd at the core begin.
const VALUE_PREFIX: &str = "circusd.";

/// How long processes that `rm` with `nostop` has left running live on without a circusd at a core that does not know how to
/// give them away for good (`SetLifetime`): the longest that it grants.
const LEFT_ALONE: Duration = Duration::from_secs(24 * 60 * 60);

/// How a life has ended.
#[derive(Debug)]
pub struct Ended {
    /// What follows.
    pub ending: Ending,
    /// The file as it was last read without errors in this life, if it was.
    pub file: Option<Box<Config>>,
}

/// How circusd goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Departure {
    /// For good, or to start anew.
    pub ending: Ending,
    /// Processes that were left to themselves and are not to be stopped.
    pub left: BTreeSet<ProcessId>,
}

/// After a start that failed: a core with nothing to keep ends. One that has processes for the next circusd is only left.
pub async fn give_up(link: &KernelLink) {
    let departure = Departure { ending: Ending::Quit, left: BTreeSet::new() };
    let left = match link.list_all(PROCESS_PREFIX).await {
        Ok(processes) if processes.is_empty() => leave(link, departure).await,
        Ok(_) => Ok(()),
        Err(error) => Err(error),
    };
    if let Err(error) = left {
        tracing::debug!("the core may be left running: {error}");
    }
}

/// Removes our endpoints; when no process is left the sockets (spec k) and everything that was kept, too; gives the
/// lease back.
pub async fn leave(link: &KernelLink, departure: Departure) -> Result<(), LinkError> {
    for name in [sockets::CONTROL, sockets::PUBSUB, sockets::METRICS] {
        match link.remove_socket(name.to_owned()).await {
            Ok(_) | Err(LinkError::Refused(Refusal::NotFound { .. })) => {}
            Err(error) => return Err(error),
        }
    }
    let mut processes = link.list_all(PROCESS_PREFIX).await?;
    for process in processes.extract_if(.., |process| departure.left.contains(&process.id)) {
        give_away(link, &process).await?;
    }
    if processes.is_empty() {
        for socket in link.sockets().await?.sockets {
            if socket.name.starts_with(SOCKET_PREFIX) {
                link.remove_socket(socket.name).await?;
            }
        }
        drop_values(link, VALUE_PREFIX).await?;
    } else if departure.ending == Ending::Restart {
        // The configuration is read from scratch (spec b.6).
        drop_values(link, KEPT_PREFIX).await?;
    }
    let leased = |process: &ProcessInfo| process.lifetime == Lifetime::Leased && process.exit.is_none();
    if !departure.left.is_empty() && link.list_all(PROCESS_PREFIX).await?.iter().any(leased) {
        tracing::warn!(
            "processes of removed watchers are left running, for at most {} hours without a circusd",
            LEFT_ALONE.as_secs() / 3600
        );
        link.take_lease(BUILD.to_owned(), LEFT_ALONE).await?;
        return Ok(());
    }
    link.put_lease().await?;
    link.exit_if_idle().await.map(drop)
}

/// Nobody will ask for this process again: the core forgets it when it ends, and does not stay for its sake.
async fn give_away(link: &KernelLink, process: &ProcessInfo) -> Result<(), LinkError> {
    let ext = vec![(FORGET_AT_END, Vec::new())];
    let set = SetLifetime { process: process.id, lifetime: Lifetime::Persistent, ext };
    match link.submit(set.into(), Vec::new()).await {
        // It has ended and is forgotten, or the core is older than the message.
        Ok(_) | Err(LinkError::Refused(Refusal::NotFound { .. } | Refusal::Unsupported { .. })) => Ok(()),
        Err(error) => Err(error),
    }
}

async fn drop_values(link: &KernelLink, prefix: &str) -> Result<(), LinkError> {
    for name in link.list_values(prefix).await? {
        link.remove_value(name).await?;
    }
    Ok(())
}
