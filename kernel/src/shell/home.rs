//! When somebody removes the instance directory or what is in it: a cleaner of temporary files, an administrator in a hurry.
//!
//! Nothing that runs needs the names: state, process files and ledger are open in the table of both halves. But whoever connects
//! goes by a name, and so does the next half. So the kernel half is told (inotify(7)), makes anew what can be made, and is started
//! anew itself, as after any death. What was in files only is gone: values, the names under which a core would find state and output
//! after the death of both halves (`papa status` says so).

use super::file::ProcessFile;
use super::inherited::Inherited;
use super::poll::{Poll, Token};
use super::store::Store;
use super::{ServeError, Shell, Verdict, fail};
use crate::instance::{Instance, LEDGER, SOCKETS, through};
use crate::keeper::{Ward, listen};
use crate::say::say;
use crate::sys;
use ringmaster_protocol::instance::file;
use ringmaster_protocol::message::{Guarantee, ProcessId, Spawn};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::process::Pid;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// Bytes of events that are read at once; what they say is looked up.
const EVENTS: usize = 4096;

/// Asks to be told when something is removed. Where the system refuses (its limit of watches), that does not hold, and the next half
/// looks.
pub fn watch(instance: &Instance, poll: &Poll) -> Result<OwnedFd, Guarantee> {
    let begin = || -> io::Result<OwnedFd> {
        let watch = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let removals = WatchFlags::DELETE | WatchFlags::MOVED_FROM | WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF;
        inotify::add_watch(&watch, through(instance.as_fd(), ""), removals)?;
        poll.add(&watch, Token::Home)?;
        Ok(watch)
    };
    begin().map_err(|error| {
        let reason = format!("nobody will see a removal of the instance directory: {error}");
        say(&reason);
        Guarantee { name: "removal-of-the-directory-is-seen".into(), holds: false, reason }
    })
}

/// Whether everything is there that can be made anew.
pub fn is_whole(ward: &Ward) -> bool {
    ward.instance.is_whole() && has_door(ward)
}

fn has_door(ward: &Ward) -> bool {
    match &ward.options.socket {
        Some(path) => std::fs::symlink_metadata(path).is_ok(),
        None => ward.instance.has(file::SOCKET),
    }
}

/// Makes anew what is gone, as far as the system allows: whatever fails, children are kept. Gives the socket that nobody finds
/// any more, with those who wait there.
pub fn restore(ward: &Ward, keeper: Pid, left: &mut Inherited) -> Option<OwnedFd> {
    let directory = ward.instance.path().display();
    if !ward.instance.is_whole() {
        say(&format!("something was removed from {directory}: it is made anew"));
        let restored = ward.instance.restore().and_then(|()| ward.instance.write_pid(keeper));
        told(restored.map_err(ServeError::from));
    }
    if !ward.instance.has(LEDGER)
        && let Some(ledger) = left.file_named(LEDGER)
    {
        let former = format!("/proc/self/fd/{}", ledger.as_raw_fd());
        let copied = std::fs::copy(former, through(ward.instance.as_fd(), LEDGER));
        told(copied.map_err(fail("copying the ledger of processes")));
    }
    if has_door(ward) {
        return None;
    }
    let moved = ward.listener.try_clone().map_err(fail("keeping the listening socket")).and_then(|former| {
        let new = listen(&ward.instance, &ward.options)?;
        sys::replace(ward.listener.as_raw_fd(), &new).map_err(fail("replacing the listening socket"))?;
        Ok(former)
    });
    told(moved)
}

fn told<T>(outcome: Result<T, ServeError>) -> Option<T> {
    outcome.inspect_err(|error| say(&error.to_string())).ok()
}

/// What does not hold any more without the name of the state file.
pub fn lost_state(ward: &Ward) -> Option<Guarantee> {
    (!ward.state.is_called(ward.instance.as_fd(), file::STATE)).then(|| Guarantee {
        name: "state-is-found-after-both-halves".into(),
        holds: false,
        reason:
            "somebody has removed the state file: children outlive a death of either half; after the death of both, \
                 nobody knows of them"
                .into(),
    })
}

impl Shell {
    pub(super) fn home_has_changed(&mut self) {
        let mut events = [0; EVENTS];
        while self.home.as_ref().is_some_and(|home| rustix::io::read(home, &mut events).is_ok_and(|count| count > 0)) {}
        self.verdict.get_or_insert(Verdict::DirectoryHasChanged);
    }

    /// Keeps what only this half knows where the next one looks for it.
    pub(super) fn leave_home(&self, ward: &Ward) {
        self.log(&format!("something was removed from {}", ward.instance.path().display()));
        let kept = ward.instance.restore().and_then(|()| ward.instance.folder(SOCKETS)).map_err(ServeError::from);
        let Some(folder) = told(kept).map(Store::new) else {
            return;
        };
        for (name, known) in &self.sockets {
            let inode = known.socket.as_ref().map_or(Ok(0), |socket| rustix::fs::fstat(socket).map(|stat| stat.st_ino));
            let stored = inode
                .map_err(io::Error::from)
                .and_then(|inode| folder.store_socket(known.number, &known.listen, inode));
            if let Err(error) = stored {
                self.log(&format!("the socket {name} will be lost: {error}"));
            }
        }
    }

    /// The file of a process whose name is gone, or cannot be opened.
    pub(super) fn file_without_name(
        &self,
        left: &mut Inherited,
        id: ProcessId,
        error: io::Error,
    ) -> io::Result<(ProcessFile, Spawn)> {
        let spilled = format!("papa-{:016x}-{}", self.state.header().instance(), id.0);
        let file = left.file_named(&id.0.to_string()).or_else(|| left.file_named(&spilled)).ok_or(error)?;
        ProcessFile::adopt(file)
    }
}
