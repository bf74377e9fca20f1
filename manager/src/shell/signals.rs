//! Signals to circusd as events.

use super::attach::StartError;
use crate::arbiter::OwnSignal;
use std::io;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// In which the loop has looked at what the handlers have noted; nothing is waited for that is not there.
const MOMENT: Duration = Duration::from_millis(2);

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
    at_start: AtStart,
}

/// What a signal that asks circusd to end does while a life begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AtStart {
    /// It ends the start: there is nothing yet that would have to be stopped.
    Ends,
    /// It waits until the life has begun, which stops what an upgrade has left running.
    Waits,
    /// One waits; another ends the start.
    Waiting(OwnSignal),
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
            at_start: AtStart::Ends,
        }))
    }

    /// The next life takes over what an upgrade has left running: a signal that asks to end waits until it can be obeyed.
    pub fn wait_for_life(&mut self) {
        if let Self::Own(handlers) = self {
            handlers.at_start = AtStart::Waits;
        }
    }

    /// The next life is to end as soon as it has begun.
    pub fn end_next_life(&mut self) {
        if let Self::Own(handlers) = self {
            handlers.at_start = AtStart::Waiting(OwnSignal::Term);
        }
    }

    /// Whether one waits that asks to end, and no life has begun that could take it.
    pub fn is_to_end(&self) -> bool {
        match self {
            Self::Own(handlers) => matches!(handlers.at_start, AtStart::Waiting(_)),
            Self::None => false,
        }
    }

    /// Whether one that asks to end has come and nobody has taken it. Takes a moment, in which the system's are looked for.
    pub async fn has_end(&mut self) -> bool {
        while let Ok(signal) = tokio::time::timeout(MOMENT, self.next()).await {
            if signal.ends() {
                return true;
            }
        }
        false
    }

    /// Waits for work that may take long, or for a signal that ends circusd.
    pub async fn interrupt<T>(&mut self, work: impl Future<Output = T>) -> Result<T, StartError> {
        tokio::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return Ok(done),
                signal = self.received() => if signal.ends() && !self.put_off(signal) {
                    return Err(StartError::Interrupted(signal.name()));
                },
            }
        }
    }

    /// Keeps a signal for the life that begins; gives whether it does.
    fn put_off(&mut self, signal: OwnSignal) -> bool {
        match self {
            Self::Own(handlers) if handlers.at_start == AtStart::Waits => {
                handlers.at_start = AtStart::Waiting(signal);
                true
            }
            Self::Own(_) | Self::None => false,
        }
    }

    /// The next one of a life that has begun.
    pub async fn next(&mut self) -> OwnSignal {
        if let Self::Own(handlers) = self
            && let AtStart::Waiting(signal) = std::mem::replace(&mut handlers.at_start, AtStart::Ends)
        {
            return signal;
        }
        self.received().await
    }

    async fn received(&mut self) -> OwnSignal {
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
