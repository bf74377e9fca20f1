//! From a batch to its target, and what follows: the word about what was taken, or a pause.

use super::Worker;
use super::routes::first_user;
use crate::streams::compose::Commit;
use crate::streams::failpoint::{self, Failpoint};
use crate::streams::journal::{Batch, Unfinished};
use crate::streams::mailbox::WatcherKey;
use crate::streams::moment::Moment;
use crate::streams::render::Tail;
use crate::streams::report::{Action, ScribeReport, Trouble};
use crate::streams::sink::{Failure, Found, Ledger, Owed, Sink, SinkKey, is_full};
use ringmaster_protocol::ring::Stream;

impl<R: Fn(ScribeReport)> Worker<R> {
    /// Where the last line of a target is; `None`: nothing may be written there now.
    pub(super) fn tail_of(&mut self, key: &SinkKey, now: Moment) -> Option<Tail> {
        let sink = self.sinks.get_mut(key).filter(|sink| !sink.is_blocked())?;
        if sink.follow() {
            let path = key.path().to_path_buf();
            (self.report)(ScribeReport::Moved { path });
        }
        if let Err(failure) = self.prepare(key, now) {
            self.fail(key, failure, now);
            return None;
        }
        self.sinks.get(key).filter(|sink| !sink.is_blocked()).map(|sink| sink.tail)
    }

    /// Opens a target, and finishes what an earlier circusd has begun there.
    pub(super) fn prepare(&mut self, key: &SinkKey, now: Moment) -> Result<(), Failure> {
        let Some(sink) = self.sinks.get_mut(key) else {
            return Ok(());
        };
        sink.open()?;
        if sink.recovered {
            return Ok(());
        }
        if let Some(end) = self.journal.end(key.hash()) {
            sink.take_up(&end);
        }
        for unfinished in self.journal.take_unfinished(key.hash()) {
            self.finish(key, unfinished, now)?;
        }
        if let Some(sink) = self.sinks.get_mut(key) {
            sink.recovered = true;
            sink.tidy(now.wall);
        }
        self.tell_rotation(key);
        self.note_compression(key);
        Ok(())
    }

    /// Writes what is missing of a batch. If that fails the target owes the rest.
    fn finish(&mut self, key: &SinkKey, unfinished: Unfinished, now: Moment) -> Result<(), Failure> {
        let Some(sink) = self.sinks.get_mut(key) else {
            return Ok(());
        };
        let found = match sink.inspect(&unfinished, unfinished.deadline) {
            Ok(found) => found,
            Err(error) => {
                self.journal.put_back(unfinished);
                return Err(Failure { written: 0, action: Action::Open, error });
            }
        };
        let written = match found {
            Found::Written(bytes) => bytes,
            Found::Unclear(bytes) => {
                let path = key.path().to_path_buf();
                let bytes_left = unfinished.bytes.len().saturating_sub(bytes);
                (self.report)(ScribeReport::Repeated { path, bytes: bytes_left });
                bytes
            }
        };
        let Unfinished { batch, commit, bytes, .. } = unfinished;
        let rest = bytes.get(written..).unwrap_or_default();
        let done = u64::try_from(written).unwrap_or(0);
        self.write(key, rest, (commit, batch, done), now);
        Ok(())
    }

    /// The one place where a batch is appended and what it covers is told: first the journal, then the bytes, then the word
    /// about them. Gives whether all is written.
    pub(super) fn commit(&mut self, key: &SinkKey, bytes: &[u8], commit: Commit, now: Moment) -> bool {
        let Some(sink) = self.sinks.get(key) else {
            return false;
        };
        match self.journal.begin(&commit, key.hash(), bytes, sink.is_exact()) {
            Ok(batch) if sink.takes_calls() => self.hand_over(key, bytes, commit, batch),
            Ok(batch) => self.write(key, bytes, (commit, batch, 0), now),
            Err(error) => {
                self.fail(key, Failure { written: 0, action: Action::Note, error }, now);
                false
            }
        }
    }

    /// Appends the rest of a batch of which `done` bytes are written.
    fn write(
        &mut self,
        key: &SinkKey,
        bytes: &[u8],
        (commit, mut batch, done): (Commit, Batch, u64),
        now: Moment,
    ) -> bool {
        let Some(sink) = self.sinks.get_mut(key) else {
            return false;
        };
        let mut ledger = Ledger { journal: &mut self.journal, commit: &commit, batch: &mut batch, done };
        let outcome = sink.append(bytes, &mut ledger, now.wall);
        sink.note_write(now);
        self.tell_rotation(key);
        self.note_compression(key);
        if let Err(failure) = outcome {
            self.fail_within(key, bytes, (commit, batch, done), failure, now);
            return false;
        }
        self.written = self.written.saturating_add(bytes.len());
        failpoint::hit(Failpoint::BeforeSettle);
        let settled = self.journal.settle(batch, &commit, nanoseconds(now));
        failpoint::hit(Failpoint::AfterSettle);
        if let Err(error) = settled {
            (self.report)(ScribeReport::NoJournal { error: error.to_string() });
        }
        if let Some(sink) = self.sinks.get_mut(key) {
            sink.tail = commit.tail;
            if sink.recover(now).is_some() && !sink.is_gone() {
                tell_cleared(&self.report, key);
            }
        }
        self.settle(&commit, now);
        true
    }

    /// Tells of rotations, and when rotation begins to fail, or works again.
    pub(super) fn tell_rotation(&mut self, key: &SinkKey) {
        let files = self.sinks.get_mut(key).map_or(0, Sink::take_rotations);
        if files > 0 {
            let (watcher, _) = first_user(&self.watchers, key);
            (self.report)(ScribeReport::Rotated { watcher, files });
        }
        match self.sinks.get_mut(key).and_then(Sink::take_rotation_change) {
            Some(Err(error)) => {
                let whose = first_user(&self.watchers, key);
                tell_trouble(&self.report, whose, key, Action::Rotate, error);
            }
            Some(Ok(())) => tell_cleared(&self.report, key),
            None => {}
        }
    }

    /// A batch that could not be written: what has begun is owed; what has not is left in the core.
    fn fail_within(
        &mut self,
        key: &SinkKey,
        bytes: &[u8],
        (commit, batch, done): (Commit, Batch, u64),
        failure: Failure,
        now: Moment,
    ) {
        let written = u64::try_from(failure.written).unwrap_or(0);
        if done + written == 0 {
            if let Err(error) = self.journal.withdraw(batch) {
                (self.report)(ScribeReport::NoJournal { error: error.to_string() });
            }
        } else if let Some(sink) = self.sinks.get_mut(key) {
            let bytes = bytes.get(failure.written..).unwrap_or_default().to_vec();
            sink.owed = Some(Owed { bytes, commit, batch, done: done + written });
        }
        self.fail(key, failure, now);
    }

    pub(super) fn settle(&mut self, commit: &Commit, now: Moment) {
        let process = commit.process;
        for stream in Stream::ALL {
            let Some(step) = commit.steps.get(stream) else {
                continue;
            };
            let cursor = self.processes.get_mut(&process).and_then(|known| known.cursors.get_mut(stream).as_mut());
            let Some(cursor) = cursor else {
                continue;
            };
            cursor.settle(step, nanoseconds(now));
            if let Some(loss) = step.lost {
                (self.report)(ScribeReport::Gap { process, stream, loss });
            }
            self.taken.note(process, stream, (step.offset, step.offset.saturating_sub(step.from)));
        }
    }

    /// Begins or prolongs the pause of a target, and tells of it once. A slow reader is no trouble.
    fn fail(&mut self, key: &SinkKey, failure: Failure, now: Moment) {
        let whose = first_user(&self.watchers, key);
        self.fail_for(key, failure, whose, now);
    }

    /// The same, for a watcher and stream that are not entered yet.
    pub(super) fn fail_for(&mut self, key: &SinkKey, failure: Failure, whose: (WatcherKey, Stream), now: Moment) {
        let Some(sink) = self.sinks.get_mut(key) else {
            return;
        };
        sink.pause(&failure, now);
        if is_full(&failure.error) {
            return;
        }
        // Whatever is at the path by then gets the rest.
        sink.close();
        if sink.told.replace(failure.action).is_none() {
            tell_trouble(&self.report, whose, key, failure.action, failure.error);
        }
    }

    /// Tries a target again: what is owed first, then everybody who has something for it.
    pub(super) fn retry(&mut self, key: &SinkKey, now: Moment) {
        let Some(sink) = self.sinks.get_mut(key) else {
            return;
        };
        sink.try_again();
        let owed = sink.owed.take();
        if let Err(failure) = self.prepare(key, now) {
            if let Some(sink) = self.sinks.get_mut(key) {
                sink.owed = owed;
            }
            self.fail(key, failure, now);
            return;
        }
        if let Some(Owed { bytes, commit, batch, done }) = owed {
            self.write(key, &bytes, (commit, batch, done), now);
        } else if let Some(sink) = self.sinks.get_mut(key)
            && sink.told == Some(Action::Open)
        {
            // The file is there again; whether it takes anything will be seen when there is something.
            sink.recover(now);
            tell_cleared(&self.report, key);
        }
        self.enqueue_all();
    }
}

/// The date, as records have it.
pub(super) fn nanoseconds(now: Moment) -> u64 {
    u64::try_from(now.wall.as_nanosecond()).unwrap_or(0)
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
