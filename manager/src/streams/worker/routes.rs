//! Watchers and their targets: which stream goes where, and which targets are open.

use super::Worker;
use super::commit::tell_trouble;
use crate::streams::mailbox::{WatcherKey, WatcherStreams};
use crate::streams::moment::Moment;
use crate::streams::per_stream::PerStream;
use crate::streams::python::{PythonPlace, PythonSpec};
use crate::streams::render::{Look, make_harmless};
use crate::streams::report::{Action, ScribeReport};
use crate::streams::sink::{Sink, SinkKey};
use crate::streams::wrapping::colour_of;
use crate::streams::{StreamSetup, Target, setup};
use ringmaster_protocol::message::ProcessId;
use ringmaster_protocol::ring::Stream;
use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;

/// Where a stream of a watcher goes, and how it looks there.
#[derive(Debug, Clone)]
pub(super) struct Route {
    pub(super) sink: SinkKey,
    pub(super) look: Arc<Look>,
}

impl<R: Fn(ScribeReport)> Worker<R> {
    pub(super) fn set_streams(&mut self, watcher: &WatcherKey, streams: &WatcherStreams, now: Moment) {
        let mut routes = PerStream::default();
        for stream in Stream::ALL {
            // Invalid options are refused at load; what slips through is thrown away like no stream at all.
            if let Some(Ok(setup)) = streams.each.get(stream).as_ref().map(setup) {
                *routes.get_mut(stream) = self.route((watcher, stream), setup, &streams.python, now);
            }
        }
        self.watchers.insert(watcher.clone(), routes);
        self.prune();
        self.name_writers();
        let mine = self.processes.iter().filter(|(_, process)| process.watcher == *watcher);
        let mine: Vec<ProcessId> = mine.map(|(id, _)| *id).collect();
        mine.into_iter().for_each(|id| self.enqueue(id));
    }

    /// Finds or makes the writer of a target; a file is opened at once, so that trouble shows before output comes.
    fn route(
        &mut self,
        (watcher, stream): (&WatcherKey, Stream),
        setup: StreamSetup,
        python: &PythonPlace,
        now: Moment,
    ) -> Option<Route> {
        let mut look = setup.look;
        let key = match setup.target {
            Target::Nowhere => return None,
            Target::Stdout => {
                let stdout = std::io::stdout().as_fd().try_clone_to_owned().ok()?;
                let sink = self.sinks.entry(SinkKey::Stdout).or_insert_with(|| Sink::inherited(stdout));
                if sink.is_terminal() && look == Look::Raw {
                    look = Look::Terminal { name: String::new() };
                }
                if let Look::Wrapped(wrapping) = &mut look {
                    wrapping.settle(sink.is_terminal(), watcher.as_str());
                }
                SinkKey::Stdout
            }
            Target::Python { class, settings } => {
                let (watcher, place) = (watcher.clone(), python.clone());
                self.object(PythonSpec { watcher, stream, class, settings, place })?
            }
            Target::Socket(address) => {
                let key = SinkKey::Socket(address.clone());
                self.sinks.entry(key.clone()).or_insert_with(|| Sink::socket(address));
                if let Err(failure) = self.prepare(&key, now) {
                    self.fail_for(&key, failure, (watcher.clone(), stream), now);
                }
                key
            }
            Target::File { path, upkeep } => {
                let path = match path {
                    Some(path) => std::path::absolute(&path).unwrap_or(path),
                    None => self.temporary(watcher, stream)?,
                };
                let key = SinkKey::File(path.clone());
                let sink = self.sinks.entry(key.clone()).or_insert_with(|| Sink::file(path, upkeep.clone()));
                sink.set_upkeep(upkeep);
                if !sink.is_blocked()
                    && let Err(failure) = self.prepare(&key, now)
                {
                    self.fail_for(&key, failure, (watcher.clone(), stream), now);
                }
                key
            }
        };
        let look = Arc::new(look);
        Some(Route { sink: key, look })
    }

    /// On a terminal: each line says whose it is as soon as several watchers write there.
    fn name_writers(&mut self) {
        let writes = |routes: &PerStream<Option<Route>>| {
            Stream::ALL.iter().any(|stream| routes.get(*stream).as_ref().is_some_and(Route::is_terminal))
        };
        let several = self.watchers.values().filter(|routes| writes(routes)).count() > 1;
        for (watcher, routes) in &mut self.watchers {
            for stream in Stream::ALL {
                if let Some(route) = routes.get_mut(stream).as_mut().filter(|route| route.is_terminal()) {
                    let name = if several { name_of(watcher) } else { String::new() };
                    if *route.look != (Look::Terminal { name: name.clone() }) {
                        route.look = Arc::new(Look::Terminal { name });
                    }
                }
            }
        }
    }

    /// A new file for a stream without `filename` (mkstemp(3): mode 0600).
    fn temporary(&self, watcher: &WatcherKey, stream: Stream) -> Option<PathBuf> {
        let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
        let name: String = watcher.as_str().chars().map(plain).take(60).collect();
        let template = std::env::temp_dir().join(format!("circus-{name}-{}-XXXXXX", stream.name()));
        match nix::unistd::mkstemp(&template) {
            Ok((_, path)) => {
                (self.report)(ScribeReport::Temporary { watcher: watcher.clone(), stream, path: path.clone() });
                Some(path)
            }
            Err(errno) => {
                let key = SinkKey::File(template);
                let whose = (watcher.clone(), stream);
                tell_trouble(&self.report, whose, &key, Action::MakeTemporary, errno.into());
                None
            }
        }
    }

    /// Closes what nobody writes to any more.
    pub(super) fn prune(&mut self) {
        let routes = self.watchers.values();
        let used = |key: &SinkKey| {
            let mut all = routes.clone().flat_map(|routes| [&routes.stdout, &routes.stderr]);
            all.any(|route| route.as_ref().is_some_and(|route| route.sink == *key))
        };
        let unused: Vec<SinkKey> = self.sinks.keys().filter(|key| !used(key)).cloned().collect();
        for key in unused {
            // The rest of a batch goes where its streams go now, and all of it with it.
            let Some(mut sink) = self.sinks.remove(&key) else {
                continue;
            };
            self.close_object(&mut sink);
            if let Some(Err(error)) = sink.take_open_batch().map(|batch| self.journal.withdraw(batch)) {
                (self.report)(ScribeReport::NoJournal { error: error.to_string() });
            }
        }
    }
}

impl Route {
    fn is_terminal(&self) -> bool {
        matches!(*self.look, Look::Terminal { .. })
    }
}

/// What a line of `watcher` begins with on a terminal: its name in its colour, unless the environment asks for none
/// (<https://no-color.org>).
fn name_of(watcher: &WatcherKey) -> String {
    let mut name = Vec::new();
    make_harmless(watcher.as_str().as_bytes(), b' ', &mut name);
    let name = String::from_utf8_lossy(&name);
    if std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) {
        return format!("{name} | ");
    }
    format!("\u{1b}[3{}m{name} |\u{1b}[0m ", colour_of(watcher.as_str()))
}

/// A watcher and a stream that write to `key`.
pub(super) fn first_user(
    watchers: &BTreeMap<WatcherKey, PerStream<Option<Route>>>,
    key: &SinkKey,
) -> (WatcherKey, Stream) {
    let uses = |route: &Option<Route>| route.as_ref().is_some_and(|route| route.sink == *key);
    let mut all = watchers
        .iter()
        .flat_map(|(watcher, routes)| Stream::ALL.map(|stream| (watcher, stream, uses(routes.get(stream)))));
    all.find(|(_, _, used)| *used)
        .map_or_else(|| (WatcherKey::new(""), Stream::Stdout), |(watcher, stream, _)| (watcher.clone(), stream))
}
