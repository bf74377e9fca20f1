//! The first start of a core: signals, directory, limits, sockets; then the keeper runs.

use super::{Keeper, Original, Ward};
use crate::instance::{Instance, InstanceError, through};
use crate::limits::OOM_SCORE_ADJ;
use crate::say::say;
use crate::shell::groups::Groups;
use crate::shell::{Options, ServeError, fail, guarantees, tcp};
use crate::state::StateFile;
use crate::sys;
use ringmaster_protocol::instance::file;
use ringmaster_protocol::message::Guarantee;
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Connections that wait to be accepted, also while no kernel half runs.
const BACKLOG: i32 = 1024;

/// Serves an instance until it is told to end and owns nothing. `ready` is called once, when clients can connect. Gives the
/// exit status.
pub fn serve(options: &Options, umask: u32, ready: impl FnOnce()) -> Result<u8, ServeError> {
    panic_is_death();
    // Before anything else: a starter that ignores SIGCHLD would leave us without any child's end.
    own_signals()?;
    let instance = Instance::open(&options.directory)?;
    let original = Original { umask, open_files: raise_open_files()?, oom_score_adj: lower_oom_score() };
    let state = crate::shell::open_state(instance.as_fd())?;
    let guarantees = guarantees(&instance, &state, 0)?;
    let listener = listen(&instance, options)?;
    let tcp = options.port.map(|port| tcp::listen(port).map_err(fail(format!("listening on 127.0.0.1:{port}"))));
    let tcp = tcp.transpose()?;
    let options = options.clone();
    let ward =
        Ward { options, instance, listener, tcp, previous: None, state, original, unknown: Vec::new(), guarantees };
    ward.take_charge()?;
    ready();
    Ok(Keeper::new(ward).run())
}

/// A panic ends its half where it stands, as SIGKILL does. To unwind would be to let go, one by one, of descriptors that the other
/// half shares.
pub fn panic_is_death() {
    std::panic::set_hook(Box::new(|panic| {
        say(&panic.to_string());
        std::process::abort();
    }));
}

/// All signals are blocked and have their default actions: those that mean something are waited for.
pub fn own_signals() -> Result<(), ServeError> {
    sys::block_all().map_err(fail("taking over the signals"))?;
    sys::default_all();
    Ok(())
}

/// Which of the promises hold on this host; those of the bits `held` are not tried again.
pub fn guarantees(instance: &Instance, state: &StateFile, held: u64) -> Result<Vec<Guarantee>, ServeError> {
    let mut groups = Groups::find(instance.as_fd(), state.header().instance());
    let (found, held) = guarantees::find(instance.folder(file::RINGS)?.as_fd(), &mut groups, held);
    state.header().set_held(held);
    Ok(found)
}

/// When memory runs out, a child is to go and not the core. Gives the starter's value, which children get back; `None` when
/// it is low already, or unknown. Whether it worked is a guarantee's business.
fn lower_oom_score() -> Option<i32> {
    let before = std::fs::read_to_string(guarantees::OOM_FILE).ok()?.trim().parse().ok()?;
    if before <= OOM_SCORE_ADJ {
        return None;
    }
    std::fs::write(guarantees::OOM_FILE, OOM_SCORE_ADJ.to_string()).ok().map(|()| before)
}

/// Every child costs descriptors, so the core takes what it may have; children get back what the starter had.
fn raise_open_files() -> Result<Rlimit, ServeError> {
    let before = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: before.maximum, maximum: before.maximum };
    setrlimit(Resource::Nofile, raised).map_err(fail("raising the limit of open files"))?;
    Ok(before)
}

/// The file mode masks of a socket: for the owner alone, and for all when a policy tells who they are.
const PRIVATE: u32 = 0o177;
const PUBLIC: u32 = 0o111;

/// Listens in the instance directory, or at a path of the caller's choice; only there others can come. The socket is made
/// beside its place and renamed into it, so that clients find either the old one or one that listens.
pub(crate) fn listen(instance: &Instance, options: &Options) -> Result<OwnedFd, ServeError> {
    let Some(path) = options.socket.as_deref() else {
        let shown = instance.path().join(file::SOCKET);
        return listen_at(instance.as_fd(), file::SOCKET, PRIVATE).map_err(fail(shown.display().to_string()));
    };
    let shown = || path.display().to_string();
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().and_then(|name| name.to_str()).ok_or(io::ErrorKind::InvalidInput);
    let name = name.map_err(fail(shown()))?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = rustix::fs::openat(CWD, parent, flags, Mode::empty()).map_err(fail(shown()))?;
    match std::fs::symlink_metadata(path) {
        Err(_) => {}
        Ok(found) if !std::os::unix::fs::FileTypeExt::is_socket(&found.file_type()) => {
            return Err(fail(shown())(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "there is something that is not a socket",
            )));
        }
        Ok(_) => {
            if std::os::unix::net::UnixStream::connect(through(folder.as_fd(), name)).is_ok() {
                return Err(InstanceError::SocketTaken { path: path.to_owned() }.into());
            }
        }
    }
    let has_policy = rustix::process::geteuid().is_root() && options.policy.exists();
    let mask = if has_policy { PUBLIC } else { PRIVATE };
    listen_at(folder.as_fd(), name, mask).map_err(fail(shown()))
}

fn listen_at(folder: BorrowedFd<'_>, name: &str, mask: u32) -> io::Result<OwnedFd> {
    let new = format!("{name}.new");
    let _ = rustix::fs::unlinkat(folder, &new, AtFlags::empty());
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    let address = SocketAddrUnix::new(through(folder, &new))?;
    let before = rustix::process::umask(Mode::from_raw_mode(mask));
    let bound = rustix::net::bind(&socket, &address);
    rustix::process::umask(before);
    bound?;
    rustix::net::listen(&socket, BACKLOG)?;
    rustix::fs::renameat(folder, &new, folder, name)?;
    Ok(socket)
}
