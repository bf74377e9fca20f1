//! Reaching the core: connect or start it, take the lease, watch, and learn what it has.

use crate::arbiter::{self, KEPT_PREFIX, LEFT};
use crate::endpoints::NotListening;
use crate::endpoints::address::EndpointError;
use crate::kernel_link::{CoreAddress, KernelEvent, KernelLink, LinkError, LossReason, ReachError, reach};
use ringmaster_protocol::message::{ProcessId, ProcessInfo, Refusal};
use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::time::Duration;
use tokio::sync::mpsc;

/// How circusd's processes are named at the core (Papa's scheme, spec k).
pub const PROCESS_PREFIX: &str = "circus.";

/// How long leased processes live on when circusd dies without a word (DESIGN §2, "Leases and lifetimes").
const GRACE: Duration = Duration::from_secs(30);

/// What circusd says about itself to the core.
pub const BUILD: &str = concat!("circusd ", env!("CARGO_PKG_VERSION"));

/// Values asked for at a time: far below what the link lets be under way.
const ASKED_AT_ONCE: usize = 128;

/// A core that is ours.
pub struct Attached {
    /// The connection.
    pub link: KernelLink,
    /// What the core tells unasked.
    pub events: mpsc::Receiver<KernelEvent>,
    /// What it has for us.
    pub processes: Vec<ProcessInfo>,
}

/// Why circusd does not start, or cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// There is no core.
    #[error(transparent)]
    Core(#[from] ReachError),
    /// Another circusd holds the lease.
    #[error(
        "circusd is running already for instance {instance}: pid {pid} ({holder}); stop it first, or give this configuration another endpoint or [circus] instance"
    )]
    Managed {
        /// The instance.
        instance: String,
        /// The other's pid.
        pid: i32,
        /// Its words about itself.
        holder: String,
    },
    /// The core refused or went away during the start.
    #[error("the core cannot be used: {0}")]
    Link(#[from] LinkError),
    /// `endpoint` or `pubsub_endpoint` is not one.
    #[error("[circus] {option} = {value}: {source}")]
    BadEndpoint {
        /// Its name.
        option: &'static str,
        /// As written.
        value: String,
        /// What is wrong.
        source: EndpointError,
    },
    /// An address cannot be bound.
    #[error("Could not bind {place}: {reason}; [{section}] asks for it{hint}")]
    Bind {
        /// Host and port, or path.
        place: String,
        /// Where it is configured.
        section: String,
        /// The core's words.
        reason: String,
        /// [`TAKEN`] when somebody has that address; else empty.
        hint: &'static str,
    },
    /// `endpoint_owner` cannot get the endpoint.
    #[error("[circus] endpoint_owner = {owner}: the endpoint {endpoint} cannot be given to that user: {reason}")]
    Owner {
        /// As written.
        owner: String,
        /// As written.
        endpoint: String,
        /// What is in the way.
        reason: String,
    },
    /// A host name cannot be resolved.
    #[error("[socket:{name}] host = {host}: {reason}")]
    Resolve {
        /// Of the socket.
        name: String,
        /// As written.
        host: String,
        /// The resolver's words.
        reason: String,
    },
    /// What the core has sent is not a listening socket.
    #[error("the core's socket cannot be served: {0}")]
    NotListening(#[from] NotListening),
    /// An endpoint cannot be served.
    #[error("cannot serve an endpoint: {0}")]
    Endpoint(#[source] io::Error),
    /// The output thread cannot be started.
    #[error("cannot start the output thread: {0}")]
    Thread(#[source] io::Error),
    /// A signal ended circusd while it waited for the core.
    #[error("ended by {0} while waiting for the core")]
    Interrupted(&'static str),
    /// Signal handlers cannot be installed.
    #[error("cannot handle signals: {0}")]
    Signals(#[source] io::Error),
    /// Another manager has taken the instance over.
    #[error("another circusd has taken this instance over (lease {epoch}); this one ends")]
    Superseded {
        /// The new lease.
        epoch: u64,
    },
}

/// What to look for when an address is in use.
pub const TAKEN: &str = ", is another program using it?";

impl StartError {
    /// Whether the core went away during the start: one half of it may have taken the other's place, and it is back in a moment.
    pub fn is_core_gone(&self) -> bool {
        matches!(self, Self::Link(LinkError::Gone { .. }))
    }

    /// Whether nothing has failed: circusd was asked to end.
    pub fn is_wanted(&self) -> bool {
        matches!(self, Self::Interrupted(_))
    }
}

/// Connects, takes the lease and begins to watch.
pub async fn attach(address: &CoreAddress, config: &Path) -> Result<Attached, StartError> {
    let reached = reach(address, BUILD).await?;
    let link = reached.link;
    let holder = format!("{BUILD}, {}", config.display());
    match link.take_lease(holder, GRACE).await {
        Ok(_) => {}
        Err(LinkError::Refused(Refusal::LeaseHeld { pid, holder })) => {
            return Err(StartError::Managed { instance: address.instance().to_string(), pid, holder });
        }
        Err(error) => return Err(error.into()),
    }
    link.watch(PROCESS_PREFIX).await?;
    let processes = link.list_all(PROCESS_PREFIX).await?;
    Ok(Attached { link, events: reached.events, processes })
}

/// What an earlier circusd has noted for this one.
#[derive(Debug, Default)]
pub struct Noted {
    /// Names and values of watchers that were changed.
    pub changes: Vec<(String, Vec<u8>)>,
    /// Processes that are left to themselves.
    pub left: BTreeSet<ProcessId>,
}

/// Reads the values that an earlier circusd has left at the core.
pub async fn noted(link: &KernelLink) -> Result<Noted, LinkError> {
    let left = link.get_value(LEFT.to_owned()).await?.value;
    let mut noted = Noted { changes: Vec::new(), left: left.as_deref().map(arbiter::left).unwrap_or_default() };
    let names = link.list_values(KEPT_PREFIX).await?;
    for names in names.chunks(ASKED_AT_ONCE) {
        let asked: Vec<_> = names.iter().map(|name| (name.clone(), link.get_value(name.clone()))).collect();
        for (name, answer) in asked {
            noted.changes.extend(answer.await?.value.map(|value| (name, value)));
        }
    }
    Ok(noted)
}

/// What a closed channel of events means.
pub fn silence() -> KernelEvent {
    KernelEvent::Lost(LossReason::Closed)
}
