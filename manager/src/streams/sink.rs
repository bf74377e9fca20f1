//! The one writer of a target: a file with rotation, or circusd's own stdout.
//!
//! Streams that name the same file share its writer. After an error the part of the batch that was not written stays
//! here, so that the file goes on exactly where it stopped; nothing else is taken for this target until then.
//!
//! Before each batch one stat(2) of the path tells whether the file is still there, and how long it is: a file that was moved,
//! deleted or replaced is left, a truncated one begins anew.

use super::compose::Commit;
use super::moment::Moment;
use super::render::Tail;
use super::report::Action;
use super::rotation::{Rotation, cut, finish_line, shift};
use super::schedule::{keep, move_away};
use jiff::Timestamp;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{Error, ErrorKind, IsTerminal, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
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

/// How a file is looked after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Upkeep {
    pub(super) rotation: Rotation,
    /// Whether somebody is told when the file is not at its path any more.
    pub(super) moves: Moves,
}

/// What it means that a file is not at its path any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moves {
    /// Worth a word.
    Told,
    /// What is to be expected of it.
    Usual,
}

/// Which file is open (stat(2): `st_dev`, `st_ino`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    fn of(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

#[derive(Debug)]
enum Kind {
    File {
        path: PathBuf,
        upkeep: Upkeep,
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
    /// Of the open file; `None`: not known.
    identity: Option<Identity>,
    /// When its time is over, for [`Rotation::ByTime`].
    deadline: Option<Timestamp>,
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
    pub(super) fn file(path: PathBuf, upkeep: Upkeep) -> Self {
        Self::new(Kind::File { path, upkeep }, None)
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
            identity: None,
            deadline: None,
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
    pub(super) fn set_upkeep(&mut self, new: Upkeep) {
        if let Kind::File { upkeep, .. } = &mut self.kind
            && *upkeep != new
        {
            *upkeep = new;
            // Opened again, so that the deadline is made from the time of its last change.
            (self.file, self.deadline) = (None, None);
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
    pub(super) fn pause(&mut self, failure: &Failure, now: Moment) {
        let first = if is_full(&failure.error) { FULL_PAUSE } else { FIRST_PAUSE };
        let last = if is_full(&failure.error) { FIRST_PAUSE } else { LAST_PAUSE };
        let length = self.pause.map_or(first, |pause| (pause.length * 2).clamp(first, last));
        let until = now.steady + length;
        self.pause = Some(Pause { until, length });
    }

    /// Ends the pause.
    pub(super) fn resume(&mut self) {
        self.pause = None;
    }

    /// Leaves a file that is no longer at its path, and takes in what others did to its length. Gives whether somebody is to
    /// be told that it was left.
    pub(super) fn follow(&mut self) -> bool {
        let (Kind::File { path, upkeep }, Some(_)) = (&self.kind, &self.file) else {
            return false;
        };
        match std::fs::metadata(path) {
            Ok(metadata) if self.identity == Some(Identity::of(&metadata)) => {
                if metadata.is_file() {
                    self.size = metadata.len();
                    if self.size == 0 {
                        (self.line_start, self.tail) = (true, Tail::LineStart);
                    }
                }
                return false;
            }
            Err(error) if error.kind() != ErrorKind::NotFound => return false,
            Ok(_) | Err(_) => {}
        }
        self.file = None;
        upkeep.moves == Moves::Told
    }

    /// Opens the file if it is not open: `O_APPEND`, made with 0666 less the umask.
    pub(super) fn open(&mut self) -> Result<(), Failure> {
        let Kind::File { path, upkeep } = &self.kind else {
            return Ok(());
        };
        if self.file.is_some() {
            return Ok(());
        }
        let failed = |error| Failure { written: 0, action: Action::Open, error };
        let file = open_for_append(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        self.identity = Some(Identity::of(&metadata));
        (self.size, self.line_start) = end_of(&file, &metadata);
        self.tail = if self.line_start { Tail::LineStart } else { Tail::WithinUnknown };
        if let Rotation::ByTime(schedule) = &upkeep.rotation
            && self.deadline.is_none()
            && self.size > 0
        {
            let modified = metadata.modified().ok();
            let modified = modified.and_then(|time| Timestamp::try_from(time).ok());
            self.deadline = modified.map(|time| schedule.deadline(time));
        }
        self.file = Some(file);
        Ok(())
    }

    /// Appends all of `bytes`, rotating where it is due.
    pub(super) fn append(&mut self, bytes: &[u8], now: Timestamp) -> Result<(), Failure> {
        if self.is_gone() {
            return Ok(());
        }
        let mut written = 0;
        let mut may_rotate = true;
        while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
            self.open().map_err(|failure| Failure { written, ..failure })?;
            let length = self.next_length(rest, may_rotate, now);
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
                    return Err(Failure { written, action, error });
                }
            }
        }
        Ok(())
    }

    /// How many bytes of `rest` go out next; 0: rotate first.
    fn next_length(&mut self, rest: &[u8], may_rotate: bool, now: Timestamp) -> usize {
        let rotation = match &self.kind {
            Kind::File { upkeep, .. } if may_rotate => &upkeep.rotation,
            Kind::File { .. } | Kind::Inherited { piece: None } | Kind::Gone => return rest.len(),
            Kind::Inherited { piece: Some(piece) } => return rest.len().min(*piece),
        };
        match rotation {
            Rotation::Never => rest.len(),
            Rotation::BySize { max_bytes, backup_count: 0 } => {
                let length = u64::try_from(rest.len()).unwrap_or(u64::MAX);
                if self.size.saturating_add(length) >= *max_bytes { 0 } else { rest.len() }
            }
            Rotation::BySize { max_bytes, .. } => cut(rest, self.size, *max_bytes, self.line_start),
            Rotation::ByTime(schedule) => {
                // An empty file holds nothing of its interval: that begins now.
                let deadline = self.deadline.filter(|at| self.size > 0 || *at > now);
                let deadline = *self.deadline.insert(deadline.unwrap_or_else(|| schedule.deadline(now)));
                if now < deadline { rest.len() } else { finish_line(rest, self.line_start) }
            }
        }
    }

    /// Moves the file away, to be opened anew. `false`: not once more in this append, because nothing was moved.
    fn rotate(&mut self) -> bool {
        let Kind::File { path, upkeep } = &self.kind else {
            return false;
        };
        let outcome = match &upkeep.rotation {
            Rotation::Never | Rotation::BySize { backup_count: 0, .. } => {
                self.file = None;
                return false;
            }
            Rotation::BySize { backup_count, .. } => shift(path, *backup_count),
            Rotation::ByTime(schedule) => {
                let stamp = self.deadline.map(|deadline| schedule.stamp(deadline));
                move_away(path, &stamp.unwrap_or_default())
            }
        };
        let moved = outcome.is_ok();
        self.rotated = Some(outcome);
        if moved {
            if let Rotation::ByTime(schedule) = &upkeep.rotation {
                self.rotated = Some(keep(path, schedule));
            }
            (self.file, self.deadline) = (None, None);
        }
        moved
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

fn open_for_append(path: &Path) -> std::io::Result<File> {
    // O_NONBLOCK: a FIFO without a reader must not stop the thread; regular files ignore it.
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    let mut options = OpenOptions::new();
    options.append(true).create(true).custom_flags(flags);
    match options.read(true).open(path) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => options.read(false).open(path),
        opened => opened,
    }
}

/// Size of a regular file, and whether a new line begins at its end.
fn end_of(file: &File, metadata: &Metadata) -> (u64, bool) {
    let size = if metadata.is_file() { metadata.len() } else { 0 };
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
mod tests;
