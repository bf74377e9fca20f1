//! The one writer of a target: a file with rotation, or circusd's own stdout.
//!
//! Streams that name the same file share its writer. After an error the part of the batch that was not written stays
//! here, so that the file goes on exactly where it stopped; nothing else is taken for this target until then.

use super::compose::Commit;
use super::render::Tail;
use super::report::Action;
use super::rotation::{Rotation, cut, shift};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind, IsTerminal, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// First pause after an error, doubled up to [`LAST_PAUSE`]: short enough for a directory that is made a moment too late.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// Longest pause between two attempts: somebody who has just made room on the disk waits no longer than this.
const LAST_PAUSE: Duration = Duration::from_secs(30);

/// First pause when a terminal or pipe takes nothing, doubled likewise: a reader that is merely slow is back soon.
const FULL_PAUSE: Duration = Duration::from_millis(20);

/// Bytes that a pipe takes without blocking once poll(2) says that it is writable (`PIPE_BUF`, pipe(7)).
const PIPE_PIECE: usize = 4096;

/// The same for a terminal, which promises less.
const TERMINAL_PIECE: usize = 256;

/// Names a target.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SinkKey {
    /// The file at an absolute path.
    File(PathBuf),
    /// circusd's own stdout.
    Stdout,
}

impl SinkKey {
    /// For people.
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::File(path) => path,
            Self::Stdout => Path::new("<stdout>"),
        }
    }
}

#[derive(Debug)]
enum Kind {
    File {
        path: PathBuf,
        rotation: Rotation,
    },
    /// `piece`: bytes that may be written without blocking; `None`: any number.
    Inherited {
        piece: Option<usize>,
    },
    /// What was inherited leads nowhere any more; what comes is thrown away.
    Gone,
}

/// The pause after an error.
#[derive(Debug, Clone, Copy)]
struct Pause {
    until: Instant,
    length: Duration,
}

/// The rest of a batch that could not be written.
#[derive(Debug)]
pub(super) struct Owed {
    pub(super) bytes: Vec<u8>,
    pub(super) commit: Commit,
}

/// Why an append stopped.
#[derive(Debug)]
pub(super) struct Failure {
    /// Bytes of the batch that are written.
    pub(super) written: usize,
    pub(super) action: Action,
    pub(super) error: Error,
}

/// One target.
#[derive(Debug)]
pub(super) struct Sink {
    kind: Kind,
    file: Option<File>,
    size: u64,
    /// The last byte written is a newline, or there is none.
    line_start: bool,
    /// Whose line the last one is.
    pub(super) tail: Tail,
    pub(super) owed: Option<Owed>,
    pause: Option<Pause>,
    /// The trouble was told.
    pub(super) told: bool,
    /// How the last rotation went, until it is told.
    rotated: Option<std::io::Result<()>>,
    /// The trouble with rotation was told.
    rotation_told: bool,
}

impl Sink {
    /// A file; opened by the first [`Self::open`] or append.
    pub(super) fn file(path: PathBuf, rotation: Rotation) -> Self {
        Self::new(Kind::File { path, rotation }, None)
    }

    /// A descriptor that circusd was started with.
    pub(super) fn inherited(fd: OwnedFd) -> Self {
        let file = File::from(fd);
        let regular = file.metadata().is_ok_and(|metadata| metadata.is_file());
        let piece = match (regular, file.is_terminal()) {
            (true, _) => None,
            (false, true) => Some(TERMINAL_PIECE),
            (false, false) => Some(PIPE_PIECE),
        };
        Self::new(Kind::Inherited { piece }, Some(file))
    }

    fn new(kind: Kind, file: Option<File>) -> Self {
        Self {
            kind,
            file,
            size: 0,
            line_start: true,
            tail: Tail::LineStart,
            owed: None,
            pause: None,
            told: false,
            rotated: None,
            rotation_told: false,
        }
    }

    /// Whether people look at it directly.
    pub(super) fn is_terminal(&self) -> bool {
        self.file.as_ref().is_some_and(IsTerminal::is_terminal)
    }

    /// Other settings for the same file.
    pub(super) fn set_rotation(&mut self, new: Rotation) {
        if let Kind::File { rotation, .. } = &mut self.kind {
            *rotation = new;
        }
    }

    /// Opens a file anew at the next write.
    pub(super) fn close(&mut self) {
        if let Kind::File { .. } = self.kind {
            self.file = None;
        }
    }

    /// Nothing may be appended now.
    pub(super) fn is_blocked(&self) -> bool {
        self.pause.is_some() || self.owed.is_some()
    }

    /// When to try again.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.pause.map(|pause| pause.until)
    }

    /// Our stdout leads nowhere any more.
    pub(super) fn is_gone(&self) -> bool {
        matches!(self.kind, Kind::Gone)
    }

    /// What changed about rotation since it was last asked: it begins to fail, or works again.
    pub(super) fn take_rotation_change(&mut self) -> Option<std::io::Result<()>> {
        let outcome = self.rotated.take()?;
        let told = std::mem::replace(&mut self.rotation_told, outcome.is_err());
        (told == outcome.is_ok()).then_some(outcome)
    }

    /// Begins a pause, or a longer one.
    pub(super) fn pause(&mut self, failure: &Failure, now: Instant) {
        let first = if is_full(&failure.error) {
            FULL_PAUSE
        } else {
            FIRST_PAUSE
        };
        let last = if is_full(&failure.error) {
            FIRST_PAUSE
        } else {
            LAST_PAUSE
        };
        let length = self
            .pause
            .map_or(first, |pause| (pause.length * 2).clamp(first, last));
        let until = now + length;
        self.pause = Some(Pause { until, length });
    }

    /// Ends the pause.
    pub(super) fn resume(&mut self) {
        self.pause = None;
    }

    /// Opens the file if it is not open: `O_APPEND`, made with 0666 less the umask.
    pub(super) fn open(&mut self) -> Result<(), Failure> {
        let Kind::File { path, .. } = &self.kind else {
            return Ok(());
        };
        if self.file.is_some() {
            return Ok(());
        }
        // O_NONBLOCK: a FIFO without a reader must not stop the thread; regular files ignore it.
        let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
        let mut options = OpenOptions::new();
        options.append(true).create(true).custom_flags(flags);
        let opened = match options.read(true).open(path) {
            Err(error) if error.kind() == ErrorKind::PermissionDenied => options.read(false).open(path),
            opened => opened,
        };
        match opened {
            Ok(file) => {
                (self.size, self.line_start) = end_of(&file);
                self.tail = if self.line_start {
                    Tail::LineStart
                } else {
                    Tail::WithinUnknown
                };
                self.file = Some(file);
                Ok(())
            }
            Err(error) => {
                let (written, action) = (0, Action::Open);
                Err(Failure {
                    written,
                    action,
                    error,
                })
            }
        }
    }

    /// Appends all of `bytes`, rotating where it is due.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        if self.is_gone() {
            return Ok(());
        }
        self.refresh_size();
        let mut written = 0;
        let mut may_rotate = true;
        while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
            self.open().map_err(|failure| Failure { written, ..failure })?;
            let length = self.next_length(rest, may_rotate);
            if length == 0 {
                may_rotate = self.rotate();
                continue;
            }
            let piece = rest.get(..length).unwrap_or(rest);
            match self.write_once(piece) {
                Ok(taken) => {
                    written += taken;
                    self.size += u64::try_from(taken).unwrap_or(0);
                    self.line_start = taken.checked_sub(1).and_then(|last| piece.get(last)) == Some(&b'\n');
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    if matches!(self.kind, Kind::Inherited { .. }) && !is_full(&error) {
                        self.kind = Kind::Gone;
                    }
                    let action = Action::Write;
                    return Err(Failure {
                        written,
                        action,
                        error,
                    });
                }
            }
        }
        Ok(())
    }

    /// Others may write to or truncate the file; its size decides about rotation.
    fn refresh_size(&mut self) {
        if let (Kind::File { rotation, .. }, Some(file)) = (&self.kind, &self.file)
            && rotation.max_bytes > 0
            && let Ok(metadata) = file.metadata()
        {
            self.size = metadata.len();
        }
    }

    /// How many bytes of `rest` go out next; 0: rotate first.
    fn next_length(&self, rest: &[u8], may_rotate: bool) -> usize {
        match &self.kind {
            Kind::File { rotation, .. } if rotation.max_bytes > 0 && may_rotate => {
                if rotation.backup_count == 0 {
                    let length = u64::try_from(rest.len()).unwrap_or(u64::MAX);
                    return if self.size + length >= rotation.max_bytes {
                        0
                    } else {
                        rest.len()
                    };
                }
                cut(rest, self.size, rotation.max_bytes, self.line_start)
            }
            Kind::File { .. } | Kind::Inherited { piece: None } | Kind::Gone => rest.len(),
            Kind::Inherited { piece: Some(piece) } => rest.len().min(*piece),
        }
    }

    /// Moves the file away, to be opened anew. `false`: not once more in this append, because nothing was moved.
    fn rotate(&mut self) -> bool {
        let Kind::File { path, rotation } = &self.kind else {
            return false;
        };
        if rotation.backup_count == 0 {
            self.file = None;
            return false;
        }
        match shift(path, rotation.backup_count) {
            Ok(()) => {
                self.rotated = Some(Ok(()));
                self.file = None;
                true
            }
            Err(error) => {
                self.rotated = Some(Err(error));
                false
            }
        }
    }

    fn write_once(&self, piece: &[u8]) -> std::io::Result<usize> {
        let Some(mut file) = self.file.as_ref() else {
            return Err(Error::from(ErrorKind::NotFound));
        };
        if let Kind::Inherited { piece: Some(_) } = self.kind {
            let mut waiting = [PollFd::new(file, PollFlags::OUT)];
            if poll(&mut waiting, Some(&Timespec::default()))? == 0 {
                return Err(Error::from(ErrorKind::WouldBlock));
            }
        }
        match file.write(piece) {
            Ok(0) => Err(Error::from(ErrorKind::WriteZero)),
            outcome => outcome,
        }
    }
}

/// The reader is slow, or a pipe has none yet; nothing is broken.
pub(super) fn is_full(error: &Error) -> bool {
    error.kind() == ErrorKind::WouldBlock
}

/// Size of a regular file, and whether a new line begins at its end.
fn end_of(file: &File) -> (u64, bool) {
    let size = match file.metadata() {
        Ok(metadata) if metadata.is_file() => metadata.len(),
        Ok(_) | Err(_) => 0,
    };
    let mut last = [b'\n'];
    if let Some(at) = size.checked_sub(1)
        && file.read_exact_at(&mut last, at).is_err()
    {
        // Not readable for us: then nobody can tell.
        last = [b'\n'];
    }
    (size, last == [b'\n'])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{PipeReader, Read, pipe};

    fn piped() -> (Sink, PipeReader) {
        let (reader, writer) = pipe().unwrap();
        (Sink::inherited(writer.into()), reader)
    }

    #[test]
    fn a_full_pipe_never_blocks_and_goes_on_where_it_stopped() {
        let (mut sink, mut reader) = piped();
        let text: Vec<u8> = (0..200_000u32).map(|n| n.to_le_bytes()[0]).collect();
        let (mut done, mut seen) = (0, Vec::new());
        let mut stops = 0;
        while done < text.len() {
            match sink.append(&text[done..]) {
                Ok(()) => done = text.len(),
                Err(failure) => {
                    assert!(is_full(&failure.error), "{failure:?}");
                    assert!(failure.written > 0, "no progress after {done}");
                    done += failure.written;
                    stops += 1;
                    let mut part = vec![0; done - seen.len()];
                    reader.read_exact(&mut part).unwrap();
                    seen.extend(part);
                }
            }
        }
        assert!(stops > 0 && !sink.is_gone());
        drop(sink);
        reader.read_to_end(&mut seen).unwrap();
        assert!(seen == text, "the bytes differ");
    }

    #[test]
    fn a_pipe_without_reader_is_given_up() {
        let (mut sink, reader) = piped();
        drop(reader);
        let failure = sink.append(b"x").unwrap_err();
        assert_eq!(failure.error.kind(), ErrorKind::BrokenPipe);
        assert!(sink.is_gone());
        assert!(sink.append(b"y").is_ok());
    }
}
