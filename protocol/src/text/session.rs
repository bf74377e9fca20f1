//! One conversation: greeting, lines in, answers out, until the client leaves.

use super::command::{Command, find};
use super::watch::{Acked, Watch};
use super::words::{Lines, is_browser, split};
use super::{Host, TextError, help, list, people, process, socket, value};

/// The prompt.
const PROMPT: &[u8] = b"> ";

/// One connection that speaks text.
#[derive(Debug, Default)]
pub struct Session {
    lines: Lines,
    watch: Option<Watch>,
}

/// What is to become of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// It waits for the client, or for something to happen.
    Waiting,
    /// There is more to do once the client has read.
    Stalled,
    /// It is over when everything is sent.
    Over,
    /// It is over, and so is the core when nobody is left.
    Leaving,
    /// A browser: it is over at once.
    Foreign,
}

/// What one command comes to.
enum Step {
    /// An answer, and the prompt.
    Answer(Vec<u8>),
    /// Output follows behind this line.
    Watch(String, Watch),
    /// Nothing was asked.
    Blank,
    /// Last words.
    End(&'static [u8], After),
}

impl Session {
    /// Takes bytes as they arrive. `false`: the client sends more than any line may have.
    pub fn push(&mut self, bytes: &[u8]) -> bool {
        self.lines.push(bytes)
    }

    /// Does what there is to do, as long as `out` is shorter than `room`.
    pub fn run(&mut self, host: &mut impl Host, room: usize, out: &mut Vec<u8>) -> After {
        loop {
            if out.len() >= room {
                let more = self.lines.is_ready() || self.watch.as_ref().is_some_and(|watch| watch.stirred);
                return if more { After::Stalled } else { After::Waiting };
            }
            if self.watch.is_some() {
                if !self.follow(host, out) {
                    return After::Waiting;
                }
                continue;
            }
            let Some(line) = self.lines.next() else {
                return After::Waiting;
            };
            if is_browser(&line) {
                return After::Foreign;
            }
            match step(host, &line) {
                Ok(Step::Answer(text)) => say(out, &text),
                Ok(Step::Blank) => out.extend_from_slice(PROMPT),
                Ok(Step::Watch(line, watch)) => {
                    out.extend_from_slice(line.as_bytes());
                    out.push(b'\n');
                    self.watch = Some(watch);
                }
                Ok(Step::End(words, after)) => {
                    out.extend_from_slice(words);
                    return after;
                }
                Err(error) => say(out, format!("Error: {error}").as_bytes()),
            }
        }
    }

    /// One step of a watch. `false`: it waits for the client or for output.
    fn follow(&mut self, host: &mut impl Host, out: &mut Vec<u8>) -> bool {
        let Some(watch) = &mut self.watch else {
            return false;
        };
        if watch.unanswered {
            let Some(line) = self.lines.next() else {
                return false;
            };
            let acked = watch.acknowledge();
            let left = watch.len();
            let stopped = line.eq_ignore_ascii_case("q");
            let watched = acked.iter().map(|acked| acked.process).collect();
            host.acked(acked);
            if stopped {
                self.watch = None;
                host.left(watched);
                say(out, b"Stopped watching");
                return true;
            }
            return left > 0 || self.end_watch(out);
        }
        if !watch.settled || !watch.stirred {
            return false;
        }
        let batch = watch.batch(host);
        out.extend_from_slice(&batch);
        let left = watch.len();
        if left == 0 && batch.is_empty() {
            return self.end_watch(out);
        }
        !batch.is_empty()
    }

    fn end_watch(&mut self, out: &mut Vec<u8>) -> bool {
        self.watch = None;
        say(out, b"Nothing left to watch");
        true
    }

    /// Something may have happened to a watched process.
    pub fn stir(&mut self) {
        if let Some(watch) = &mut self.watch {
            watch.stirred = true;
        }
    }

    /// A watch whose first line the client may not have read yet, while there is something to show.
    pub fn is_settling(&self) -> bool {
        self.watch.as_ref().is_some_and(|watch| !watch.settled && watch.stirred)
    }

    /// The client has read it.
    pub fn settle(&mut self) {
        if let Some(watch) = &mut self.watch {
            watch.settled = true;
        }
    }

    /// Whether the client watches.
    pub fn is_watching(&self) -> bool {
        self.watch.is_some()
    }

    /// How far it has acknowledged what it watches.
    pub fn positions(&self) -> Vec<Acked> {
        self.watch.as_ref().map(Watch::positions).unwrap_or_default()
    }
}

/// An answer ends with a line's end and the prompt.
fn say(out: &mut Vec<u8>, text: &[u8]) {
    out.extend_from_slice(text);
    if !text.ends_with(b"\n") {
        out.push(b'\n');
    }
    out.extend_from_slice(PROMPT);
}

fn step(host: &mut impl Host, line: &str) -> Result<Step, TextError> {
    let words = split(line);
    if words.is_empty() {
        return Ok(Step::Blank);
    }
    let (command, rest) = find(&words)?;
    let done = |()| String::new();
    let text = match command {
        Command::ExitIfIdle if host.is_idle() => return Ok(Step::End(b"Exiting papa!\n> ", After::Leaving)),
        Command::ExitIfIdle => String::from("not idle"),
        Command::Quit => return Ok(Step::End(b"ok\n", After::Over)),
        Command::Help => help::text(rest),
        Command::Get => value::get(host, rest)?,
        Command::Set => value::set(host, rest).map(done)?,
        Command::ListProcesses => process::list(host, rest)?,
        Command::ListSockets => socket::list(host, rest)?,
        Command::ListValues => value::list(host, rest)?,
        Command::MakeSocket => socket::make(host, rest)?,
        Command::MakeProcess => {
            let made = process::make(host, rest)?;
            let line = list::process(&made.info);
            if made.watch {
                return Ok(Step::Watch(line, Watch::of(host, &[made.info])));
            }
            line
        }
        Command::RemoveProcesses => process::remove(host, rest).map(done)?,
        Command::RemoveSockets => socket::remove(host, rest).map(done)?,
        Command::RemoveValues => value::remove(host, rest).map(done)?,
        Command::Signal => people::signal(host, rest)?,
        Command::Status => people::status(host)?,
        Command::Tail => return people::tail(host, rest).map(Step::Answer),
        Command::WatchProcesses => {
            let watch = Watch::begin(host, rest)?;
            return Ok(Step::Watch(format!("Watching {}", watch.len()), watch));
        }
    };
    Ok(Step::Answer(text.into_bytes()))
}
