//! The way in and out for a program that circusd is a part of: its calls become requests like those of clients, and events
//! go to it as they go to subscribers. Without such a program the door stays shut.

use crate::endpoints::ClientId;
use std::collections::BTreeMap;
use std::sync::mpsc::{SyncSender, TrySendError};
use tokio::sync::mpsc;

/// What the program wants.
#[derive(Debug)]
pub enum Knock {
    /// A command, as a client would send it.
    Call {
        /// The request.
        payload: Vec<u8>,
        /// Where the reply goes; it has room for it.
        answer: SyncSender<Vec<u8>>,
    },
    /// Events from now on.
    Subscribe {
        /// Beginning of the topics.
        prefix: String,
        /// Where they go; what finds no room is left out.
        events: SyncSender<Announcement>,
    },
}

/// An event as it is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// `watcher.NAME.EVENT`.
    pub topic: String,
    /// JSON.
    pub payload: Vec<u8>,
}

/// What the program sees of circusd; it outlives each life.
#[derive(Debug)]
pub struct Door {
    /// What the program wants.
    pub knocks: mpsc::Receiver<Knock>,
    /// Told once, when circusd takes commands.
    pub open: Option<SyncSender<()>>,
    /// Who is to be told of events, between two lives.
    pub subscribers: Vec<Subscriber>,
}

impl Door {
    /// What the program wants next.
    pub(super) async fn next(door: &mut Option<&mut Self>) -> Knock {
        if let Some(door) = door
            && let Some(knock) = door.knocks.recv().await
        {
            return knock;
        }
        // Nobody is there, or nobody will come any more.
        std::future::pending().await
    }
}

/// Somebody who hears events: the beginning of the topics, and where they go.
pub type Subscriber = (String, SyncSender<Announcement>);

/// One life's side of the door: calls that are not answered yet, and who hears events.
#[derive(Debug, Default)]
pub(super) struct Inside {
    last: u64,
    waiting: BTreeMap<u64, SyncSender<Vec<u8>>>,
    subscribers: Vec<Subscriber>,
}

impl Inside {
    pub(super) fn new(subscribers: Vec<Subscriber>) -> Self {
        Self { subscribers, ..Self::default() }
    }

    /// The client that a call stands for.
    pub(super) fn admit(&mut self, answer: SyncSender<Vec<u8>>) -> ClientId {
        self.last += 1;
        self.waiting.insert(self.last, answer);
        ClientId::of_program(self.last)
    }

    /// The reply to a call; whoever waits no longer is no loss.
    pub(super) fn reply(&mut self, serial: u64, payload: Vec<u8>) {
        if let Some(answer) = self.waiting.remove(&serial) {
            let _ = answer.try_send(payload);
        }
    }

    pub(super) fn subscribe(&mut self, prefix: String, events: SyncSender<Announcement>) {
        self.subscribers.push((prefix, events));
    }

    pub(super) fn take_subscribers(&mut self) -> Vec<Subscriber> {
        std::mem::take(&mut self.subscribers)
    }

    /// Tells an event to those who want it, and forgets those who are gone.
    pub(super) fn announce(&mut self, topic: &str, payload: &[u8]) {
        self.subscribers.retain(|(prefix, events)| {
            if !topic.starts_with(prefix.as_str()) {
                return true;
            }
            let announcement = Announcement { topic: topic.to_owned(), payload: payload.to_vec() };
            !matches!(events.try_send(announcement), Err(TrySendError::Disconnected(_)))
        });
    }
}
