//! The manager of the nemesis: holds the lease, starts children all the time, reads every byte, checks every end; and comes
//! back whenever its connection breaks. It knows what must come and counts what does not.

use crate::check::{Verdict, compare, fetch, verdict};
use crate::children::{Children, Expected, Role, Seen, describe, socket};
use crate::shared::Shared;
use anyhow::{Context, Result, bail};
use ringmaster_protocol::message::*;
use ringmaster_protocol::ring::Stream;
use ringmaster_tests::link::Link;
use ringmaster_tests::wait::pass;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Short-lived children at once at most.
const SHORT_ONES: usize = 6;

/// Between two starts of short-lived children at least.
const START_EVERY: Duration = Duration::from_millis(25);

/// How long the end may take: everything that is left is read and every code is there.
const LAST: Duration = Duration::from_secs(120);

/// The manager's whole memory.
pub struct Manager {
    socket: PathBuf,
    children: Children,
    ports: [u16; 2],
    shared: Arc<Mutex<Shared>>,
    expected: BTreeMap<String, Expected>,
    names: HashMap<ProcessId, String>,
    next_start: Instant,
    killed_acceptors: bool,
}

impl Manager {
    /// A manager that will connect to `socket` and start everything.
    pub fn new(socket: PathBuf, children: Children, ports: [u16; 2], shared: Arc<Mutex<Shared>>) -> Self {
        let mut manager = Self {
            socket,
            children,
            ports,
            shared,
            expected: BTreeMap::new(),
            names: HashMap::new(),
            next_start: Instant::now(),
            killed_acceptors: false,
        };
        let lasting = manager.children.lasting();
        manager.expected.extend(lasting.into_iter().map(|child| (child.spawn.name.clone(), child)));
        manager
    }

    /// How many children are to live to the end.
    pub fn lasting(&self) -> usize {
        self.expected.len()
    }

    /// Until everything has come to its end.
    pub fn run(mut self) -> Result<()> {
        let mut last: Option<Instant> = None;
        loop {
            match self.session(&mut last) {
                Ok(()) => return Ok(()),
                Err(error) if error.downcast_ref::<io::Error>().is_some() => pass(Duration::from_millis(2)),
                Err(error) => return Err(error),
            }
        }
    }

    fn shared(&self) -> std::sync::MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn complain(&self, text: String) {
        self.shared().tally.complain(text);
    }

    /// One connection. An I/O error is its end; anything else the end of the run.
    fn session(&mut self, last: &mut Option<Instant>) -> Result<()> {
        if self.shared().abort {
            bail!("the director gave up");
        }
        let gaps = self.shared().gaps;
        let connected = Link::connect(&self.socket);
        if let Err(error) = &connected {
            self.shared().refused_outside_of_a_gap(gaps, error, "the manager");
        }
        let mut link = connected?;
        self.shared().tally.sessions += 1;
        match link.request(TakeLease { holder: "nemesis".into(), grace_ms: 60_000, ext: vec![] })? {
            Ok(_) => {}
            // The core has not seen the end of our former connection yet.
            Err(refusal @ (Refusal::LeaseHeld { .. } | Refusal::NotPermitted { .. })) => {
                return Err(io::Error::other(refusal).into());
            }
            Err(refusal) => bail!("the lease: {refusal}"),
        }
        self.look(&mut link)?;
        link.request(Watch::default())?.map_err(io::Error::other)?;
        loop {
            self.take_orders();
            self.start_some(&mut link)?;
            // Short enough that children are started on time.
            if let Some(notice) = link.notice(Duration::from_millis(5))? {
                self.hear(&mut link, notice)?;
            }
            let (finish, abort) = {
                let shared = self.shared();
                (shared.finish, shared.abort)
            };
            if abort {
                bail!("the director gave up");
            }
            if finish && self.is_finished(&mut link, last)? {
                return Ok(());
            }
        }
    }

    /// After each connection: everybody who must be there is there, with the pid that it had.
    fn look(&mut self, link: &mut Link) -> Result<()> {
        self.names.clear();
        for (name, port) in ["web", "lone"].into_iter().zip(self.ports) {
            link.request(socket(name, port))?.map_err(|refusal| anyhow::anyhow!("the socket {name}: {refusal}"))?;
        }
        let mut found = BTreeMap::new();
        let mut after = ProcessId(0);
        loop {
            let list = link.request(List { after, prefix: String::new(), ext: vec![] })?;
            let Ok(Reply::Listing(page)) = list else { bail!("no list: {list:?}") };
            after = page.processes.last().map_or(after, |process| process.id);
            found.extend(page.processes.into_iter().map(|process| (process.name.clone(), process)));
            if !page.more {
                break;
            }
        }
        let mut lost = Vec::new();
        for (name, expected) in &mut self.expected {
            match (found.remove(name), &mut expected.seen) {
                (Some(process), Some(seen)) => {
                    if process.pid != seen.pid || process.id != seen.id {
                        lost.push(format!(
                            "{name} was {:?} {}, is {:?} {}",
                            seen.id, seen.pid, process.id, process.pid
                        ));
                    }
                    // The file is opened anew, as a manager that was started anew has to.
                    (seen.file, seen.ended) = (None, [false; 2]);
                    self.names.insert(process.id, name.clone());
                }
                // It was made, and the answer did not reach us; asking again must not make another.
                (Some(_), None) | (None, None) => {}
                (None, Some(seen)) if expected.was_told && seen.exit.is_some() => {}
                (None, Some(_)) => lost.push(format!("{name} is not known any more")),
            }
        }
        let strangers: Vec<String> = found.into_keys().collect();
        let mut shared = self.shared();
        shared.tally.pids_changed += u64::try_from(lost.len())?;
        for text in lost {
            shared.tally.complain(text);
        }
        if !strangers.is_empty() {
            shared.tally.complain(format!("nobody asked for {strangers:?}, or they were forgotten before"));
        }
        Ok(())
    }

    fn take_orders(&mut self) {
        let excused = std::mem::take(&mut self.shared().excused);
        for name in excused {
            if let Some(expected) = self.expected.get_mut(&name) {
                expected.may_be_unknown = true;
            }
        }
    }

    /// Children that are not there yet, and a short-lived one from time to time.
    fn start_some(&mut self, link: &mut Link) -> Result<()> {
        let short = self.expected.values().filter(|expected| expected.role == Role::Short).count();
        if short < SHORT_ONES && self.next_start <= Instant::now() && !self.shared().finish {
            self.next_start = Instant::now() + START_EVERY;
            let child = self.children.short_one();
            self.expected.insert(child.spawn.name.clone(), child);
        }
        let missing = self.expected.iter().filter(|(_, expected)| expected.seen.is_none());
        for name in missing.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
            self.start_one(link, &name)?;
        }
        Ok(())
    }

    fn start_one(&mut self, link: &mut Link, name: &str) -> Result<()> {
        let expected = self.expected.get(name).context("it is expected")?;
        if expected.role == Role::Short {
            self.shared().out.insert(name.to_owned(), None);
        }
        let process = match link.request(expected.spawn.clone())? {
            Ok(Reply::Spawned(spawned)) => spawned.process,
            other => bail!("{name} is not started: {other:?}"),
        };
        self.names.insert(process.id, name.to_owned());
        let mut shared = self.shared();
        if expected.role == Role::Short {
            shared.out.insert(name.to_owned(), Some(process.pid));
        } else {
            shared.lasting.insert(name.to_owned(), process.pid);
        }
        drop(shared);
        let (id, pid) = (process.id, process.pid);
        let seen = Seen { id, pid, file: None, at: [0; 2], ended: [false; 2], exit: None, words: Vec::new() };
        self.expected.get_mut(name).context("it is expected")?.seen = Some(seen);
        Ok(())
    }

    fn hear(&mut self, link: &mut Link, notice: Notice) -> Result<()> {
        let id = match &notice {
            Notice::Output(Output { process, .. })
            | Notice::StreamEnd(StreamEnd { process, .. })
            | Notice::Exited(Exited { process, .. }) => *process,
            Notice::LeaseLost(_) => bail!("somebody else has the lease"),
        };
        let Some(name) = self.names.get(&id).cloned() else {
            // Forgotten a moment ago, or made a moment ago by a request whose answer was lost: told again then.
            return Ok(());
        };
        match notice {
            Notice::Output(output) => self.read(link, &name, output.stream, output.head)?,
            Notice::StreamEnd(end) => {
                self.read(link, &name, end.stream, end.head)?;
                if let Some(seen) = self.seen(&name) {
                    seen.ended[end.stream.index()] = true;
                }
            }
            Notice::Exited(exited) => {
                if let Some(seen) = self.seen(&name) {
                    seen.exit = Some(exited.exit);
                }
            }
            Notice::LeaseLost(_) => {}
        }
        self.judge(link, &name)
    }

    fn seen(&mut self, name: &str) -> Option<&mut Seen> {
        self.expected.get_mut(name)?.seen.as_mut()
    }

    /// Reads a stream up to `head`, compares every byte, and lets the core have the room again.
    fn read(&mut self, link: &mut Link, name: &str, stream: Stream, head: u64) -> Result<()> {
        let expected = self.expected.get_mut(name).context("it is expected")?;
        let is_short = expected.role == Role::Short;
        let seen = expected.seen.as_mut().context("it was started")?;
        if seen.file.is_none() {
            match link.request(OpenProcess { process: seen.id, ext: vec![] })? {
                Ok(_) => seen.file = Some(File::from(link.newest_descriptor().context("no descriptor came")?)),
                Err(refusal) => bail!("{name}: {refusal}"),
            }
        }
        let file = seen.file.as_ref().context("it was opened")?;
        let from = seen.at[stream.index()];
        if head < from {
            self.complain(format!("{name}: {} went back from {from} to {head}", stream.name()));
            return Ok(());
        }
        // Not an I/O error of the connection.
        let (fresh, low) = fetch(file, stream, from, head).map_err(|error| anyhow::anyhow!("{name}: {error}"))?;
        seen.at[stream.index()] = head;
        let process = seen.id;
        if is_short {
            seen.words.extend_from_slice(&fresh);
        }
        link.cast(Ack { process, stream, offset: head })?;
        let mut shared = self.shared.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if low > from {
            shared.tally.lost_bytes += low - from;
            shared.tally.complain(format!("{name}: {} bytes of {} were dropped at {from}", low - from, stream.name()));
        }
        if !is_short {
            let tag = format!("{name}.{}", if stream == Stream::Stdout { "out" } else { "err" });
            compare(&tag, low, &fresh, &mut shared.tally);
        }
        Ok(())
    }

    /// A child that has ended, whose last words are read, is checked and forgotten.
    fn judge(&mut self, link: &mut Link, name: &str) -> Result<()> {
        let Some(expected) = self.expected.get_mut(name) else { return Ok(()) };
        let Some(seen) = &expected.seen else { return Ok(()) };
        let (Some(exit), [true, true]) = (seen.exit, seen.ended) else { return Ok(()) };
        if !expected.was_told {
            expected.was_told = true;
            let verdict = verdict(name, expected, exit, &self.children.folder);
            let mut shared = self.shared.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let tally = &mut shared.tally;
            match verdict {
                Verdict::Right => tally.codes_right += 1,
                Verdict::Excused => tally.codes_unknown_allowed += 1,
                Verdict::Wrong(text) => {
                    tally.codes_wrong += 1;
                    tally.complain(text);
                }
                Verdict::Missing(text) => {
                    tally.codes_missing += 1;
                    tally.complain(text);
                }
                Verdict::LostWords(bytes, text) => {
                    tally.lost_bytes += bytes;
                    tally.complain(text);
                }
            }
        }
        let process = self.seen(name).context("it was started")?.id;
        match link.request(Forget { process, ext: vec![] })? {
            // It was forgotten, and the answer did not reach us.
            Ok(_) | Err(Refusal::NotFound { .. }) => {}
            Err(refusal) => bail!("{name}: {refusal}"),
        }
        self.names.remove(&process);
        self.expected.remove(name);
        self.shared().out.remove(name);
        Ok(())
    }

    fn is_finished(&mut self, link: &mut Link, last: &mut Option<Instant>) -> Result<bool> {
        let begin = *last.get_or_insert_with(Instant::now);
        std::fs::write(self.children.folder.join("stop"), "")?;
        // Told and checked; the answer to its `Forget` went with a half, and nothing is told of it any more.
        self.expected.retain(|_, expected| !expected.was_told);
        let only_acceptors = self.expected.values().all(|expected| expected.role == Role::Acceptor);
        if only_acceptors && !self.killed_acceptors {
            self.killed_acceptors = true;
            for process in self.expected.values().filter_map(|expected| Some(expected.seen.as_ref()?.id)) {
                let kill = Signal { process, signal: 9, target: Target::Main, ext: vec![] };
                link.request(kill)?.map_err(io::Error::other)?;
            }
        }
        if begin.elapsed() > LAST {
            let left: Vec<String> = self.expected.iter().map(|(name, expected)| describe(name, expected)).collect();
            self.shared().tally.codes_missing += u64::try_from(left.len())?;
            self.complain(format!("still expected: {left:?}"));
            return Ok(true);
        }
        Ok(self.expected.is_empty())
    }

    /// Short-lived children that ran more than once.
    pub fn ran_twice(folder: &std::path::Path) -> BTreeMap<String, usize> {
        let mut ran = BTreeMap::new();
        for name in std::fs::read_to_string(folder.join("ran")).unwrap_or_default().lines() {
            *ran.entry(name.to_owned()).or_insert(0) += 1;
        }
        ran.retain(|_, count| *count > 1);
        ran
    }
}
