//! Where events of a life come from, and what woke its loop.

use super::door::Knock;
use super::from_core::FromCore;
use super::output::OutputReport;
use crate::arbiter::Event;
use crate::endpoints::ControlRequest;
use crate::kernel_link::KernelEvent;
use ringmaster_protocol::message::Exited;
use std::time::Instant;
use tokio::sync::mpsc;

/// Where events come from.
pub(super) struct Inputs {
    pub(super) requests: mpsc::Receiver<ControlRequest>,
    pub(super) incoming: mpsc::Receiver<Event>,
    pub(super) output: mpsc::Receiver<OutputReport>,
    pub(super) kernel: FromCore,
}

impl Inputs {
    /// A request, in a life that began then.
    pub(super) fn event(request: &ControlRequest, started: Instant) -> Event {
        let arrived = Some(request.arrived.saturating_duration_since(started));
        Event::Request { client: request.from, payload: request.payload.to_vec(), arrived }
    }

    /// What comes in crowds while children write much, are made or end together, and is there already.
    pub(super) fn at_hand(&mut self) -> Option<Woken> {
        let report = self.output.try_recv().ok().map(Woken::Output);
        let told = report.or_else(|| self.kernel.at_hand());
        told.or_else(|| self.incoming.try_recv().ok().map(Woken::Event))
    }
}

/// What woke the loop.
pub(super) enum Woken {
    Event(Event),
    Output(OutputReport),
    Kernel(KernelEvent),
    Ends(Vec<Exited>),
    Knock(Knock),
}

impl Woken {
    /// How many things that is.
    pub(super) fn count(&self) -> usize {
        match self {
            Self::Ends(ends) => ends.len(),
            Self::Event(_) | Self::Output(_) | Self::Kernel(_) | Self::Knock(_) => 1,
        }
    }
}
