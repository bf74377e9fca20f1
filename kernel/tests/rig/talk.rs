//! A conversation in Papa's text protocol.

use super::{PATIENCE, Rig};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Instant;

/// A client that waits for its prompt.
pub struct Talk<S> {
    pub stream: S,
    pub read: Vec<u8>,
}

impl Talk<UnixStream> {
    pub fn new(rig: &Rig) -> Self {
        Self::over(UnixStream::connect(rig.socket()).unwrap())
    }

    pub fn over(stream: UnixStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut talk = Self { stream, read: Vec::new() };
        assert_eq!(talk.until("> "), "Papa is home. Type \"help\" for commands.\n> ");
        talk
    }
}

impl<S: Read + Write> Talk<S> {
    /// What comes up to and with `end`.
    pub fn until(&mut self, end: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let seen = String::from_utf8_lossy(&self.read).into_owned();
            if let Some((before, _)) = seen.split_once(end) {
                let text = [before, end].concat();
                self.read.drain(..text.len());
                return text;
            }
            assert!(Instant::now() < deadline, "no {end:?} in {seen:?}");
            let mut bytes = [0; 65536];
            match self.stream.read(&mut bytes) {
                Ok(0) => panic!("the core hung up after {seen:?}"),
                Ok(count) => self.read.extend(&bytes[..count]),
                Err(error) => panic!("no {end:?} in {seen:?}: {error}"),
            }
        }
    }

    pub fn send(&mut self, line: &str) {
        self.stream.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// The answer without its prompt.
    pub fn ask(&mut self, line: &str) -> String {
        self.send(line);
        let answer = self.until("\n> ");
        answer.strip_suffix("\n> ").unwrap().to_owned()
    }

    /// Watches until nothing is left; gives all batches without their ends.
    pub fn watch(&mut self, patterns: &str) -> String {
        self.send(&format!("watch processes {patterns}"));
        self.until("\n");
        let mut items = String::new();
        loop {
            let mut bytes = [0; 1];
            while !self.read.ends_with(b"] ") && !self.read.ends_with(b"> ") {
                assert_eq!(self.stream.read(&mut bytes).unwrap(), 1, "{items}");
                self.read.push(bytes[0]);
            }
            let text = String::from_utf8(std::mem::take(&mut self.read)).unwrap();
            match text.strip_suffix("] ") {
                Some(batch) => items.push_str(batch),
                None => {
                    assert_eq!(text, "Nothing left to watch\n> ");
                    return items;
                }
            }
            self.send("");
        }
    }
}

/// The bytes of one stream in a watch's items.
pub fn of<'a>(items: &'a str, kind: &str) -> Vec<&'a str> {
    let mut lines = items.lines();
    let mut found = Vec::new();
    while let Some(line) = lines.next() {
        if line.starts_with(kind) {
            found.push(lines.next().unwrap());
        }
    }
    found
}
