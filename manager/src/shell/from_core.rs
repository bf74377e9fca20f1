//! What the core tells, in its order; processes that end together are told together.

use super::inputs::Woken;
use super::{AT_HAND, attach};
use crate::kernel_link::KernelEvent;
use ringmaster_protocol::message::Notice;
use tokio::sync::mpsc;

/// What the core tells.
#[derive(Debug)]
pub(super) struct FromCore {
    events: mpsc::Receiver<KernelEvent>,
    /// Taken from there, and comes next.
    put_back: Option<KernelEvent>,
}

impl FromCore {
    pub(super) fn new(events: mpsc::Receiver<KernelEvent>) -> Self {
        Self { events, put_back: None }
    }

    /// The next thing, when it comes.
    pub(super) async fn next(&mut self) -> Woken {
        let event = match self.put_back.take() {
            Some(event) => Some(event),
            None => self.events.recv().await,
        };
        self.with_others(event.unwrap_or_else(attach::silence))
    }

    /// The next thing that is there already.
    pub(super) fn at_hand(&mut self) -> Option<Woken> {
        self.take().map(|event| self.with_others(event))
    }

    fn take(&mut self) -> Option<KernelEvent> {
        self.put_back.take().or_else(|| self.events.try_recv().ok())
    }

    /// Ends that follow each other are taken together.
    fn with_others(&mut self, event: KernelEvent) -> Woken {
        let KernelEvent::Notice(Notice::Exited(first)) = event else {
            return Woken::Kernel(event);
        };
        let mut ends = vec![first];
        while ends.len() < AT_HAND {
            match self.take() {
                Some(KernelEvent::Notice(Notice::Exited(next))) => ends.push(next),
                other => {
                    self.put_back = other;
                    break;
                }
            }
        }
        Woken::Ends(ends)
    }
}
