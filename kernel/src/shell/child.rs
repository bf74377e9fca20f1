//! What the shell holds for one process, and capture into its file.

use super::file::ProcessFile;
use super::groups::GroupName;
use super::kin::{Kin, Writers};
use super::tree::{self, Identity};
use crate::core::of;
use crate::core::ring::{Capture, Captured, RingStore, Where, carry_out};
use crate::limits::MAX_REMEMBERED;
use crate::state::{Facts, Slot};
use crate::sys;
use ringmaster_protocol::ring::{Record, Stream};
use rustix::fs::MemfdFlags;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering;

/// A pipe's end of ours.
#[derive(Debug)]
pub struct Pipe {
    /// Reads; does not block.
    pub read: OwnedFd,
    /// Whether it is waited for.
    pub watch: Watch,
    /// It was given more room than pipes have.
    pub wide: bool,
}

/// Whether a pipe is in the set of descriptors that are waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watch {
    /// No.
    No,
    /// Not yet: clients come first (`shell/later.rs`).
    Soon,
    /// Yes.
    Yes,
}

impl Pipe {
    /// Not waited for yet.
    pub fn new(read: OwnedFd) -> Self {
        Self { read, watch: Watch::No, wide: false }
    }
}

/// Who made a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// This core: it is our child, and its orphans come to us.
    Ours,
    /// A core before: both went elsewhere.
    Former,
}

/// One process, as the shell holds it.
#[derive(Debug)]
pub struct Child {
    /// Number of its slot.
    pub index: usize,
    /// Its slot.
    pub slot: Slot,
    /// What the slot says.
    pub facts: Facts,
    /// Who made it.
    pub origin: Origin,
    /// Until its end.
    pub pidfd: Option<OwnedFd>,
    /// Its file.
    pub file: ProcessFile,
    /// Ends of ours, while they are open.
    pub pipes: [Option<Pipe>; 2],
    /// The group that it was made in.
    pub group: Option<GroupName>,
    /// Descendants seen at earlier signals.
    pub remembered: Vec<Identity>,
}

impl Child {
    /// Who it is.
    pub fn identity(&self) -> Identity {
        Identity { pid: self.facts.pid, start: self.facts.start_ticks }
    }

    /// The pipe of a stream, while it is open.
    pub fn pipe(&mut self, stream: Stream) -> Option<&mut Pipe> {
        of(self.pipes.each_mut(), stream).as_mut()
    }

    /// Closes the pipe of a stream and notes that it has come to its end.
    pub fn close(&mut self, stream: Stream) -> Option<Pipe> {
        self.slot.stream(stream).ended().store(1, Ordering::Release);
        of(self.pipes.each_mut(), stream).take()
    }

    /// Bytes that wait in a pipe.
    pub fn pending(&mut self, stream: Stream) -> u64 {
        self.pipe(stream).and_then(|pipe| rustix::io::ioctl_fionread(&pipe.read).ok()).unwrap_or(0)
    }

    /// Carries out one capture.
    pub fn capture(&mut self, stream: Stream, capture: &Capture) -> Captured {
        let pipe = of(self.pipes.each_ref(), stream).as_ref();
        let mut files = Files { slot: self.slot, file: &self.file, pipe, stream };
        carry_out(capture, &mut files)
    }

    /// By what others are recognised as belonging to it.
    pub fn kin(&self) -> Kin {
        let (main, pipes) = (self.identity(), self.facts.pipes);
        Kin { main, lives: self.pidfd.is_some(), origin: self.origin, pipes, remembered: self.remembered.clone() }
    }

    /// Living members of its tree besides the process itself.
    pub fn tree(&mut self, snapshot: &tree::Snapshot, keeper: i32, mains: impl Fn(i32) -> bool) -> Vec<Identity> {
        let mut kin = self.kin();
        let orphans = Writers::find(snapshot, keeper, [&kin], &mains);
        let members = kin.tree(snapshot, &orphans, mains);
        self.remembered = kin.remembered;
        members
    }

    /// Descendants, and direct children, by what /proc shows and what was seen before.
    pub fn descendants(&mut self, snapshot: &tree::Snapshot) -> Vec<Identity> {
        let mut found = snapshot.descendants([self.identity()]);
        let earlier = snapshot.still(&self.remembered);
        let missing = earlier.into_iter().filter(|known| !found.contains(known)).collect::<Vec<_>>();
        found.extend(missing);
        self.remembered = found.iter().copied().take(MAX_REMEMBERED).collect();
        found
    }
}

/// The real [`RingStore`]: process file, slot and pipe of one stream.
struct Files<'a> {
    slot: Slot,
    file: &'a ProcessFile,
    pipe: Option<&'a Pipe>,
    stream: Stream,
}

fn number(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(libc::EIO)
}

impl RingStore for Files<'_> {
    fn write_low(&mut self, low: u64) -> Result<(), i32> {
        self.file.write_low(self.stream, low).map_err(|error| number(&error))
    }

    fn store_lost(&mut self, lost: u64, first_record: u64) {
        let words = self.slot.stream(self.stream);
        words.lost().store(lost, Ordering::Release);
        words.first_record().store(first_record, Ordering::Release);
    }

    fn write_record(&mut self, at: u64, record: &Record) -> Result<(), i32> {
        self.file.write_record(self.stream, at, record).map_err(|error| number(&error))
    }

    fn store_records(&mut self, records: u64, seq: u64) {
        self.slot.seq().store(seq, Ordering::Release);
        self.slot.stream(self.stream).records().store(records, Ordering::Release);
    }

    fn splice(&mut self, length: u64, to: Where) -> Captured {
        let Some(pipe) = self.pipe else {
            return Captured::End;
        };
        let entry = self.file.entry(self.stream);
        let position = self.slot.stream(self.stream).position(entry.data_at, entry.capacity);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let moved = match to {
            Where::Ring => {
                self.file.target().and_then(|file| sys::splice_into(pipe.read.as_fd(), file, position, length))
            }
            // Only a regular file moves the position along; this one is gone at once. (splice(2) to /dev/null does not.)
            Where::Nowhere => rustix::fs::memfd_create("dropped", MemfdFlags::CLOEXEC)
                .map_err(io::Error::from)
                .and_then(|file| sys::splice_into(pipe.read.as_fd(), file.as_fd(), position, length)),
        };
        match moved {
            Ok(0) => Captured::End,
            Ok(bytes) => Captured::Bytes(u64::try_from(bytes).unwrap_or(0)),
            Err(error) => match error.raw_os_error() {
                Some(libc::EAGAIN | libc::EINTR) => Captured::Empty,
                other => Captured::Failed(other.unwrap_or(libc::EIO)),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of the 2.5 KiB that a process may cost the core (docs/PERFORMANCE.md).
    #[test]
    fn a_process_without_captured_output_takes_little_room() {
        assert!(size_of::<Child>() <= 240, "{}", size_of::<Child>());
    }
}
