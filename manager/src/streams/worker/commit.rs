//! From a batch to its target, and what follows: the word about what was taken, or a pause.

use super::Worker;
use super::routes::first_user;
use crate::streams::compose::Commit;
use crate::streams::mailbox::WatcherKey;
use crate::streams::moment::Moment;
use crate::streams::render::Tail;
use crate::streams::report::{Action, ScribeReport, Trouble};
use crate::streams::sink::{Failure, Owed, SinkKey, is_full};
use ringmaster_protocol::ring::Stream;

impl<R: Fn(ScribeReport)> Worker<R> {
    /// Where the last line of a target is; `None`: nothing may be written there now.
    pub(super) fn tail_of(&mut self, key: &SinkKey, now: Moment) -> Option<Tail> {
        let sink = self.sinks.get_mut(key).filter(|sink| !sink.is_blocked())?;
        if sink.follow() {
            let path = key.path().to_path_buf();
            (self.report)(ScribeReport::Moved { path });
        }
        match sink.open() {
            Ok(()) => Some(sink.tail),
            Err(failure) => {
                self.fail(key, failure, now);
                None
            }
        }
    }

    /// The one place where a batch is appended and what it covers is told: first the bytes, then the word about them.
    /// What could not be written is owed. Gives whether all is written.
    pub(super) fn commit(&mut self, key: &SinkKey, bytes: &[u8], commit: Commit, now: Moment) -> bool {
        let Some(sink) = self.sinks.get_mut(key) else {
            return false;
        };
        let outcome = sink.append(bytes, now.wall);
        match sink.take_rotation_change() {
            Some(Err(error)) => {
                let whose = first_user(&self.watchers, key);
                tell_trouble(&self.report, whose, key, Action::Rotate, error);
            }
            Some(Ok(())) => tell_cleared(&self.report, key),
            None => {}
        }
        if let Err(failure) = outcome {
            let bytes = bytes.get(failure.written..).unwrap_or_default().to_vec();
            sink.owed = Some(Owed { bytes, commit });
            self.fail(key, failure, now);
            return false;
        }
        sink.tail = commit.tail;
        self.settle(&commit);
        true
    }

    fn settle(&mut self, commit: &Commit) {
        let process = commit.process;
        for stream in Stream::ALL {
            let Some(step) = commit.steps.get(stream) else {
                continue;
            };
            let cursor = self.processes.get_mut(&process).and_then(|known| known.cursors.get_mut(stream).as_mut());
            let Some(cursor) = cursor else {
                continue;
            };
            cursor.settle(step);
            let (lost, to, offset) = (step.lost, step.offset, step.offset);
            if lost > 0 {
                (self.report)(ScribeReport::Gap { process, stream, lost, to });
            }
            (self.report)(ScribeReport::Consumed { process, stream, offset });
        }
    }

    /// Begins or prolongs the pause of a target, and tells of it once. A slow reader is no trouble.
    fn fail(&mut self, key: &SinkKey, failure: Failure, now: Moment) {
        let Some(sink) = self.sinks.get_mut(key) else {
            return;
        };
        sink.pause(&failure, now);
        if is_full(&failure.error) {
            return;
        }
        // Whatever is at the path by then gets the rest.
        sink.close();
        if !std::mem::replace(&mut sink.told, true) {
            let whose = first_user(&self.watchers, key);
            tell_trouble(&self.report, whose, key, failure.action, failure.error);
        }
    }

    /// Tries a target again: what is owed first, then everybody who has something for it.
    pub(super) fn retry(&mut self, key: &SinkKey, now: Moment) {
        let Some(sink) = self.sinks.get_mut(key) else {
            return;
        };
        let written = match sink.owed.take() {
            Some(Owed { bytes, commit }) => self.commit(key, &bytes, commit, now),
            None => match sink.open() {
                Ok(()) => true,
                Err(failure) => {
                    sink.pause(&failure, now);
                    false
                }
            },
        };
        let Some(sink) = self.sinks.get_mut(key).filter(|_| written) else {
            return;
        };
        sink.resume();
        if !sink.is_gone() && std::mem::replace(&mut sink.told, false) {
            tell_cleared(&self.report, key);
        }
        self.enqueue_all();
    }
}

fn tell_cleared(report: &impl Fn(ScribeReport), key: &SinkKey) {
    let path = key.path().to_path_buf();
    report(ScribeReport::Cleared { path });
}

/// Reports a trouble.
pub(super) fn tell_trouble(
    report: &impl Fn(ScribeReport),
    (watcher, stream): (WatcherKey, Stream),
    key: &SinkKey,
    action: Action,
    error: std::io::Error,
) {
    let path = key.path().to_path_buf();
    report(ScribeReport::Trouble(Trouble { watcher, stream, path, action, error }));
}
