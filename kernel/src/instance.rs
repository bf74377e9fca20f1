//! The instance directory: made, verified by descriptor, locked for one core.

use crate::limits::{LET_GO, LOOK_AGAIN};
use crate::shell::tree::is_alive;
use crate::sys;
use ringmaster_protocol::instance::file;
use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags, Stat};
use rustix::io::Errno;
use rustix::process::Pid;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// One file for each listening socket, decimal number, so that a later core can bind it again.
pub const SOCKETS: &str = "sockets";

/// The requests of processes without captured output, in the instance directory (`shell/ledger.rs`).
pub const LEDGER: &str = "uncaptured";

/// Directories in which cores of this instance made cgroups, a line for each (`shell/groups.rs`).
pub const GROUPS: &str = "groups";

/// What came of the last upgrade, one line.
pub const UPGRADE_REPORT: &str = "upgrade";

/// Why an instance cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum InstanceError {
    /// The system refused.
    #[error("{}: {action}: {source}", path.display())]
    System {
        /// What it was about.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// Why.
        source: io::Error,
    },
    /// Others could put files there.
    #[error("{}: owned by user {owner} with mode {mode:o}; expected user {expected} and nobody else with access", path.display())]
    Unsafe {
        /// The directory.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// Its mode.
        mode: u32,
        /// Who we are.
        expected: u32,
    },
    /// Another core has the lock.
    #[error("{}: this instance is served already by papa, pid {pid}", path.display())]
    Served {
        /// The directory.
        path: PathBuf,
        /// From the pid file.
        pid: String,
    },
    /// No core serves, and yet somebody has the lock.
    #[error("{}: papa, pid {pid}, is dead, but its lock has been held for {} s: a process that it was making does not come to run \
        its program, or holds on to the file `{}` there", path.display(), LET_GO.as_secs(), file::LOCK)]
    Held {
        /// The directory.
        path: PathBuf,
        /// From the pid file.
        pid: String,
    },
    /// Something else accepts connections there.
    #[error("{}: something else accepts connections on this socket", path.display())]
    SocketTaken {
        /// The socket.
        path: PathBuf,
    },
}

/// The folders in it.
const FOLDERS: [&str; 3] = [file::RINGS, file::VALUES, SOCKETS];

fn errno(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

/// A locked instance directory.
#[derive(Debug)]
pub struct Instance {
    path: PathBuf,
    directory: OwnedFd,
    lock: OwnedFd,
}

const OPEN_DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

impl Instance {
    /// Makes or verifies the directory and takes its lock; `Served` when another core has it.
    pub fn open(path: &Path) -> Result<Self, InstanceError> {
        let fail = |action| {
            let path = path.to_owned();
            move |source: Errno| InstanceError::System { path, action, source: source.into() }
        };
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(fail("finding its parent directory")(Errno::INVAL));
        };
        let parent = open_base(parent)?;
        match rustix::fs::mkdirat(&parent, name, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(fail("making the directory")(errno)),
        }
        let directory = rustix::fs::openat(&parent, name, OPEN_DIRECTORY, Mode::empty())
            .map_err(fail("opening the directory (never through a symbolic link)"))?;
        verify(path, &directory, 0o077, false)?;
        let lock = take_lock(path, &directory)?;
        let instance = Self { path: path.to_owned(), directory, lock };
        instance.make_folders()?;
        Ok(instance)
    }

    fn make_folders(&self) -> Result<(), InstanceError> {
        for sub in FOLDERS {
            match rustix::fs::mkdirat(&self.directory, sub, Mode::RWXU) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(self.failed("making its folders")(errno)),
            }
        }
        Ok(())
    }

    fn failed(&self, action: &'static str) -> impl Fn(Errno) -> InstanceError {
        move |errno| InstanceError::System { path: self.path.clone(), action, source: errno.into() }
    }

    /// Whether the directory and its lock are where they belong.
    fn stands(&self) -> bool {
        let same = |found: Stat, ours: Stat| (found.st_dev, found.st_ino) == (ours.st_dev, ours.st_ino);
        let directory = rustix::fs::lstat(&self.path).ok().zip(rustix::fs::fstat(&self.directory).ok());
        let lock = rustix::fs::statat(&self.directory, file::LOCK, AtFlags::SYMLINK_NOFOLLOW).ok();
        let lock = lock.zip(rustix::fs::fstat(&self.lock).ok());
        [directory, lock].into_iter().all(|pair| pair.is_some_and(|(found, ours)| same(found, ours)))
    }

    /// Whether there is something of that name in the directory.
    pub fn has(&self, name: &str) -> bool {
        rustix::fs::statat(&self.directory, name, AtFlags::SYMLINK_NOFOLLOW).err() != Some(Errno::NOENT)
    }

    /// Whether nobody has removed the directory, its lock, a folder or the pid file.
    pub fn is_whole(&self) -> bool {
        self.stands() && FOLDERS.iter().chain(&[file::PID]).all(|name| self.has(name))
    }

    /// Makes anew what somebody has removed, but for the pid file. Descriptors keep their numbers, so that the other half
    /// has the new ones, too.
    pub fn restore(&self) -> Result<(), InstanceError> {
        if !self.stands() {
            let new = Self::open(&self.path)?;
            let [directory, lock] = self.descriptors();
            let replaced = sys::replace(lock, &new.lock).and_then(|()| sys::replace(directory, &new.directory));
            replaced.map_err(|error| self.failed("putting it in its place")(errno(&error)))?;
        }
        self.make_folders()
    }

    /// Takes over a directory that a former program of this core has opened and locked.
    pub fn adopt(path: &Path, directory: OwnedFd, lock: OwnedFd) -> Self {
        Self { path: path.to_owned(), directory, lock }
    }

    /// The directory and the lock.
    pub fn descriptors(&self) -> [RawFd; 2] {
        [self.directory.as_raw_fd(), self.lock.as_raw_fd()]
    }

    /// The directory's path, for people.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A descriptor of a folder in it.
    pub fn folder(&self, name: &str) -> Result<OwnedFd, InstanceError> {
        rustix::fs::openat(&self.directory, name, OPEN_DIRECTORY, Mode::empty()).map_err(|errno| {
            InstanceError::System { path: self.path.join(name), action: "opening", source: errno.into() }
        })
    }

    /// Writes the pid file, whole at any time.
    pub fn write_pid(&self, keeper: Pid) -> Result<(), InstanceError> {
        let (new, place) = (format!("{}.new", file::PID), through(self.directory.as_fd(), file::PID));
        let new = through(self.directory.as_fd(), &new);
        let written = std::fs::write(&new, format!("{}\n", keeper.as_raw_nonzero()));
        written.and_then(|()| std::fs::rename(new, place)).map_err(|source| InstanceError::System {
            path: self.path.join(file::PID),
            action: "writing",
            source,
        })
    }

    /// Whom the pid file names: the keeper that took charge last.
    pub fn pid(&self) -> Option<Pid> {
        let text = std::fs::read_to_string(through(self.directory.as_fd(), file::PID)).ok()?;
        Pid::from_raw(text.trim().parse().ok()?)
    }

    /// Removes what a core that ends with nothing left to own leaves behind, the lock last. Best effort: what stays
    /// is taken over by the next core.
    pub fn remove(self) {
        for name in [file::SOCKET, file::PID, file::STATE, LEDGER, GROUPS, UPGRADE_REPORT] {
            let _ = rustix::fs::unlinkat(&self.directory, name, AtFlags::empty());
        }
        for name in FOLDERS {
            let _ = rustix::fs::unlinkat(&self.directory, name, AtFlags::REMOVEDIR);
        }
        let _ = rustix::fs::unlinkat(&self.directory, file::LOCK, AtFlags::empty());
        let _ = std::fs::remove_dir(&self.path);
        drop(self.lock);
    }
}

impl AsFd for Instance {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}

/// A path that means `name` in an open directory, however long the directory's own path is.
pub fn through(directory: BorrowedFd<'_>, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}/{name}", directory.as_raw_fd()))
}

/// Opens the directory that holds the instances, and makes it when it is not there. Others may own it (a test's folder, a
/// run directory made by the administrator), but not change entries that are not theirs.
fn open_base(path: &Path) -> Result<OwnedFd, InstanceError> {
    let fail = |action| {
        let path = path.to_owned();
        move |source: io::Error| InstanceError::System { path, action, source }
    };
    if let Err(error) = rustix::fs::mkdir(path, Mode::RWXU) {
        match error {
            Errno::EXIST => {}
            Errno::NOENT => {
                std::fs::create_dir_all(path.parent().unwrap_or(path)).map_err(fail("making its parent"))?;
                rustix::fs::mkdir(path, Mode::RWXU).map_err(|errno| fail("making the directory")(errno.into()))?;
            }
            other => return Err(fail("making the directory")(other.into())),
        }
    }
    let base = rustix::fs::open(path, OPEN_DIRECTORY, Mode::empty())
        .map_err(|errno| fail("opening the directory")(errno.into()))?;
    verify(path, &base, 0o022, true)?;
    Ok(base)
}

fn verify(path: &Path, directory: &OwnedFd, forbidden: u32, shared: bool) -> Result<(), InstanceError> {
    let stat = rustix::fs::fstat(directory).map_err(|errno| InstanceError::System {
        path: path.to_owned(),
        action: "reading its owner",
        source: errno.into(),
    })?;
    let expected = rustix::process::geteuid().as_raw();
    let ours = stat.st_uid == expected || (shared && stat.st_uid == 0);
    let sticky = shared && stat.st_mode & libc::S_ISVTX != 0;
    let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    if is_directory && ours && (sticky || stat.st_mode & forbidden == 0) {
        return Ok(());
    }
    Err(InstanceError::Unsafe { path: path.to_owned(), owner: stat.st_uid, mode: stat.st_mode & 0o7777, expected })
}

/// Locks the file `lock`, and makes sure that it is still the one at that name: a core that ends removes it.
///
/// A process that a core was making when it died has the core's descriptors, the lock among them, until it runs its program.
/// That is waited for. A keeper that is dead while a kernel half lives is followed by that half within milliseconds.
fn take_lock(path: &Path, directory: &OwnedFd) -> Result<OwnedFd, InstanceError> {
    let fail =
        |errno: Errno| InstanceError::System { path: path.join(file::LOCK), action: "locking", source: errno.into() };
    let begin = Instant::now();
    loop {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let lock = rustix::fs::openat(directory, file::LOCK, flags, Mode::RUSR | Mode::WUSR).map_err(fail)?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let pid = std::fs::read_to_string(through(directory.as_fd(), file::PID)).unwrap_or_default();
                let (path, pid) = (path.to_owned(), pid.trim().to_owned());
                if pid.parse().ok().is_none_or(is_alive) {
                    return Err(InstanceError::Served { path, pid });
                }
                if begin.elapsed() >= LET_GO {
                    return Err(InstanceError::Held { path, pid });
                }
                let _ = rustix::event::poll(&mut [], Some(&LOOK_AGAIN));
                continue;
            }
            Err(errno) => return Err(fail(errno)),
        }
        let ours = rustix::fs::fstat(&lock).map_err(fail)?;
        match rustix::fs::statat(directory, file::LOCK, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(named) if named.st_ino == ours.st_ino => return Ok(lock),
            Ok(_) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(fail(errno)),
        }
    }
}
