//! Where the shell hands calls in. Nothing here waits; every call comes back as one `Event::HookDone`.

use super::python::{self, ToPython};
use super::{HookCall, HookError, HookTicket, RunnerKind, program, runner};
use crate::arbiter::Event;
use std::sync::Arc;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;

/// Calls that may wait for the Python worker, and programs that may wait for their turn.
const WAITING: usize = 1024;

/// Programs that run at the same time. Each holds a thread and is a process of its own.
const PROGRAMS: usize = 32;

/// All runners.
#[derive(Debug)]
pub struct HookService {
    events: mpsc::Sender<Event>,
    python: Option<(mpsc::Sender<ToPython>, JoinHandle<()>)>,
    running: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

impl HookService {
    /// Nothing is started before the first call.
    pub fn new(events: mpsc::Sender<Event>) -> Self {
        let (running, waiting) = (Arc::new(Semaphore::new(PROGRAMS)), Arc::new(Semaphore::new(WAITING)));
        Self { events, python: None, running, waiting }
    }

    /// Calls a hook.
    pub fn run(&mut self, call: HookCall) {
        let ticket = call.ticket;
        let taken = match runner(&call.target) {
            (RunnerKind::Python, _) => self.python().try_send(ToPython::Call(Box::new(call))).is_ok(),
            (RunnerKind::Program, words) => self.program(words.to_owned(), call),
        };
        if !taken {
            self.refuse(ticket);
        }
    }

    fn refuse(&self, ticket: HookTicket) {
        let events = self.events.clone();
        tokio::spawn(async move {
            let _ = events.send(Event::HookDone { ticket, outcome: Err(HookError::Busy) }).await;
        });
    }

    fn python(&mut self) -> &mpsc::Sender<ToPython> {
        let events = &self.events;
        let (inbox, _) = self.python.get_or_insert_with(|| {
            let (inbox, calls) = mpsc::channel(WAITING);
            (inbox, tokio::spawn(python::run(calls, events.clone())))
        });
        inbox
    }

    fn program(&self, words: String, call: HookCall) -> bool {
        let Ok(place) = self.waiting.clone().try_acquire_owned() else {
            return false;
        };
        let (events, running) = (self.events.clone(), self.running.clone());
        tokio::spawn(async move {
            let turn = running.acquire_owned().await;
            let ticket = call.ticket;
            let ran = tokio::task::spawn_blocking(move || program::run(&call, &words)).await;
            drop((turn, place));
            let outcome = ran.unwrap_or_else(|error| Err(HookError::Nonsense(error.to_string())));
            let _ = events.send(Event::HookDone { ticket, outcome }).await;
        });
        true
    }

    /// The answer to a command that a hook has asked for.
    pub fn reply(&self, serial: u64, payload: Vec<u8>) {
        if let Some((inbox, _)) = &self.python {
            // A full inbox: the hook that asked gives up after its own time.
            let _ = inbox.try_send(ToPython::Reply(serial, payload));
        }
    }

    /// Ends the Python worker and waits for its end.
    pub async fn finish(&mut self) {
        if let Some((inbox, task)) = self.python.take() {
            drop(inbox);
            let _ = task.await;
        }
    }
}
