//! `attach`: a person on one side, the core's socket on the other, in Papa's text protocol.
//!
//! Answers are shown as they come, line by line; when the core waits for a line, so do we, with an editor. Nothing is
//! understood here but the prompt. Between programs, bytes are copied as they are.

use std::io::{self, IsTerminal, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;

use ringmaster_protocol::text::continuations;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::sockopt::socket_peercred;
use rustix::process::geteuid;
use rustyline::completion::Completer;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::Validator;
use rustyline::{Context, Helper};

use crate::failure::{Exit, Failure};
use crate::kernel::{KernelError, connect};
use crate::print::{complain, prompt, show};
use crate::run::Lookup;
use crate::shell::editor::LineEditor;
use crate::shell::input::{GARBLED, Input};

/// Bytes taken at a time. More than the buffer of standard input, which is therefore not used: it would hide bytes from poll.
const PORTION: usize = 64 << 10;

/// The core has answered; it has shown a batch.
const PROMPTS: [&[u8]; 2] = [b"> ", b"] "];

/// Two bytes that look like a prompt and after which nothing comes for so long are one. The core writes answer and prompt
/// together.
const QUIET: Timespec = Timespec { tv_sec: 0, tv_nsec: 30_000_000 };

/// Talks until somebody ends it.
///
/// # Errors
/// [`KernelError`], or our own streams.
pub fn run(socket: &Path, lookup: Lookup<'_>) -> Result<Exit, Failure> {
    let stream = connect(socket).map_err(|reason| KernelError::Absent { socket: socket.to_owned(), reason })?;
    trust(&stream, socket)?;
    let broken = |reason| Failure::from(KernelError::Broken { socket: socket.to_owned(), reason });
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        return copy(stream).map(|()| Exit::Done).map_err(broken);
    }
    let mut editor = LineEditor::open(TabKey, "attach-history", lookup)?;
    let mut talk = Talk { stream, rest: Vec::new() };
    while let Some(sign) = talk.listen().map_err(broken)? {
        match editor.next(&sign)? {
            Input::Line(line) => talk.say(&line).map_err(broken)?,
            Input::Garbled => {
                complain(GARBLED);
                talk.rest.extend_from_slice(sign.as_bytes());
            }
            Input::Dropped => talk.rest.extend_from_slice(sign.as_bytes()),
            Input::End | Input::Interrupted => {
                show("").map_err(Failure::Stdout)?;
                break;
            }
        }
    }
    Ok(Exit::Done)
}

/// Nobody but our own user and root hears what we type; it may hold secrets. Root talks to whom it wants.
fn trust(stream: &UnixStream, socket: &Path) -> Result<(), KernelError> {
    let own = geteuid().as_raw();
    let peer = socket_peercred(stream);
    let peer = peer.map_err(|errno| KernelError::Broken { socket: socket.to_owned(), reason: errno.into() })?;
    let owner = peer.uid.as_raw();
    if own == 0 || owner == own || owner == 0 {
        return Ok(());
    }
    Err(KernelError::Foreign { socket: socket.to_owned(), owner })
}

/// A conversation.
struct Talk {
    stream: UnixStream,
    /// What came behind the last whole line.
    rest: Vec<u8>,
}

impl Talk {
    /// Shows what comes until it is our turn; gives the prompt, or `None` when the core has hung up.
    fn listen(&mut self) -> io::Result<Option<String>> {
        let mut portion = vec![0; PORTION];
        loop {
            if PROMPTS.contains(&self.rest.as_slice()) && self.is_quiet()? {
                let sign = std::mem::take(&mut self.rest);
                return Ok(Some(String::from_utf8_lossy(&sign).into_owned()));
            }
            let count = match self.stream.read(&mut portion) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            self.rest.extend_from_slice(portion.get(..count).unwrap_or_default());
            let whole = match self.rest.iter().rposition(|byte| *byte == b'\n') {
                _ if count == 0 => self.rest.len(),
                Some(end) => end + 1,
                None => 0,
            };
            let lines: Vec<u8> = self.rest.drain(..whole).collect();
            prompt(&visible(&String::from_utf8_lossy(&lines)))?;
            if count == 0 {
                return Ok(None);
            }
        }
    }

    fn is_quiet(&self) -> io::Result<bool> {
        let mut waiting = [PollFd::new(&self.stream, PollFlags::IN)];
        match poll(&mut waiting, Some(&QUIET)) {
            Ok(ready) => Ok(ready == 0),
            Err(Errno::INTR) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    fn say(&mut self, line: &str) -> io::Result<()> {
        self.stream.write_all(format!("{line}\n").as_bytes())
    }
}

/// Text for a terminal: what a child wrote must not move the cursor, forge lines or turn the direction of writing.
fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => out.push(c),
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => out.extend(c.escape_unicode()),
            c if c.is_control() => out.extend(c.escape_default()),
            c => out.push(c),
        }
    }
    out
}

/// Copies both ways. The end of the input ends our half only: answers that are still to come are shown.
fn copy(mut stream: UnixStream) -> io::Result<()> {
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    let mut asking = true;
    let mut bytes = vec![0; PORTION];
    loop {
        let (typed, said) = {
            let mut waiting = vec![PollFd::new(&stream, PollFlags::IN)];
            if asking {
                waiting.push(PollFd::new(&input, PollFlags::IN));
            }
            match poll(&mut waiting, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
            let ready = |at: usize| waiting.get(at).is_some_and(|fd| !fd.revents().is_empty());
            (ready(1), ready(0))
        };
        if said {
            match stream.read(&mut bytes)? {
                0 => return Ok(()),
                count => output.write_all(bytes.get(..count).unwrap_or_default())?,
            }
            output.flush()?;
        }
        if typed {
            match input.read(&mut bytes)? {
                0 => {
                    asking = false;
                    stream.shutdown(Shutdown::Write)?;
                }
                count => stream.write_all(bytes.get(..count).unwrap_or_default())?,
            }
        }
    }
}

/// The words of the protocol's commands.
struct TabKey;

impl Completer for TabKey {
    type Candidate = String;

    fn complete(&self, line: &str, position: usize, _context: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        let (start, words) = continuations(line.get(..position).unwrap_or(line));
        Ok((start, words.into_iter().map(|word| format!("{word} ")).collect()))
    }
}

impl Hinter for TabKey {
    type Hint = String;
}
impl Highlighter for TabKey {}
impl Validator for TabKey {}
impl Helper for TabKey {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_cannot_command_the_terminal() {
        assert_eq!(visible("a\tb\n\u{1b}[2J\r\u{7}\u{9b}\u{202e}ä"), "a\tb\n\\u{1b}[2J\\r\\u{7}\\u{9b}\\u{202e}ä");
    }

    /// A pair of connected sockets that a user has made, and what another thinks of the one who serves.
    fn trusted(server: u32, client: u32) -> Result<(), KernelError> {
        use rustix::thread::{Uid, set_thread_res_uid};
        let become_user = |uid| {
            let uid = Uid::from_raw(uid);
            set_thread_res_uid(uid, uid, uid).unwrap();
        };
        let made = std::thread::spawn(move || {
            become_user(server);
            UnixStream::pair().unwrap()
        });
        let (stream, _other) = made.join().unwrap();
        let asked = std::thread::spawn(move || {
            become_user(client);
            trust(&stream, Path::new("/s"))
        });
        asked.join().unwrap()
    }

    #[test]
    fn nobody_else_hears_what_we_type() {
        if !geteuid().is_root() {
            eprintln!("skipped: only root can try it as other users");
            return;
        }
        let wrong = trusted(65534, 65533).unwrap_err().to_string();
        assert_eq!(wrong, "error: user 65534 serves /s; expected our own user or root");
        for (server, client) in [(65534, 65534), (0, 65534), (65534, 0)] {
            trusted(server, client).unwrap();
        }
    }

    #[test]
    fn what_is_shown_and_when_it_is_our_turn() {
        let (core, stream) = UnixStream::pair().unwrap();
        let mut talk = Talk { stream, rest: Vec::new() };
        (&core).write_all(b"Papa is home.\n> ").unwrap();
        assert_eq!(talk.listen().unwrap().as_deref(), Some("> "));
        talk.say("watch processes").unwrap();
        assert_eq!((&core).read(&mut [0; 100]).unwrap(), 16);
        (&core).write_all(b"Watching 1\nout:a:1.5:3\n> x\n] ").unwrap();
        assert_eq!(talk.listen().unwrap().as_deref(), Some("] "));
        drop(core);
        assert_eq!(talk.listen().unwrap(), None);
    }
}
