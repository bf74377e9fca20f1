//! Signals to circusd as events.

use super::attach::StartError;
use crate::arbiter::OwnSignal;
use std::io;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Signals to circusd.
#[derive(Debug)]
pub enum Signals {
    /// Those of the process are its own.
    Own(Handlers),
    /// It is part of a program that has its own use for them.
    None,
}

/// The handlers.
#[derive(Debug)]
pub struct Handlers {
    term: Signal,
    int: Signal,
    quit: Signal,
    hup: Signal,
    winch: Signal,
    usr2: Signal,
}

impl Signals {
    /// Installs the handlers. USR1 and the rest keep their default action (spec b.4).
    pub fn new() -> io::Result<Self> {
        Ok(Self::Own(Handlers {
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            hup: signal(SignalKind::hangup())?,
            winch: signal(SignalKind::window_change())?,
            usr2: signal(SignalKind::user_defined2())?,
        }))
    }

    /// Waits for work that may take long, or for a signal that ends circusd.
    pub async fn interrupt<T>(&mut self, work: impl Future<Output = T>) -> Result<T, StartError> {
        tokio::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return Ok(done),
                signal = self.next() => match signal {
                    OwnSignal::Term | OwnSignal::Int | OwnSignal::Quit => return Err(StartError::Interrupted(signal.name())),
                    OwnSignal::Hup | OwnSignal::Winch | OwnSignal::Usr2 => {}
                },
            }
        }
    }

    /// The next one.
    pub async fn next(&mut self) -> OwnSignal {
        match self {
            Self::Own(handlers) => handlers.next().await,
            Self::None => std::future::pending().await,
        }
    }
}

impl Handlers {
    async fn next(&mut self) -> OwnSignal {
        tokio::select! {
            _ = self.term.recv() => OwnSignal::Term,
            _ = self.int.recv() => OwnSignal::Int,
            _ = self.quit.recv() => OwnSignal::Quit,
            _ = self.hup.recv() => OwnSignal::Hup,
            _ = self.winch.recv() => OwnSignal::Winch,
            _ = self.usr2.recv() => OwnSignal::Usr2,
        }
    }
}
