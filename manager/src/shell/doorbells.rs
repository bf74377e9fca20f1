//! Looking at listening sockets for watchers that start on demand. Nothing is accepted: whoever is started does that.
//!
//! circusd holds a copy of a socket only while it looks at it, because a copy keeps the address taken.

use crate::arbiter::Event;
use crate::kernel_link::{KernelLink, LinkError};
use crate::readiness::watched;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

/// The sockets that are looked at, each by a task of its own.
#[derive(Debug)]
pub struct Doorbells {
    link: KernelLink,
    events: mpsc::Sender<Event>,
    watched: BTreeMap<String, AbortHandle>,
}

impl Drop for Doorbells {
    fn drop(&mut self) {
        self.watch(&BTreeSet::new());
    }
}

impl Doorbells {
    /// Looks at nothing yet.
    pub fn new(link: KernelLink, events: mpsc::Sender<Event>) -> Self {
        Self { link, events, watched: BTreeMap::new() }
    }

    /// The core is another one now, and so are its sockets.
    pub fn reattach(&mut self, link: KernelLink) {
        self.watch(&BTreeSet::new());
        self.link = link;
    }

    /// Looks at these and at no others. One whose bell has rung is looked at anew.
    pub fn watch(&mut self, sockets: &BTreeSet<String>) {
        self.watched.retain(|name, task| {
            let stays = sockets.contains(name) && !task.is_finished();
            if !stays {
                task.abort();
            }
            stays
        });
        for name in sockets {
            let (link, events) = (self.link.clone(), self.events.clone());
            let named = name.clone();
            self.watched
                .entry(name.clone())
                .or_insert_with(|| tokio::spawn(listen(link, events, named)).abort_handle());
        }
    }
}

async fn listen(link: KernelLink, events: mpsc::Sender<Event>, socket: String) {
    match connection(&link, &socket).await {
        Ok(()) => {
            let _ = events.send(Event::Knocked(socket)).await;
        }
        Err(error) => tracing::warn!("on_demand: the socket {socket} cannot be looked at: {error}"),
    }
}

/// Why a socket cannot be looked at.
#[derive(Debug, thiserror::Error)]
enum DoorbellError {
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("each process has one of its own")]
    NotShared,
}

/// Waits until somebody has connected, or has sent a datagram.
async fn connection(link: &KernelLink, socket: &str) -> Result<(), DoorbellError> {
    let file = link.open_socket(socket.to_owned()).await?.file.ok_or(DoorbellError::NotShared)?;
    let bell = watched(file)?;
    bell.readable().await?.retain_ready();
    Ok(())
}
