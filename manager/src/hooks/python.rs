//! The task that owns the Python worker: it starts one when the first call comes, watches the time of every call, and puts
//! another one in its place when a call hangs or the interpreter ends.
//!
//! A call that hangs cannot be taken out of an interpreter. So its worker gets no more calls, those that waited behind
//! it go to a fresh one, and the old one is killed when nobody else waits for it.

use super::wire::{FromWorker, ToWorker};
use super::worker::{Heard, Worker};
use super::{HookAnswer, HookCall, HookError, HookTicket};
use crate::arbiter::Event;
use crate::endpoints::ClientId;
use crate::python::ImportFailure;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Instant;
use tokio::sync::mpsc;

/// What workers have said and nobody has heard yet.
const HEARD: usize = 64;

/// What the shell wants.
#[derive(Debug)]
pub enum ToPython {
    /// Call a hook.
    Call(Box<HookCall>),
    /// The answer to the command of that number that a hook has asked for.
    Reply(u64, Vec<u8>),
}

struct Python {
    events: mpsc::Sender<Event>,
    heard: mpsc::Sender<Heard>,
    workers: BTreeMap<u64, Worker>,
    /// The one that gets calls.
    current: Option<u64>,
    last_worker: u64,
    /// Commands that hooks have asked for, by our number: the worker and its number.
    asks: BTreeMap<u64, (u64, u64)>,
    last_ask: u64,
}

/// Runs until the other end of `inbox` is gone; then all workers are killed and have ended when this returns.
pub async fn run(mut inbox: mpsc::Receiver<ToPython>, events: mpsc::Sender<Event>) {
    let (heard, mut hearing) = mpsc::channel(HEARD);
    let mut python = Python {
        events,
        heard,
        workers: BTreeMap::new(),
        current: None,
        last_worker: 0,
        asks: BTreeMap::new(),
        last_ask: 0,
    };
    loop {
        let deadline = python.workers.values().filter_map(Worker::deadline).min();
        tokio::select! {
            message = inbox.recv() => match message {
                Some(ToPython::Call(call)) => python.call(*call).await,
                Some(ToPython::Reply(serial, payload)) => python.reply(serial, &payload),
                None => break,
            },
            Some((id, said)) = hearing.recv() => python.said(id, said).await,
            () = until(deadline) => python.expire().await,
        }
    }
    for worker in python.workers.into_values() {
        worker.end().await;
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

impl Python {
    async fn call(&mut self, call: HookCall) {
        let ticket = call.ticket;
        let worker = match self.current.and_then(|id| self.workers.get_mut(&id)) {
            Some(worker) => worker,
            None => {
                self.last_worker += 1;
                match Worker::start(self.last_worker, self.heard.clone()) {
                    Ok(worker) => {
                        self.current = Some(self.last_worker);
                        self.workers.entry(self.last_worker).or_insert(worker)
                    }
                    Err(error) => return self.tell(ticket, Err(error)).await,
                }
            }
        };
        if !worker.call(call) {
            self.tell(ticket, Err(HookError::Busy)).await;
        }
    }

    async fn tell(&self, ticket: HookTicket, outcome: Result<HookAnswer, HookError>) {
        let _ = self.events.send(Event::HookDone { ticket, outcome }).await;
    }

    fn reply(&mut self, serial: u64, payload: &[u8]) {
        let Some((id, ask)) = self.asks.remove(&serial) else {
            return;
        };
        let reply = serde_json::from_slice(payload).unwrap_or(Value::Null);
        if let Some(worker) = self.workers.get(&id) {
            // A worker that does not read is found by the time of its calls.
            let _ = worker.send(&ToWorker::Reply { ask, reply });
        }
    }

    async fn said(&mut self, id: u64, said: Option<Result<FromWorker, HookError>>) {
        match said {
            None => self.ended(id).await,
            Some(Err(error)) => {
                tracing::error!("{error}");
                self.retire(id);
            }
            Some(Ok(FromWorker::Ask { ask, call })) => {
                self.last_ask += 1;
                self.asks.insert(self.last_ask, (id, ask));
                let (client, payload) = (ClientId::of_hook(self.last_ask), call.to_string().into_bytes());
                let _ = self.events.send(Event::Request { client, payload, arrived: None }).await;
            }
            Some(Ok(FromWorker::Began { ticket })) => {
                if let Some(worker) = self.workers.get_mut(&id) {
                    worker.began(HookTicket(ticket));
                }
            }
            Some(Ok(answer)) => {
                let call = answer.ticket().and_then(|ticket| self.workers.get_mut(&id)?.answered(ticket));
                if let Some(call) = call {
                    self.tell(call.ticket, outcome(answer, &call)).await;
                }
            }
        }
        self.bury().await;
    }

    /// A worker has ended by itself: what ran has failed, the rest is begun anew.
    async fn ended(&mut self, id: u64) {
        self.retire(id);
        let Some(worker) = self.workers.remove(&id) else {
            return;
        };
        self.asks.retain(|_, (worker, _)| *worker != id);
        let (status, running, waiting) = worker.end().await;
        for call in running {
            self.tell(call.ticket, Err(HookError::WorkerEnded(status.clone()))).await;
        }
        for call in waiting {
            self.call(call).await;
        }
    }

    /// No more calls for this one.
    fn retire(&mut self, id: u64) {
        self.current.take_if(|current| *current == id);
    }

    /// Calls that have used up their time have failed.
    async fn expire(&mut self) {
        let (now, mut again) = (Instant::now(), Vec::new());
        let mut over = Vec::new();
        for (id, worker) in &mut self.workers {
            let (late, behind) = worker.expired(now);
            if !late.is_empty() {
                self.current.take_if(|current| current == id);
            }
            over.extend(late);
            again.extend(behind);
        }
        for call in over {
            self.tell(call.ticket, Err(HookError::TimedOut { limit: call.limit })).await;
        }
        for call in again {
            self.call(call).await;
        }
        self.bury().await;
    }

    /// Kills the workers that get no more calls and for which nobody waits.
    async fn bury(&mut self) {
        let current = self.current;
        let done: Vec<Worker> = self
            .workers
            .extract_if(.., |id, worker| Some(*id) != current && worker.is_idle())
            .map(|(_, worker)| worker)
            .collect();
        for worker in done {
            worker.end().await;
        }
    }
}

fn outcome(answer: FromWorker, call: &HookCall) -> Result<HookAnswer, HookError> {
    match answer {
        FromWorker::Done { truth, stats, .. } => Ok(HookAnswer { truth, stats }),
        FromWorker::Raised { message, traceback, .. } => Err(HookError::Raised { message, traceback }),
        FromWorker::NoImport { message, path, traceback, .. } => {
            Err(ImportFailure { target: call.target.clone(), message, path, traceback }.into())
        }
        FromWorker::Ask { .. } | FromWorker::Began { .. } => Err(HookError::Nonsense(format!("{answer:?}"))),
    }
}
