//! The live table: repainted once a second, after each key, and when the terminal has another size.

use super::arguments::Arguments;
use super::keys::{HELP, Key, Keyboard};
use super::screen::{Colours, Screen};
use super::table::Table;
use super::view::{Next, View};
use super::{TopError, subscribe};
use crate::client::disconnected;
use crate::endpoint::Endpoint;
use crate::interrupt::Signals;
use std::io;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep};
use zeromq::{SocketRecv as _, SubSocket};

/// Between two pictures, as in Circus.
const REPAINT: Duration = Duration::from_secs(1);

/// Before a lost connection is tried again.
const CONNECT_AGAIN: Duration = Duration::from_millis(500);

/// What happens besides statistics.
enum Pulse {
    /// It is time for a picture.
    Time,
    /// The terminal has another size.
    Resized,
    /// Somebody has pressed keys.
    Keys(Vec<Key>),
    /// A signal that ends us.
    End,
}

/// Where they come from.
struct Pulses {
    repaint: Interval,
    resized: Signal,
    keyboard: Keyboard,
    signals: Signals,
}

impl Pulses {
    fn new() -> io::Result<Self> {
        let mut repaint = interval(REPAINT);
        repaint.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (resized, signals) = (signal(SignalKind::window_change())?, Signals::catch()?);
        Ok(Self { repaint, resized, keyboard: Keyboard::open()?, signals })
    }

    async fn next(&mut self) -> Pulse {
        tokio::select! {
            _ = self.repaint.tick() => Pulse::Time,
            _ = self.resized.recv() => Pulse::Resized,
            keys = self.keyboard.next() => Pulse::Keys(keys),
            () = self.signals.any() => Pulse::End,
        }
    }
}

/// What is shown.
struct Live<'a> {
    arguments: &'a Arguments,
    endpoint: &'a Endpoint,
    table: Table,
    view: View,
    screen: Screen,
    keys: &'static str,
    link: Link,
}

/// Whether statistics can come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    Stands,
    Lost,
}

impl Live<'_> {
    fn act(&mut self, pulse: Pulse) -> io::Result<Next> {
        match pulse {
            Pulse::Time => self.table.forget(Instant::now(), self.arguments.process_timeout()),
            Pulse::Resized => {}
            Pulse::Keys(keys) => {
                let page = self.screen.page();
                for key in keys {
                    let watchers: Vec<String> = self.table.names().map(str::to_owned).collect();
                    if self.view.press(key, &watchers, page) == Next::Quit {
                        return Ok(Next::Quit);
                    }
                }
            }
            Pulse::End => return Ok(Next::Quit),
        }
        self.paint()?;
        Ok(Next::Repaint)
    }

    fn paint(&mut self) -> io::Result<()> {
        let lost = match self.link {
            Link::Stands => None,
            Link::Lost => Some(format!("*** the connection to {} is lost; it is tried again ***", self.endpoint)),
        };
        self.screen.paint(&self.table, &mut self.view, lost.as_deref().unwrap_or(self.keys))
    }
}

/// Repaints until a key or a signal ends it.
pub(super) async fn live(arguments: &Arguments, endpoint: &Endpoint) -> Result<(), TopError> {
    let mut socket = subscribe(endpoint).await?;
    let mut pulses = Pulses::new()?;
    let screen = Screen::open(Colours::wanted(arguments.no_color))?;
    let keys = if pulses.keyboard.is_there() { HELP } else { "" };
    let (table, view, link) = (Table::default(), View::new(arguments), Link::Stands);
    let mut live = Live { arguments, endpoint, table, view, screen, keys, link };
    loop {
        let gone = disconnected(&mut socket);
        tokio::pin!(gone);
        loop {
            tokio::select! {
                message = socket.recv() => {
                    let Ok(message) = message else { break };
                    if let (Some(topic), Some(payload)) = (message.get(0), message.get(1)) {
                        live.table.take(topic, payload, Instant::now());
                    }
                }
                pulse = pulses.next() => {
                    if live.act(pulse)? == Next::Quit {
                        return Ok(());
                    }
                }
                () = &mut gone => break,
            }
        }
        live.link = Link::Lost;
        let again = again(endpoint);
        tokio::pin!(again);
        socket = loop {
            tokio::select! {
                socket = &mut again => break socket,
                pulse = pulses.next() => {
                    if live.act(pulse)? == Next::Quit {
                        return Ok(());
                    }
                }
            }
        };
        live.link = Link::Stands;
    }
}

async fn again(endpoint: &Endpoint) -> SubSocket {
    loop {
        sleep(CONNECT_AGAIN).await;
        if let Ok(socket) = subscribe(endpoint).await {
            return socket;
        }
    }
}
