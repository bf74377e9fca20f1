//! What a former kernel half left open in the table of descriptors that it shared with the keeper.
//!
//! Pipes and listening sockets are known by their inodes, pidfds by their numbers and by what they say of themselves; both
//! are written in the state before anything depends on them. A process file is the one that its name leads to. Whatever is not
//! asked for is closed: clients, epoll sets, ends of pipes whose process never came to be.

use crate::state::{Facts, Phase, Slot, StateFile};
use crate::sys::{self, Holds};
use rustix::fs::{FileType, OFlags};
use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::Ordering;

/// Descriptors that nobody has asked for yet.
#[derive(Debug, Default)]
pub struct Inherited {
    pipes: HashMap<u64, OwnedFd>,
    sockets: HashMap<u64, OwnedFd>,
    pidfds: HashMap<RawFd, OwnedFd>,
    files: HashMap<Place, OwnedFd>,
}

/// Where a file lies: its file system and its inode there (`st_dev` and `st_ino` of stat(2)).
pub type Place = (u64, u64);

impl Inherited {
    /// Takes everything out of the table that is not in `kept`; what cannot be of use is closed at once. Nothing, where /proc
    /// is not mounted.
    pub fn take(kept: &HashSet<RawFd>, state: &StateFile) -> Self {
        let slots = state.used().into_iter().filter_map(|index| state.slot(index));
        let living = slots.filter(|slot| slot.facts().is_some_and(|facts| facts.phase == Phase::Running));
        let pidfds: HashSet<RawFd> = living.map(number_of_pidfd).collect();
        let mut left = Self::default();
        for descriptor in sys::inherited_but(kept).unwrap_or_default() {
            left.sort(descriptor, &pidfds);
        }
        left
    }

    fn sort(&mut self, descriptor: OwnedFd, pidfds: &HashSet<RawFd>) {
        let Ok(stat) = rustix::fs::fstat(&descriptor) else {
            return;
        };
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::Fifo {
            // As a rule it is our end. A spawn that was cut short left the child's as well, which is not for reading alone.
            keep(&mut self.pipes, stat.st_ino, descriptor, |mode| !mode.intersects(OFlags::WRONLY | OFlags::RDWR));
        } else if kind == FileType::Socket {
            self.sockets.insert(stat.st_ino, descriptor);
        } else if pidfds.contains(&descriptor.as_raw_fd()) {
            // Since Linux 6.9 it looks like a regular file.
            self.pidfds.insert(descriptor.as_raw_fd(), descriptor);
        } else if kind == FileType::RegularFile {
            // One that was on its way to a client is for reading alone.
            keep(&mut self.files, (stat.st_dev, stat.st_ino), descriptor, |mode| mode.contains(OFlags::RDWR));
        }
    }

    /// Our end of a pipe.
    pub fn pipe(&mut self, inode: u64) -> Option<OwnedFd> {
        self.pipes.remove(&inode)
    }

    /// The file that lies there, open for reading and writing.
    pub fn file(&mut self, place: Place) -> Option<OwnedFd> {
        let file = self.files.remove(&place)?;
        rustix::fs::fcntl_getfl(&file).is_ok_and(|mode| mode.contains(OFlags::RDWR)).then_some(file)
    }

    /// A socket.
    pub fn socket(&mut self, inode: u64) -> Option<OwnedFd> {
        self.sockets.remove(&inode)
    }

    /// The pidfd of a slot's process, also when that has ended and been reaped, and its parent as long as it has not.
    pub fn pidfd(&mut self, slot: Slot, facts: &Facts) -> Option<(OwnedFd, Option<i32>)> {
        let pidfd = self.pidfds.remove(&number_of_pidfd(slot))?;
        match sys::pidfd_holds(pidfd.as_fd()) {
            Holds::Process { pid, parent } if pid == facts.pid => Some((pidfd, Some(parent))),
            Holds::Reaped => Some((pidfd, None)),
            Holds::Process { .. } | Holds::Unknown => None,
        }
    }
}

/// Keeps a descriptor; of two for the same thing that which is open in the right way.
fn keep<K: Eq + Hash + Copy>(
    all: &mut HashMap<K, OwnedFd>,
    key: K,
    descriptor: OwnedFd,
    is_right: impl FnOnce(OFlags) -> bool,
) {
    if let Some(first) = all.insert(key, descriptor)
        && rustix::fs::fcntl_getfl(&first).is_ok_and(is_right)
    {
        all.insert(key, first);
    }
}

fn number_of_pidfd(slot: Slot) -> RawFd {
    RawFd::try_from(slot.pidfd().load(Ordering::Acquire) & 0xffff_ffff).unwrap_or(-1)
}
