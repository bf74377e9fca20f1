//! Objects in Python: batches that are handed over and taken later, and the end of their workers.

use super::Worker;
use super::commit::nanoseconds;
use crate::streams::compose::Commit;
use crate::streams::journal::Batch;
use crate::streams::moment::Moment;
use crate::streams::python::{ClassReport, ClassWord, Closing, News, Pace, PythonSpec};
use crate::streams::report::ScribeReport;
use crate::streams::sink::{Handed, Sink, SinkKey};
use ringmaster_protocol::message::ProcessId;
use std::sync::Arc;

impl<R: Fn(ScribeReport)> Worker<R> {
    /// Finds or makes the object of a stream.
    pub(super) fn object(&mut self, spec: PythonSpec) -> Option<SinkKey> {
        let spec = Arc::new(spec);
        let key = SinkKey::Python(Arc::clone(&spec));
        if !self.sinks.contains_key(&key) {
            match Sink::python(Arc::clone(&spec), Arc::clone(&self.mailbox)) {
                Ok(sink) => drop(self.sinks.insert(key.clone(), sink)),
                Err(error) => {
                    let error = crate::streams::PythonError::NoPython(error.to_string());
                    self.say(&spec, ClassWord::Trouble(error));
                    return None;
                }
            }
        }
        Some(key)
    }

    /// Hands over a batch. It is not written before its object says so.
    pub(super) fn hand_over(&mut self, key: &SinkKey, bytes: &[u8], commit: Commit, batch: Batch) -> bool {
        if let Some(sink) = self.sinks.get_mut(key) {
            sink.hand_over(bytes, commit, batch);
        }
        false
    }

    /// Takes in what the keeper of a stream tells.
    pub(super) fn hear(&mut self, serial: u64, news: News, now: Moment) {
        let News { spec, taken, pace, words } = news;
        let mut found = self.sinks.values_mut().find(|sink| sink.is_python(serial));
        if let (Some(sink), Some(pace)) = (&mut found, pace) {
            sink.note_stuck(pace == Pace::Slow);
        }
        for word in &words {
            if let (Some(sink), ClassWord::Trouble(_) | ClassWord::Works) = (&mut found, word) {
                sink.note_stuck(*word != ClassWord::Works);
            }
        }
        // An object that was replaced meanwhile says how far an earlier batch came, of which another one gets all.
        let handed = found.filter(|_| taken).and_then(Sink::take_handed);
        words.into_iter().for_each(|word| self.say(&spec, word));
        if let Some(handed) = handed {
            self.taken(&spec, &handed, now);
        }
    }

    /// Every call of a batch has returned.
    fn taken(&mut self, spec: &PythonSpec, handed: &Handed, now: Moment) {
        self.written = self.written.saturating_add(handed.bytes);
        // Of a process that was let go meanwhile nothing is to be noted any more.
        let noted = match self.processes.contains_key(&handed.commit.process) {
            true => self.journal.settle(handed.batch, &handed.commit, nanoseconds(now)),
            false => self.journal.withdraw(handed.batch),
        };
        if let Err(error) = noted {
            (self.report)(ScribeReport::NoJournal { error: error.to_string() });
        }
        self.settle(&handed.commit, now);
        let mine = self.processes.iter().filter(|(_, process)| process.watcher == spec.watcher);
        let mine: Vec<ProcessId> = mine.map(|(id, _)| *id).collect();
        mine.into_iter().for_each(|id| self.enqueue(id));
    }

    fn say(&self, spec: &PythonSpec, word: ClassWord) {
        let PythonSpec { watcher, stream, class, .. } = spec;
        let (watcher, stream, class) = (watcher.clone(), *stream, class.clone());
        (self.report)(ScribeReport::Class(ClassReport { watcher, stream, class, word }));
    }

    /// Whether some object will have taken a batch soon.
    pub(super) fn awaits_objects(&self) -> bool {
        self.sinks.values().any(Sink::is_taking)
    }

    /// Whether some object has a batch and does not take it.
    pub(super) fn has_untaken(&self) -> bool {
        self.sinks.values().any(Sink::is_held_up)
    }

    /// Closes an object that nobody writes to any more, without waiting for that.
    pub(super) fn close_object(&mut self, sink: &mut Sink) {
        self.leaving.retain(|thread| !thread.is_finished());
        self.leaving.extend(sink.close_object(Closing::InPassing));
    }

    /// The end: has all objects closed and waits for them, some seconds at most.
    pub(in crate::streams) fn close_objects(&mut self) {
        self.leaving.extend(self.sinks.values_mut().filter_map(|sink| sink.close_object(Closing::AtTheEnd)));
        for thread in self.leaving.drain(..) {
            // A panic is told by the runtime; there is nothing left to do for it.
            let _ = thread.join();
        }
    }
}
