//! Between an upgrade that is decided and the program that comes: whoever asks circusd to end now is heard. Other requests find
//! their connection closed and are made again, at the next program.

use super::inputs::Inputs;
use super::signals::Signals;
use crate::arbiter::{Arbiter, Effect, Event};
use crate::endpoints::{ControlHandle, ControlRequest};
use ringmaster_protocol::circus::Call;
use std::time::Instant;
use tokio::sync::mpsc;

/// An arbiter that has handed out its last effect.
pub(super) struct Recall {
    pub(super) arbiter: Arbiter,
    pub(super) started: Instant,
}

impl Recall {
    /// Hears of it while `down` takes everything down.
    pub(super) async fn watch(
        &mut self,
        down: impl Future<Output = ()>,
        control: &ControlHandle,
        requests: &mut mpsc::Receiver<ControlRequest>,
        signals: &mut Signals,
    ) {
        tokio::pin!(down);
        loop {
            let event = tokio::select! {
                () = &mut down => return,
                signal = signals.next() => Some(Event::Signal(signal)),
                Some(request) = requests.recv() => self.wanted(&request),
            };
            for effect in event.into_iter().flat_map(|event| self.handle(event)) {
                if let Effect::Reply { client, payload, .. } = effect {
                    let _ = control.reply(client, payload);
                }
            }
        }
    }

    /// What has come before the last connection was closed. Nobody can be answered any more.
    pub(super) fn last(&mut self, requests: &mut mpsc::Receiver<ControlRequest>) {
        while let Ok(request) = requests.try_recv() {
            if let Some(event) = self.wanted(&request) {
                drop(self.handle(event));
            }
        }
    }

    fn wanted(&self, request: &ControlRequest) -> Option<Event> {
        let call = Call::parse(&request.payload).ok()?;
        call.command.eq_ignore_ascii_case("quit").then(|| Inputs::event(request, self.started))
    }

    fn handle(&mut self, event: Event) -> Vec<Effect> {
        self.arbiter.handle(super::now(self.started), event)
    }
}
