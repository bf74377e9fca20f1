//! What circusd has told: every event with its number, the latest ones for those who ask, and what was announced of
//! processes and watchers, so that the next circusd neither repeats nor forgets anything.
//!
//! Everything here is a fold over the lines of the journal ([`line`]). An event goes into the journal before it is
//! published and before the core is told to forget the process that it is about. After a circusd that went without a
//! word, the next one reads the journal, goes on counting, announces what has happened since, and holds its events back
//! for a moment, until subscribers have connected again. What is not here: files (the shell appends what
//! [`Chronicle::enter`] gives), and sockets.

mod answer;
mod line;

pub use answer::{Asked, Since};
pub use line::About;

use super::{Effect, Ending, JournalWrite};
use crate::clock::Now;
use line::Line;
use ringmaster_protocol::message::ProcessId;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// How long a circusd that follows another holds events back: a libzmq subscriber connects again after 100 ms, and its
/// connection waits in the core's socket until it is served.
const HOLD: Duration = Duration::from_millis(500);

/// Events that may be held back: those of a thousand processes that ended meanwhile and their replacements. More are
/// published at once.
const MAX_HELD: usize = 4096;

/// Latest events that are kept for those who ask.
const MAX_RECENT: usize = 2048;

/// Bytes that they may have together: with the overhead of each, below half a MiB.
const MAX_RECENT_BYTES: usize = 256 << 10;

/// Bytes that the journal may grow by before it is written anew: with what it begins with, always below 2 MiB, which is
/// read in some milliseconds.
const MAX_JOURNAL: usize = 1 << 20;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Counts the events of the instance, from 1.
    pub seq: u64,
    /// `watcher.NAME.EVENT`.
    pub topic: String,
    /// JSON, as published.
    pub payload: String,
}

impl Recorded {
    fn size(&self) -> usize {
        self.topic.len() + self.payload.len()
    }
}

/// What subscribers have been told of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// Nothing yet.
    Nothing,
    /// That it was started.
    Spawn,
    /// That it has ended; the core had not forgotten it yet.
    Reap,
}

/// What subscribers have been told of a watcher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is active.
    Active,
    /// It has stopped on the way to a new start.
    Between,
    /// It has stopped to stay so.
    Stopped,
}

/// Events that wait for subscribers.
#[derive(Debug)]
struct Hold {
    until: Option<Duration>,
    events: VecDeque<Recorded>,
}

/// The whole.
#[derive(Debug, Default)]
pub struct Chronicle {
    last: u64,
    recent: VecDeque<Recorded>,
    recent_bytes: usize,
    processes: BTreeMap<ProcessId, Told>,
    watchers: BTreeMap<String, Standing>,
    hold: Option<Hold>,
    /// Bytes appended since the journal was last written anew; `None`: it has not been in this life.
    grown: Option<usize>,
}

impl Chronicle {
    /// What an earlier circusd has left; an empty journal is a first start. Lines that make no sense are passed over: the
    /// last one may be torn.
    pub fn load(journal: &[u8]) -> Self {
        let mut chronicle = Self::default();
        let mut held = VecDeque::new();
        for line in journal.split(|byte| *byte == b'\n').filter_map(Line::decode) {
            if let Line::Event { event, held: true, .. } = &line {
                held.push_back(event.clone());
            } else if line == Line::Released {
                held.clear();
            }
            chronicle.apply(line);
        }
        if !journal.is_empty() {
            chronicle.hold = Some(Hold { until: None, events: held });
        }
        chronicle
    }

    fn apply(&mut self, line: Line) {
        match line {
            Line::Event { event, about, .. } => {
                self.last = event.seq;
                self.note(about);
                self.remember(event);
            }
            Line::Released => {}
            Line::Begin { last, processes, watchers } => {
                self.last = last;
                self.processes = processes;
                self.watchers = watchers;
            }
        }
    }

    fn note(&mut self, about: About) {
        match about {
            About::Nothing => {}
            About::Spawned(process) => drop(self.processes.insert(process, Told::Spawn)),
            About::Reaped(process) => drop(self.processes.insert(process, Told::Reap)),
            About::Watcher(name, standing) => drop(self.watchers.insert(name, standing)),
            About::Removed(name) => drop(self.watchers.remove(&name)),
        }
    }

    fn remember(&mut self, event: Recorded) {
        self.recent_bytes += event.size();
        self.recent.push_back(event);
        while self.recent.len() > MAX_RECENT || self.recent_bytes > MAX_RECENT_BYTES {
            let gone = self.recent.pop_front();
            self.recent_bytes = self.recent_bytes.saturating_sub(gone.map_or(1, |event| event.size()));
        }
    }

    /// What was told of a process.
    pub fn told(&self, process: ProcessId) -> Told {
        self.processes.get(&process).copied().unwrap_or(Told::Nothing)
    }

    /// What was told of a watcher, by its name in lower case.
    pub fn standing(&self, name: &str) -> Option<Standing> {
        self.watchers.get(name).copied()
    }

    /// The core has no other processes than these any more.
    pub fn retain(&mut self, there: impl Fn(ProcessId) -> bool) {
        self.processes.retain(|process, _| there(*process));
    }

    /// Subscribers get a moment from now on, if there was an earlier circusd.
    pub fn begin(&mut self, now: Now) {
        if let Some(hold) = &mut self.hold {
            hold.until.get_or_insert(now.mono.saturating_add(HOLD));
        }
    }

    /// When held events are due.
    pub fn deadline(&self) -> Option<Duration> {
        self.hold.as_ref().and_then(|hold| hold.until)
    }

    /// Numbers and records the events of one turn; takes out those that are held back and adds those that are due.
    /// What goes into the journal comes first. Gives whether there is anything new.
    pub(super) fn enter(&mut self, now: Now, effects: Vec<Effect>) -> (Vec<Effect>, bool) {
        let mut lines = Vec::new();
        let mut rest = Vec::with_capacity(effects.len() + 1);
        let before = self.last;
        let ends = |effect: &Effect| matches!(effect, Effect::Finish(Ending::Quit | Ending::Restart));
        self.release(effects.iter().any(ends), now, &mut lines, &mut rest);
        for effect in effects {
            if let Effect::Publish { topic, payload, about } = effect {
                rest.extend(self.record(topic, payload, about, &mut lines));
                continue;
            }
            if let Effect::Forget(process) = &effect {
                self.processes.remove(process);
            }
            rest.push(effect);
        }
        rest.splice(0..0, self.journal(lines));
        (rest, self.last != before)
    }

    fn record(&mut self, topic: String, payload: Vec<u8>, about: About, lines: &mut Vec<u8>) -> Option<Effect> {
        let text = String::from_utf8_lossy(&payload).into_owned();
        let event = Recorded { seq: self.last + 1, topic, payload: text };
        let line = Line::Event { event: event.clone(), about, held: self.hold.is_some() };
        line.encode(lines);
        self.apply(line);
        match &mut self.hold {
            Some(hold) => {
                hold.events.push_back(event);
                None
            }
            None => Some(Effect::Publish { topic: event.topic, payload, about: About::Nothing }),
        }
    }

    fn release(&mut self, ends: bool, now: Now, lines: &mut Vec<u8>, effects: &mut Vec<Effect>) {
        let due = self.hold.as_ref().is_some_and(|hold| {
            ends || hold.until.is_some_and(|until| until <= now.mono) || hold.events.len() > MAX_HELD
        });
        if let Some(hold) = self.hold.take_if(|_| due) {
            Line::Released.encode(lines);
            let publish = |event: Recorded| Effect::Publish {
                topic: event.topic,
                payload: event.payload.into_bytes(),
                about: About::Nothing,
            };
            effects.extend(hold.events.into_iter().map(publish));
        }
    }

    /// Appends, or writes the whole journal anew: at first, and when it has grown.
    fn journal(&mut self, lines: Vec<u8>) -> Option<Effect> {
        if lines.is_empty() {
            return None;
        }
        let grown = self.grown.map(|grown| grown + lines.len()).filter(|grown| *grown <= MAX_JOURNAL);
        self.grown = Some(grown.unwrap_or(0));
        Some(Effect::Journal(match grown {
            Some(_) => JournalWrite::Append(lines),
            None => JournalWrite::Anew(self.whole()),
        }))
    }

    fn whole(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let first = self.recent.front().map_or(self.last, |event| event.seq.saturating_sub(1));
        let (processes, watchers) = (self.processes.clone(), self.watchers.clone());
        Line::Begin { last: first, processes, watchers }.encode(&mut out);
        let held = self.hold.as_ref().and_then(|hold| hold.events.front()).map_or(u64::MAX, |event| event.seq);
        for event in &self.recent {
            Line::Event { event: event.clone(), about: About::Nothing, held: event.seq >= held }.encode(&mut out);
        }
        out
    }
}

#[cfg(test)]
mod tests;
