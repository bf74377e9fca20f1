//! Going to the background: the starter returns when the core can be reached, or says why it cannot.

use crate::print::complain;
use crate::sys::{self, Fork};
use rustix::fs::{Mode, OFlags};
use rustix::pipe::PipeFlags;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;

/// The daemon's own file mode mask, as Papa has it (spec of Papa, section 1). Children get the starter's.
const UMASK: u32 = 0o027;

/// The child's end of the pipe to the starter: one byte of exit status, then the text of an error.
#[derive(Debug)]
pub struct Report {
    pipe: std::cell::RefCell<Option<File>>,
}

impl Report {
    /// Clients can connect: the starter may go, and the terminal is let go of.
    pub fn ready(&self) {
        if let Some(mut pipe) = self.pipe.take() {
            detach();
            // A starter that is gone does not need to know.
            let _ = pipe.write_all(&[0]);
        }
    }

    /// The core did not come up.
    pub fn failed(&self, code: u8, text: &str) {
        if let Some(mut pipe) = self.pipe.take() {
            let _ = pipe.write_all(&[code]);
            let _ = pipe.write_all(text.as_bytes());
        }
    }
}

/// Forks. The child leads a session of its own in `/` and runs `serve`, whose result is its exit status; the starter
/// gets the exit status to end with, after it has printed what went wrong.
pub fn start(serve: impl FnOnce(&Report) -> u8) -> io::Result<u8> {
    let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    match sys::fork()? {
        Fork::Parent(_) => {
            drop(write);
            Ok(hear(read))
        }
        Fork::Child => {
            drop(read);
            let report = Report { pipe: std::cell::RefCell::new(Some(File::from(write))) };
            let prepared = rustix::process::setsid()
                .and_then(|_| rustix::process::chdir("/"))
                .map(|()| rustix::process::umask(Mode::from_raw_mode(UMASK)));
            let code = match prepared {
                Ok(_) => serve(&report),
                Err(errno) => {
                    report.failed(1, &format!("starting a session: {errno}"));
                    1
                }
            };
            Ok(code)
        }
    }
}

fn hear(pipe: OwnedFd) -> u8 {
    let mut said = Vec::new();
    // An error here is an end without a word.
    let _ = File::from(pipe).read_to_end(&mut said);
    match said.split_first() {
        Some((0, _)) => 0,
        Some((code, text)) => {
            complain(&String::from_utf8_lossy(text));
            *code
        }
        None => {
            complain("the core ended before it could be reached");
            1
        }
    }
}

/// Standard input, output and error become /dev/null.
fn detach() {
    let Ok(null) = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) else {
        return;
    };
    let _ = rustix::stdio::dup2_stdin(&null);
    let _ = rustix::stdio::dup2_stdout(&null);
    let _ = rustix::stdio::dup2_stderr(&null);
}
