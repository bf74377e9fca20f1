//! Keys, where standard input is a terminal: it is asked for single keys without echo, and is what it was before at the end.
//! Ctrl-C stays a signal.

use super::arguments::Sort;
use rustix::io::{Errno, read};
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};
use std::future::pending;
use std::io::{self, IsTerminal as _};
use std::os::fd::{AsFd as _, OwnedFd};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// What a key means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// Sort by this.
    Sort(Sort),
    /// The other way round.
    Reverse,
    /// One watcher only: the next, or all again after the last.
    NextWatcher,
    /// A line up.
    Up,
    /// A line down.
    Down,
    /// A screen up.
    PageUp,
    /// A screen down.
    PageDown,
    /// To the beginning.
    Home,
    /// End.
    Quit,
}

/// What a terminal sends (ECMA-48 and xterm for the sequences), the longest first where one begins another.
const KEYS: &[(&[u8], Key)] = &[
    (b"\x1b[A", Key::Up),
    (b"\x1bOA", Key::Up),
    (b"\x1b[B", Key::Down),
    (b"\x1bOB", Key::Down),
    (b"\x1b[5~", Key::PageUp),
    (b"\x1b[6~", Key::PageDown),
    (b"\x1b[H", Key::Home),
    (b"\x1bOH", Key::Home),
    (b"\x1b[1~", Key::Home),
    (b"c", Key::Sort(Sort::Cpu)),
    (b"m", Key::Sort(Sort::Mem)),
    (b"a", Key::Sort(Sort::Age)),
    (b"p", Key::Sort(Sort::Pid)),
    (b"r", Key::Reverse),
    (b"w", Key::NextWatcher),
    (b"\t", Key::NextWatcher),
    (b"k", Key::Up),
    (b"j", Key::Down),
    (b" ", Key::PageDown),
    (b"q", Key::Quit),
];

/// What the last line of the screen says of them.
pub const HELP: &str = "sort: c cpu, m memory, a age, p pid   r reverse   w watcher   arrows   q quit";

/// The keys in what was read; what is none is skipped.
fn keys(mut bytes: &[u8]) -> Vec<Key> {
    let mut found = Vec::new();
    while let Some((_, after)) = bytes.split_first() {
        let pressed = KEYS.iter().find_map(|(sequence, key)| Some((bytes.strip_prefix(*sequence)?, *key)));
        bytes = match pressed {
            Some((rest, key)) => {
                found.push(key);
                rest
            }
            None => after,
        };
    }
    found
}

/// The terminal's keys; given back when dropped.
#[derive(Debug)]
pub struct Keyboard {
    terminal: Option<(AsyncFd<OwnedFd>, Termios)>,
}

impl Keyboard {
    /// Takes the keys over, if there are any. Needs a runtime around it.
    ///
    /// # Errors
    /// The terminal does not do what it is asked for.
    pub fn open() -> io::Result<Self> {
        let stdin = io::stdin();
        if !stdin.is_terminal() {
            return Ok(Self { terminal: None });
        }
        let before = tcgetattr(&stdin)?;
        let mut single = before.clone();
        single.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
        // A read gives what is there, and nothing at once: the terminal may be shared, so it stays a blocking one for others.
        single.special_codes[SpecialCodeIndex::VMIN] = 0;
        single.special_codes[SpecialCodeIndex::VTIME] = 0;
        let terminal = watched(stdin.as_fd().try_clone_to_owned()?)?;
        tcsetattr(&stdin, OptionalActions::Now, &single)?;
        Ok(Self { terminal: Some((terminal, before)) })
    }

    /// Whether there are keys.
    pub fn is_there(&self) -> bool {
        self.terminal.is_some()
    }

    /// The next keys; never without a terminal. Nothing is lost when it is dropped before.
    pub async fn next(&self) -> Vec<Key> {
        let Some((terminal, _)) = &self.terminal else {
            return pending().await;
        };
        let mut bytes = [0; 64];
        loop {
            let Ok(mut ready) = terminal.readable().await else {
                return pending().await;
            };
            match read(terminal.get_ref(), &mut bytes) {
                // The terminal is gone.
                Ok(0) if ready.ready().is_read_closed() => return vec![Key::Quit],
                Ok(0) | Err(Errno::AGAIN | Errno::INTR) => ready.clear_ready(),
                Ok(length) => return keys(bytes.get(..length).unwrap_or_default()),
                Err(_) => return pending().await,
            }
        }
    }
}

impl Drop for Keyboard {
    fn drop(&mut self) {
        if let Some((terminal, before)) = &self.terminal {
            // A terminal that is gone needs nothing back.
            let _ = tcsetattr(terminal.get_ref(), OptionalActions::Now, before);
        }
    }
}

#[allow(
    deprecated,
    reason = "its successor is unsafe for the sake of types that lie about their descriptor; OwnedFd does not"
)]
fn watched(file: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(file, Interest::READABLE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_and_sequences() {
        assert_eq!(keys(b"m\x1b[Bx\x1b[6~q"), [Key::Sort(Sort::Mem), Key::Down, Key::PageDown, Key::Quit]);
        assert_eq!(keys(b""), []);
        // Letters of a sequence that is none of ours are keys of their own; no key does harm.
        assert_eq!(keys(b"\x1b[Z"), []);
    }
}
