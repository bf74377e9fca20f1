//! What a former kernel half left open in the table of descriptors that it shared with the keeper.
//!
//! Pipes and listening sockets are known by their inodes, pidfds by their numbers and by what they say of themselves; both
//! are written in the state before anything depends on them. Whatever is not asked for is closed: clients, epoll sets, ends
//! of pipes whose process never came to be.

use crate::state::{Facts, Phase, Slot, StateFile};
use crate::sys::{self, Holds};
use rustix::fs::{FileType, OFlags};
use std::collections::{HashMap, HashSet};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::Ordering;

/// Descriptors that nobody has asked for yet.
#[derive(Debug, Default)]
pub struct Inherited {
    pipes: HashMap<u64, OwnedFd>,
    sockets: HashMap<u64, OwnedFd>,
    pidfds: HashMap<RawFd, OwnedFd>,
}

impl Inherited {
    /// Takes everything out of the table that is not in `kept`; what cannot be of use is closed at once. Nothing, where /proc
    /// is not mounted.
    pub fn take(kept: &HashSet<RawFd>, state: &StateFile) -> Self {
        let slots = state.used().into_iter().filter_map(|index| state.slot(index));
        let living = slots.filter(|slot| slot.facts().is_some_and(|facts| facts.phase == Phase::Running));
        let pidfds: HashSet<RawFd> = living.map(number_of_pidfd).collect();
        let mut left = Self::default();
        for number in sys::open_numbers().unwrap_or_default() {
            if kept.contains(&number) {
                continue;
            }
            if let Some(descriptor) = sys::inherited(number) {
                left.sort(descriptor, &pidfds);
            }
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
            let displaced = self.pipes.insert(stat.st_ino, descriptor);
            let ours = displaced.filter(|first| {
                let flags = rustix::fs::fcntl_getfl(first);
                flags.is_ok_and(|flags| !flags.intersects(OFlags::WRONLY | OFlags::RDWR))
            });
            if let Some(ours) = ours {
                self.pipes.insert(stat.st_ino, ours);
            }
        } else if kind == FileType::Socket {
            self.sockets.insert(stat.st_ino, descriptor);
        } else if pidfds.contains(&descriptor.as_raw_fd()) {
            self.pidfds.insert(descriptor.as_raw_fd(), descriptor);
        }
    }

    /// Our end of a pipe.
    pub fn pipe(&mut self, inode: u64) -> Option<OwnedFd> {
        self.pipes.remove(&inode)
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

fn number_of_pidfd(slot: Slot) -> RawFd {
    RawFd::try_from(slot.pidfd().load(Ordering::Acquire) & 0xffff_ffff).unwrap_or(-1)
}
