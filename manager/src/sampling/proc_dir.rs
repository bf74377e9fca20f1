//! One process's directory under `/proc`, held open.
//!
//! All files are read through the same directory descriptor: when the process ends and its pid is given to
//! another, the reads fail instead of mixing two processes.

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{Dir, Mode, OFlags, fstat, open, openat};
use rustix::io::{Errno, pread, read};

/// One read of this size holds all of `stat` and `statm`, the `Uid:` line of `status` (before any list that can
/// grow), and an argv[0] as long as PATH_MAX.
const FILE_BYTES: usize = 4096;

/// How many threads of one process are asked for their children. More threads than this seldom fork, and a
/// process can have as many as it likes.
const THREADS_LIMIT: usize = 1024;

/// How much of all `children` files of a process is read: some 8000 pids of seven digits, more than are shown.
const CHILDREN_BYTES: usize = 64 * 1024;

/// What became of a read.
#[derive(Debug)]
pub(super) enum Unread {
    /// The process has ended.
    Gone,
    /// It is there, but not for us (`hidepid`, another user's).
    Forbidden,
    /// Something else, such as no free descriptor.
    Failed(io::Error),
}

impl From<Errno> for Unread {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::NOENT | Errno::SRCH => Self::Gone,
            Errno::ACCESS | Errno::PERM => Self::Forbidden,
            other => Self::Failed(other.into()),
        }
    }
}

/// `stat` and `statm`, the files that every look reads. Held open they cost one system call each, and belong to this very
/// process: when it has ended they say so, whoever has its pid then.
#[derive(Debug)]
pub(super) struct Numbers {
    stat: OwnedFd,
    statm: OwnedFd,
}

/// Room for the two texts, used again at each look.
#[derive(Debug)]
pub(super) struct Buffers {
    stat: Vec<u8>,
    statm: Vec<u8>,
}

impl Default for Buffers {
    fn default() -> Self {
        Self { stat: vec![0; FILE_BYTES], statm: vec![0; FILE_BYTES] }
    }
}

impl Numbers {
    /// Both texts as they are now.
    pub(super) fn read<'a>(&self, buffers: &'a mut Buffers) -> Result<[&'a str; 2], Unread> {
        Ok([from_start(&self.stat, &mut buffers.stat)?, from_start(&self.statm, &mut buffers.statm)?])
    }
}

/// All that a file has now, up to the size of the buffer. The name in `stat` may be any bytes; what follows it is ASCII.
fn from_start<'a>(file: &OwnedFd, buffer: &'a mut [u8]) -> Result<&'a str, Unread> {
    let length = pread(file, &mut *buffer, 0)?;
    for byte in buffer.iter_mut().take(length).filter(|byte| !byte.is_ascii()) {
        *byte = b'?';
    }
    let text = buffer.get(..length).and_then(|text| std::str::from_utf8(text).ok());
    Ok(text.unwrap_or_default())
}

/// The directory `/proc/PID`.
#[derive(Debug)]
pub(super) struct ProcDir {
    fd: OwnedFd,
}

impl ProcDir {
    /// Opens the directory of a process.
    pub(super) fn open(pid: i32) -> Result<Self, Unread> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self { fd: open(format!("/proc/{pid}"), flags, Mode::empty())? })
    }

    /// The files of numbers.
    pub(super) fn numbers(&self) -> Result<Numbers, Unread> {
        let open = |name| openat(&self.fd, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        Ok(Numbers { stat: open("stat")?, statm: open("statm")? })
    }

    /// The first [`FILE_BYTES`] of a file, by a single read: `/proc` gives all it has, up to that.
    pub(super) fn file(&self, name: &str) -> Result<Vec<u8>, Unread> {
        let file = openat(&self.fd, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        let mut bytes = vec![0; FILE_BYTES];
        let length = read(&file, &mut bytes)?;
        bytes.truncate(length);
        Ok(bytes)
    }

    /// The same as text.
    pub(super) fn text(&self, name: &str) -> Result<String, Unread> {
        Ok(String::from_utf8_lossy(&self.file(name)?).into_owned())
    }

    /// The `children` file of a process with one thread, which has its number.
    pub(super) fn children_of_one_thread(&self, pid: i32) -> Result<String, Unread> {
        let mut all = String::new();
        match self.append_pids(&mut all, &pid.to_string()) {
            Ok(()) | Err(Unread::Gone) => Ok(all),
            Err(other) => Err(other),
        }
    }

    /// How many descriptors are open: the size of the directory `fd` (Linux 6.2), or its entries.
    pub(super) fn open_files(&self) -> Result<u64, Unread> {
        let fd = openat(&self.fd, "fd", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        if let Some(told) = u64::try_from(fstat(&fd)?.st_size).ok().filter(|told| *told > 0) {
            return Ok(told);
        }
        let entries = Dir::new(fd)?.filter_map(Result::ok);
        let numbers = entries.filter(|entry| entry.file_name().to_bytes().first().is_some_and(u8::is_ascii_digit));
        Ok(u64::try_from(numbers.count()).unwrap_or(u64::MAX))
    }

    /// The `children` files of all threads, put together. Empty on kernels built without them
    /// (`CONFIG_PROC_CHILDREN`).
    pub(super) fn children(&self) -> Result<String, Unread> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let tasks = openat(&self.fd, "task", flags, Mode::empty())?;
        let mut all = String::new();
        let threads = Dir::new(tasks)?.filter_map(Result::ok);
        let threads = threads.filter(|entry| entry.file_name().to_bytes().first().is_some_and(u8::is_ascii_digit));
        for thread in threads.take(THREADS_LIMIT) {
            match self.append_pids(&mut all, &thread.file_name().to_string_lossy()) {
                // A thread that ended, or the file does not exist here.
                Ok(()) | Err(Unread::Gone) => {}
                Err(other) => return Err(other),
            }
        }
        Ok(all)
    }

    /// Appends one thread's file, which ends each pid with a space. Read to its end: such a file may give less
    /// than fits.
    fn append_pids(&self, all: &mut String, thread: &str) -> Result<(), Unread> {
        let name = format!("task/{thread}/children");
        let file = openat(&self.fd, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        let mut piece = [0; FILE_BYTES];
        while all.len() < CHILDREN_BYTES {
            let length = read(&file, &mut piece)?;
            let Some(read) = piece.get(..length).filter(|read| !read.is_empty()) else {
                return Ok(());
            };
            all.push_str(&String::from_utf8_lossy(read));
        }
        // Cut off in the middle of a file, maybe in the middle of a pid.
        all.truncate(all.rfind(' ').map_or(0, |space| space + 1));
        Ok(())
    }
}
