//! What differs between the file as it was, the file as it is, and what runs. Pure.

use crate::config::Config;
use crate::options::{CIRCUS_OPTIONS, Change, CircusOptions, SocketOptions, WatcherOptions, differences};
use crate::watcher::{Origin, Watcher};

/// What a new file means for a watcher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing.
    Same,
    /// Other options, the same processes, perhaps more or fewer.
    Adjust,
    /// New processes, because a change by a client is taken back that had led to new ones.
    Refresh,
    /// Stop and start: the file defines another watcher now.
    Restart,
}

/// A change of the file beyond the number of processes restarts; changes by clients are taken back as they were made.
pub(super) fn verdict(watcher: &Watcher, new: &WatcherOptions) -> Verdict {
    let old = match &watcher.origin {
        Origin::File(options) => options,
        Origin::Added { .. } => &watcher.options,
    };
    if differences(old, new).iter().any(|(name, _)| name != "numprocesses") {
        return Verdict::Restart;
    }
    let reverted = differences(&watcher.options, new);
    if reverted.is_empty() {
        Verdict::Same
    } else if reverted.iter().any(|(_, change)| *change == Change::Reload) {
        Verdict::Refresh
    } else {
        Verdict::Adjust
    }
}

/// The options of `[circus]` in which two files differ.
pub(super) fn circus_differences<'a>(
    old: &'a CircusOptions,
    new: &'a CircusOptions,
) -> impl Iterator<Item = &'static str> + 'a {
    let rows = CIRCUS_OPTIONS.iter().filter(|row| !row.kind.same(old, new));
    rows.map(|row| row.name)
}

/// A socket of the file, and whether it has to stay bound when circusd quits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedSocket {
    /// The section.
    pub options: SocketOptions,
    /// Whether a persistent watcher holds it.
    pub persistent: bool,
}

/// What is to happen with sockets. Old ones go before new ones come, because they may want the same address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SocketChange {
    /// Not in the file any more, or otherwise in it.
    pub old: Vec<SocketOptions>,
    /// Not in the file before, or otherwise in it.
    pub new: Vec<WantedSocket>,
}

impl SocketChange {
    pub(super) fn between(old: &[SocketOptions], config: &Config) -> Self {
        let new = config.sockets.iter().filter(|socket| !old.contains(socket));
        let wanted =
            |socket: &SocketOptions| WantedSocket { persistent: config.keeps_socket(socket), options: socket.clone() };
        let gone = old.iter().filter(|socket| !config.sockets.contains(socket));
        Self { new: new.map(wanted).collect(), old: gone.cloned().collect() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.old.is_empty() && self.new.is_empty()
    }

    /// Whether processes of this watcher hold a socket that goes.
    pub(super) fn disturb(&self, watcher: &WatcherOptions) -> bool {
        self.old.iter().any(|socket| watcher.holds_socket(socket))
    }

    /// The names of all of them.
    pub(super) fn names(&self) -> Vec<String> {
        let new = self.new.iter().map(|socket| socket.options.name.clone());
        let old = self.old.iter().map(|socket| socket.name.clone());
        old.chain(new).collect()
    }

    /// Tells each with what happens to it.
    pub(super) fn describe(&self, mut tell: impl FnMut(&'static str, &str)) {
        let is_new = |name: &str| self.new.iter().any(|socket| socket.options.name == name);
        for socket in &self.old {
            let what = match is_new(&socket.name) {
                true => "sockets bound anew",
                false => "sockets closed",
            };
            tell(what, &socket.name);
        }
        for WantedSocket { options, .. } in &self.new {
            if !self.old.iter().any(|socket| socket.name == options.name) {
                tell("new sockets", &options.name);
            }
        }
    }
}
