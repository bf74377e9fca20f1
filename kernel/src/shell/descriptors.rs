//! The descriptors of a child: pipes, sockets, and how they come to their numbers.

use super::socket;
use crate::limits::{STAGE_FIRST, STAGE_PLACES};
use crate::sys::Placement;
use ringmaster_protocol::message::{Listen, Refusal, Spawn, Stdin, Stdout};
use rustix::fs::{Gid, Mode, OFlags, Uid};
use rustix::io::{DupFlags, dup3, fcntl_dupfd_cloexec};
use rustix::pipe::PipeFlags;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

/// A listening socket, as the launcher needs it.
#[derive(Debug)]
pub struct Inheritable {
    /// What was asked for.
    pub listen: Listen,
    /// The number in children.
    pub number: u32,
    /// The socket; `None` with `reuse_port`.
    pub socket: Option<OwnedFd>,
}

/// The descriptors of a child: where each number comes from.
pub type Sources<'a> = BTreeMap<RawFd, BorrowedFd<'a>>;

/// Where each descriptor of a child comes from.
pub fn sources<'a>(
    null: &'a OwnedFd,
    spawn: &Spawn,
    passed: &'a [OwnedFd],
    sockets: &'a BTreeMap<String, Inheritable>,
    fresh: &'a BTreeMap<String, OwnedFd>,
    pipes: &'a [Option<Ends>; 2],
) -> Result<Sources<'a>, Refusal> {
    let missing = |what: &str| Refusal::NotFound { what: "descriptor".into(), name: what.into() };
    let given = |n: u8| passed.get(usize::from(n)).map(AsFd::as_fd);
    let socket = |name: &str| {
        let kept = sockets.get(name).and_then(|socket| socket.socket.as_ref());
        kept.or_else(|| fresh.get(name)).map(AsFd::as_fd)
    };
    let mut sources = Sources::new();
    let stdin = match &spawn.stdin {
        Stdin::Null => Some(null.as_fd()),
        Stdin::Socket(name) => socket(name),
        Stdin::Passed(n) => given(*n),
    };
    sources.insert(0, stdin.ok_or_else(|| missing("stdin"))?);
    for (target, (wanted, ends)) in (1..).zip([spawn.stdout, spawn.stderr].into_iter().zip(pipes)) {
        let source = match wanted {
            Stdout::Captured => ends.as_ref().map(|ends| ends.child.as_fd()),
            Stdout::Null => Some(null.as_fd()),
            Stdout::Passed(n) => given(n),
            Stdout::Merged => sources.get(&1).copied(),
        };
        sources.insert(target, source.ok_or_else(|| missing("stdout or stderr"))?);
    }
    for name in &spawn.sockets {
        let number = sockets.get(name).and_then(|known| RawFd::try_from(known.number).ok());
        let (Some(number), Some(source)) = (number, socket(name)) else {
            return Err(Refusal::NotFound { what: "socket".into(), name: name.clone() });
        };
        sources.insert(number, source);
    }
    Ok(sources)
}

/// Sockets with `reuse_port` are made anew for every process.
pub fn fresh_sockets(
    spawn: &Spawn,
    sockets: &BTreeMap<String, Inheritable>,
) -> Result<BTreeMap<String, OwnedFd>, Refusal> {
    let stdin = match &spawn.stdin {
        Stdin::Socket(name) => Some(name),
        Stdin::Null | Stdin::Passed(_) => None,
    };
    let mut fresh = BTreeMap::new();
    for name in spawn.sockets.iter().chain(stdin) {
        if let Some(known) = sockets.get(name).filter(|known| known.listen.reuse_port)
            && !fresh.contains_key(name)
        {
            let (made, _) = socket::bind(&known.listen)?;
            fresh.insert(name.clone(), made);
        }
    }
    Ok(fresh)
}

/// Low numbers in our own table at which the sources of one child lie while it is made. So the child copies the few
/// descriptors below their end, not the thousands that belong to its siblings.
pub struct Stage {
    null: OwnedFd,
    places: Vec<OwnedFd>,
    used: usize,
}

/// Sources where the child finds them.
#[derive(Debug, Default)]
pub struct Staged {
    /// In ascending order of their targets.
    pub placements: Vec<Placement>,
    /// All sources lie below it; `None`: anywhere.
    pub table_end: Option<RawFd>,
    /// Open until the child has them.
    pub copies: Vec<OwnedFd>,
}

impl Stage {
    /// Takes the numbers, as early as possible.
    pub fn new() -> io::Result<Self> {
        let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
        let places = (0..STAGE_PLACES).map(|_| fcntl_dupfd_cloexec(&null, STAGE_FIRST)).collect::<Result<_, _>>()?;
        Ok(Self { null, places, used: 0 })
    }

    /// Puts every source above every target, so that the child can place them in any order. [`Self::clear`] follows.
    pub fn place(&mut self, sources: &Sources<'_>) -> io::Result<Staged> {
        let highest = sources.keys().max().copied().unwrap_or(0);
        let numbers = self.places.iter().map(AsRawFd::as_raw_fd);
        let (first, end) = (numbers.clone().min().unwrap_or(0), numbers.max().map_or(0, |last| last + 1));
        if highest >= first || sources.len() > self.places.len() {
            return copy_above(sources, highest + 1);
        }
        let mut placements = Vec::with_capacity(sources.len());
        for (target, source) in sources {
            let (mut number, within) = (source.as_raw_fd(), highest + 1..end);
            if !within.contains(&number)
                && let Some(place) = self.places.get_mut(self.used)
            {
                dup3(source, place, DupFlags::CLOEXEC)?;
                number = place.as_raw_fd();
                self.used += 1;
            }
            placements.push(Placement { source: number, target: *target });
        }
        Ok(Staged { placements, table_end: Some(end), copies: Vec::new() })
    }

    /// Lets go of the sources: a pipe that we hold at its child's end would never come to its own.
    pub fn clear(&mut self) {
        for place in self.places.iter_mut().take(self.used) {
            // dup3 onto an open number fails only for want of a valid source.
            let _ = dup3(&self.null, place, DupFlags::CLOEXEC);
        }
        self.used = 0;
    }
}

/// For a child with more descriptors than the stage has, or with higher numbers.
fn copy_above(sources: &Sources<'_>, floor: RawFd) -> io::Result<Staged> {
    let mut staged = Staged::default();
    for (target, source) in sources {
        let copy = fcntl_dupfd_cloexec(source, floor)?;
        staged.placements.push(Placement { source: copy.as_raw_fd(), target: *target });
        staged.copies.push(copy);
    }
    Ok(staged)
}

/// The two ends of a captured stream.
#[derive(Debug)]
pub struct Ends {
    /// Ours; does not block.
    pub read: OwnedFd,
    /// The child's.
    pub child: OwnedFd,
    /// Of the pipe.
    pub inode: u64,
}

impl Ends {
    /// The child's end is the pipe opened anew for reading and writing: while the child lives the pipe has a reader, so
    /// no death of ours can give it SIGPIPE (research: 3,000 total losses without one lost line).
    pub fn for_stream(wanted: Stdout, spawn: &Spawn) -> io::Result<Option<Self>> {
        if wanted != Stdout::Captured {
            return Ok(None);
        }
        let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        if spawn.uid.is_some() || spawn.gid.is_some() {
            // So that the child may open /dev/stdout under its own user.
            let owner = |uid: Option<u32>| uid.filter(|uid| *uid != u32::MAX);
            let (uid, gid) = (owner(spawn.uid).map(Uid::from_raw), owner(spawn.gid).map(Gid::from_raw));
            // One who may not give it away may not change its user either, and learns so from that step.
            let _ = rustix::fs::fchown(&write, uid, gid);
        }
        let path = format!("/proc/self/fd/{}", write.as_raw_fd());
        let child = rustix::fs::open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
        let inode = rustix::fs::fstat(&read)?.st_ino;
        Ok(Some(Self { read, child, inode }))
    }
}
