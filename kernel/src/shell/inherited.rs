//! What a former kernel half left open in the table of descriptors that it shared with the keeper.
//!
//! Pipes and listening sockets are known by their inodes, pidfds by their numbers and by what they say of themselves; both
//! are written in the state before anything depends on them. A process file is the one that its name leads to; by what it was called
//! it is looked for only when that name is gone. Whatever is not asked for is closed: clients, epoll sets, ends of pipes whose
//! process never came to be.

use super::ServeError;
use crate::state::{Facts, Phase, Slot, StateFile};
use crate::sys::{self, Holds};
use ringmaster_protocol::instance::file;
use rustix::fs::{AtFlags, FileType, OFlags, Stat};
use rustix::io::Errno;
use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::Ordering;

/// Descriptors that nobody has asked for yet.
#[derive(Debug, Default)]
pub struct Inherited {
    pipes: HashMap<u64, OwnedFd>,
    sockets: HashMap<u64, OwnedFd>,
    pidfds: HashMap<RawFd, OwnedFd>,
    files: HashMap<Place, OwnedFd>,
    /// The same by what they were called, once somebody has asked.
    named: HashMap<String, OwnedFd>,
}

/// Where a file lies: its file system and its inode there (`st_dev` and `st_ino` of stat(2)).
pub type Place = (u64, u64);

impl Inherited {
    /// Takes everything out of the table that is not in `kept`; what cannot be of use is closed at once. Nothing, where /proc
    /// is not mounted. An error closes nothing.
    pub fn take(kept: &HashSet<RawFd>, state: &StateFile) -> io::Result<Self> {
        let slots = state.used().into_iter().filter_map(|index| state.slot(index));
        let living = slots.filter(|slot| slot.facts().is_some_and(|facts| facts.phase == Phase::Running));
        let pidfds: HashSet<RawFd> = living.map(number_of_pidfd).collect();
        let mut left = ManuallyDrop::new(Self::default());
        let no_table =
            |error: io::Error| if error.kind() == io::ErrorKind::NotFound { Ok(Vec::new()) } else { Err(error) };
        let found: Vec<_> = sys::inherited_but(kept).or_else(no_table)?.into_iter().map(ManuallyDrop::new).collect();
        for descriptor in found {
            let stat = rustix::fs::fstat(&*descriptor)?;
            left.sort(ManuallyDrop::into_inner(descriptor), &stat, &pidfds);
        }
        Ok(ManuallyDrop::into_inner(left))
    }

    fn sort(&mut self, descriptor: OwnedFd, stat: &Stat, pidfds: &HashSet<RawFd>) {
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

    /// A file of ours whose last name was this, wherever that is or was.
    pub fn file_named(&mut self, name: &str) -> Option<OwnedFd> {
        let named = self.files.drain().filter_map(|(_, file)| Some((own_name(&file)?, file)));
        self.named.extend(named);
        self.named.remove(name)
    }

    /// Our end of a pipe.
    pub fn pipe(&mut self, inode: u64) -> Option<OwnedFd> {
        self.pipes.remove(&inode)
    }

    /// The file that lies there, open for reading and writing.
    pub fn file_at(&mut self, place: Place) -> Option<OwnedFd> {
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

/// What a file is called that only we can have opened for writing (proc(5), `/proc/PID/fd`); one that is removed, too.
fn own_name(file: &OwnedFd) -> Option<String> {
    let stat = rustix::fs::fstat(file).ok()?;
    let private = stat.st_uid == rustix::process::geteuid().as_raw() && stat.st_mode & 0o077 == 0;
    let writable = rustix::fs::fcntl_getfl(file).is_ok_and(|flags| flags.contains(OFlags::RDWR));
    let link =
        std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).ok().filter(|_| private && writable)?;
    let name = link.file_name()?.to_str()?;
    Some(name.strip_suffix(" (deleted)").unwrap_or(name).to_owned())
}

/// The state of the core whose program this one follows: where it belongs, or out of the table when somebody has removed it
/// there. A new one in its place would know of nobody.
pub fn state(directory: &OwnedFd) -> Result<StateFile, ServeError> {
    if rustix::fs::statat(directory, file::STATE, AtFlags::SYMLINK_NOFOLLOW).err() == Some(Errno::NOENT) {
        for number in sys::open_numbers().unwrap_or_default() {
            let copy = sys::copy(number).ok().filter(|copy| own_name(copy).as_deref() == Some(file::STATE));
            if let Some(state) = copy.filter(StateFile::recognises) {
                return super::serve::adopt_state(state);
            }
        }
    }
    super::open_state(directory)
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
