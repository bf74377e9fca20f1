//! `papa attach`: a terminal on one side, the instance's socket on the other.
//!
//! Bytes are copied both ways and nothing is understood here. The terminal stays in its line mode, so that its own editing works;
//! history is a matter for a wrapper such as rlwrap.

use crate::status::{StatusError, connect};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;

/// Talks until the core or the terminal ends the conversation. The end of the input ends our half only: answers that are
/// still to come are shown.
pub fn run(socket: &Path) -> Result<(), StatusError> {
    let stream = connect(socket).map_err(|source| StatusError::Absent { path: socket.to_owned(), source })?;
    copy(stream).map_err(|source| StatusError::Broken { path: socket.to_owned(), source })
}

fn copy(mut stream: UnixStream) -> io::Result<()> {
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    let mut asking = true;
    // Larger than the buffer of standard input, which is therefore not used, and never holds what poll cannot see.
    let mut bytes = vec![0; 64 << 10];
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
