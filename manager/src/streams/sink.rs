//! The one writer of a target: a file with rotation, or circusd's own stdout.
//!
//! Streams that name the same file share its writer. After an error the part of the batch that was not written stays
//! here, so that the file goes on exactly where it stopped; nothing else is taken for this target until then.
//!
//! Before each batch one stat(2) of the path tells whether the file is still there, and how long it is: a file that was moved,
//! deleted or replaced is left, a truncated one begins anew.

mod append;
mod calls;
mod finish;
mod path;
mod socket;
mod tidy;

pub(super) use append::Ledger;
pub(super) use calls::Handed;
pub(super) use finish::Found;
pub(super) use socket::Address;

use super::compose::Commit;
use super::journal::{Batch, End, Identity};
use super::loss::LossReason;
use super::moment::Moment;
use super::python::{PythonSpec, PythonStream};
use super::render::Tail;
use super::report::Action;
use super::retention::{Compressing, Retention};
use super::rotation::Rotation;
use jiff::Timestamp;
use socket::Socket;
use std::borrow::Cow;
use std::fs::{File, Metadata};
use std::io::{Error, ErrorKind, IsTerminal};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
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
    /// A datagram socket.
    Socket(Address),
    /// An object in Python.
    Python(Arc<PythonSpec>),
    /// circusd's own stdout.
    Stdout,
}

impl SinkKey {
    /// For people.
    pub(super) fn path(&self) -> Cow<'_, Path> {
        match self {
            Self::File(path) => Cow::Borrowed(path),
            Self::Socket(address) => Cow::Owned(address.path()),
            Self::Python(spec) => Cow::Owned(calls::name_of(spec)),
            Self::Stdout => Cow::Borrowed(Path::new("<stdout>")),
        }
    }

    /// Names it in the journal; the same for the same path in every build (FNV-1a, 64 bits).
    pub(super) fn hash(&self) -> u64 {
        let path = self.path();
        path.as_os_str()
            .as_encoded_bytes()
            .iter()
            .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
    }
}

/// Which file that is.
fn identity(metadata: &Metadata) -> Identity {
    Identity { device: metadata.dev(), inode: metadata.ino() }
}

/// How a file is looked after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Upkeep {
    pub(super) rotation: Rotation,
    /// Whether somebody is told when the file is not at its path any more.
    pub(super) moves: Moves,
    pub(super) retention: Retention,
    pub(super) fsync: Fsync,
}

/// When what is written is put on the disk itself, for the case that the machine dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fsync {
    /// When the system does it.
    Never,
    /// Within a second of the write, and as below.
    Interval,
    /// Before a file is moved away.
    Rotate,
}

/// What it means that a file is not at its path any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moves {
    /// Worth a word.
    Told,
    /// What is to be expected of it.
    Usual,
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
    Socket {
        address: Address,
        socket: Option<Socket>,
    },
    /// It takes a batch after another, each in its own time.
    Python {
        stream: PythonStream,
        handed: Option<Handed>,
        /// It is in trouble; nobody knows when it will take something.
        stuck: bool,
    },
    /// What was inherited leads nowhere any more; what comes is thrown away.
    Gone,
}

/// The pause after an error.
#[derive(Debug, Clone, Copy)]
struct Pause {
    /// `None`: it is over, and whether that helps will be seen.
    until: Option<Instant>,
    length: Duration,
}

/// The rest of a batch of which a part is written.
#[derive(Debug)]
pub(super) struct Owed {
    pub(super) bytes: Vec<u8>,
    pub(super) commit: Commit,
    pub(super) batch: Batch,
    /// Bytes of the batch before `bytes`.
    pub(super) done: u64,
}

/// The last trouble of a target: output that was lost meanwhile was lost because of it.
#[derive(Debug, Clone, Copy)]
struct Outage {
    reason: LossReason,
    since: Timestamp,
    /// `None`: it lasts.
    until: Option<Timestamp>,
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
    nature: Nature,
    /// What the journal knows has been looked at.
    pub(super) recovered: bool,
    /// When its time is over, for [`Rotation::ByTime`].
    deadline: Option<Timestamp>,
    size: u64,
    /// The last byte written is a newline, or there is none.
    line_start: bool,
    /// Whose line the last one is.
    pub(super) tail: Tail,
    pub(super) owed: Option<Owed>,
    pause: Option<Pause>,
    /// The trouble was told: what was tried in vain.
    pub(super) told: Option<Action>,
    outage: Option<Outage>,
    /// How the last rotation went, until it is told.
    rotated: Option<std::io::Result<()>>,
    /// Rotations that are not told yet.
    rotations: u64,
    told_of: ToldOf,
    /// Old files may have to be compressed.
    to_compress: bool,
    compressing: Option<Compressing>,
    /// Since when something waits for [`Fsync::Interval`].
    dirty_since: Option<Instant>,
    /// The disk of a test is full when the file has this size.
    #[cfg(test)]
    full_at: Option<u64>,
}

/// Whether what is open counts its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Nature {
    /// A file: the journal protects it.
    Regular,
    /// A terminal, a pipe, a device, a socket, or somebody else's file.
    Other,
}

/// Troubles that do not stop output, and were told.
#[derive(Debug, Default)]
struct ToldOf {
    rotation: bool,
    sync: bool,
}

impl Sink {
    /// A file; opened by the first [`Self::open`] or append.
    pub(super) fn file(path: PathBuf, upkeep: Upkeep) -> Self {
        Self::new(Kind::File { path, upkeep }, None)
    }

    /// A datagram socket; opened likewise.
    pub(super) fn socket(address: Address) -> Self {
        Self::new(Kind::Socket { address, socket: None }, None)
    }

    /// A descriptor that circusd was started with.
    pub(super) fn inherited(fd: OwnedFd) -> Self {
        let file = File::from(fd);
        // Somebody else's file, and perhaps shared with others: no promise is made for it.
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
            nature: Nature::Other,
            recovered: false,
            deadline: None,
            size: 0,
            line_start: true,
            tail: Tail::LineStart,
            owed: None,
            pause: None,
            told: None,
            outage: None,
            rotated: None,
            rotations: 0,
            told_of: ToldOf::default(),
            to_compress: false,
            compressing: None,
            dirty_since: None,
            #[cfg(test)]
            full_at: None,
        }
    }

    /// As if the disk had room for a file of `size` bytes.
    #[cfg(test)]
    pub(super) fn full_at(&mut self, size: u64) {
        self.full_at = Some(size);
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

    /// Opens a file or socket anew at the next write.
    pub(super) fn close(&mut self) {
        match &mut self.kind {
            Kind::File { .. } => self.file = None,
            Kind::Socket { socket, .. } => *socket = None,
            Kind::Inherited { .. } | Kind::Python { .. } | Kind::Gone => {}
        }
    }

    /// Nothing may be appended now.
    pub(super) fn is_blocked(&self) -> bool {
        self.owed.is_some() || self.retry_at().is_some() || self.has_handed()
    }

    /// When to try again.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.pause?.until
    }

    /// Our stdout leads nowhere any more.
    pub(super) fn is_gone(&self) -> bool {
        matches!(self.kind, Kind::Gone)
    }

    /// What changed about rotation since it was last asked: it begins to fail, or works again.
    pub(super) fn take_rotation_change(&mut self) -> Option<std::io::Result<()>> {
        let outcome = self.rotated.take()?;
        let told = std::mem::replace(&mut self.told_of.rotation, outcome.is_err());
        (told == outcome.is_ok()).then_some(outcome)
    }

    /// Rotations since it was last asked.
    pub(super) fn take_rotations(&mut self) -> u64 {
        std::mem::take(&mut self.rotations)
    }

    /// Whether what is written is protected by the journal.
    pub(super) fn is_exact(&self) -> bool {
        self.nature == Nature::Regular
    }

    /// Why output of the time between two instants could not be written; `None`: it could.
    pub(super) fn reason(&self, since: Timestamp, until: Timestamp) -> Option<LossReason> {
        let outage = self.outage?;
        let meets = outage.since <= until && outage.until.is_none_or(|end| end >= since);
        meets.then_some(outage.reason)
    }

    /// A write went well.
    pub(super) fn recover(&mut self, now: Moment) -> Option<Action> {
        self.pause = None;
        if let Some(outage) = &mut self.outage {
            outage.until.get_or_insert(now.wall);
        }
        self.told.take()
    }

    /// Begins a pause, or a longer one.
    pub(super) fn pause(&mut self, failure: &Failure, now: Moment) {
        if !is_full(&failure.error) {
            let (reason, lasting) =
                (LossReason::of(&failure.error), self.outage.filter(|outage| outage.until.is_none()));
            let since = lasting.map_or(now.wall, |outage| outage.since);
            self.outage = Some(Outage { reason, since, until: None });
        }
        let first = if is_full(&failure.error) { FULL_PAUSE } else { FIRST_PAUSE };
        let last = if is_full(&failure.error) { FIRST_PAUSE } else { LAST_PAUSE };
        let length = self.pause.map_or(first, |pause| (pause.length * 2).clamp(first, last));
        let until = Some(now.steady + length);
        self.pause = Some(Pause { until, length });
    }

    /// The pause is over; the next one will be longer unless something is written before.
    pub(super) fn try_again(&mut self) {
        if let Some(pause) = &mut self.pause {
            pause.until = None;
        }
    }

    /// Leaves a file that is no longer at its path, and takes in what others did to its length. Gives whether somebody is to
    /// be told that it was left.
    pub(super) fn follow(&mut self) -> bool {
        let (Kind::File { path, upkeep }, Some(_)) = (&self.kind, &self.file) else {
            return false;
        };
        match std::fs::metadata(path) {
            Ok(metadata) if self.identity == Some(identity(&metadata)) => {
                if self.nature == Nature::Regular && metadata.len() != self.size {
                    let Some(file) = &self.file else { return false };
                    (self.size, self.line_start) = end_of(file, &metadata);
                    self.tail = if self.line_start { Tail::LineStart } else { Tail::WithinUnknown };
                }
                return false;
            }
            Err(error) if error.kind() != ErrorKind::NotFound => return false,
            Ok(_) | Err(_) => {}
        }
        self.file = None;
        upkeep.moves == Moves::Told
    }

    /// Opens the file if it is not open: `O_APPEND`, made with 0666 less the umask. Connects a socket.
    pub(super) fn open(&mut self) -> Result<(), Failure> {
        let failed = |error| Failure { written: 0, action: Action::Open, error };
        let (path, upkeep) = match &mut self.kind {
            Kind::File { path, upkeep } if self.file.is_none() => (path, upkeep),
            Kind::Socket { address, socket: socket @ None } => {
                *socket = Some(Socket::connect(address).map_err(failed)?);
                return Ok(());
            }
            Kind::File { .. } | Kind::Socket { .. } | Kind::Inherited { .. } | Kind::Python { .. } | Kind::Gone => {
                return Ok(());
            }
        };
        let file = path::open_for_append(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        self.identity = Some(identity(&metadata));
        let ours = metadata.is_file() && !path::is_system(path);
        self.nature = if ours { Nature::Regular } else { Nature::Other };
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

    /// Takes up what the journal knows of the end of the file, if it is still that.
    pub(super) fn take_up(&mut self, end: &End) {
        if self.identity != Some(end.file) {
            return;
        }
        self.take_up_deadline(end.deadline);
        if self.size == end.size {
            self.tail = end.tail;
        }
    }

    fn take_up_deadline(&mut self, seconds: Option<i64>) {
        if let Kind::File { upkeep: Upkeep { rotation: Rotation::ByTime(_), .. }, .. } = &self.kind {
            let known = seconds.and_then(|seconds| Timestamp::from_second(seconds).ok());
            self.deadline = known.or(self.deadline);
        }
    }
}

/// The reader is slow, or a pipe has none yet; nothing is broken.
pub(super) fn is_full(error: &Error) -> bool {
    error.kind() == ErrorKind::WouldBlock
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
