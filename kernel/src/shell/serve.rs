//! Becoming the core of an instance: lock, state, limits, signals, socket, recovery, loop.

use super::launch::{Launcher, Original};
use super::ledger::Ledger;
use super::poll::{Poll, Token};
use super::store::Store;
use super::{Shell, Verbosity, clock, guarantees, tcp, tree};
use crate::core::{Core, Facts, Inheritance};
use crate::instance::{Instance, InstanceError, SOCKETS, through};
use crate::state::{StateError, StateFile};
use crate::sys;
use ringmaster_protocol::instance::file;
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Connections that wait to be accepted.
const BACKLOG: i32 = 128;

/// How to serve.
#[derive(Debug, Clone)]
pub struct Options {
    /// The instance directory.
    pub directory: PathBuf,
    /// The socket, when it is not in that directory.
    pub socket: Option<PathBuf>,
    /// The port of 127.0.0.1 on which text is spoken as well; `None`: on none.
    pub port: Option<u16>,
    /// The file that lets other users in (`crate::policy`); it counts only for a core of root.
    pub policy: PathBuf,
    /// How much to say.
    pub verbosity: Verbosity,
    /// The starter's file mode mask.
    pub umask: u32,
    /// Where it runs.
    pub place: Place,
}

/// Where a core runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Place {
    /// Under the terminal or the supervisor that started it.
    #[default]
    Foreground,
    /// As a daemon.
    Background,
}

/// Why a core does not come up, or ends.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The directory.
    #[error("{0}")]
    Instance(#[from] InstanceError),
    /// The state.
    #[error("{0}")]
    State(#[from] StateError),
    /// Something of the system.
    #[error("{action}: {source}")]
    System {
        /// What was tried.
        action: String,
        /// Why.
        source: io::Error,
    },
}

fn fail<E: Into<io::Error>>(action: impl Into<String>) -> impl FnOnce(E) -> ServeError {
    let action = action.into();
    move |error| ServeError::System { action, source: error.into() }
}

/// Serves an instance until it is told to end and owns nothing. `ready` is called once, when clients can connect.
pub fn serve(options: &Options, ready: impl FnOnce()) -> Result<(), ServeError> {
    // First of all: a starter that ignores SIGCHLD would leave us without any child's end.
    let signals = own_signals(options.place).map_err(fail("taking over the signals"))?;
    let exit_info = guarantees::exit_info_supported();
    let instance = Instance::open(&options.directory)?;
    let mut shell = prepare(instance, options, signals, exit_info)?;
    shell.recover();
    shell.instance.write_pid()?;
    let listener = listen(&shell.instance, options)?;
    shell.poll.add(&listener, Token::Listener).map_err(fail("waiting for clients"))?;
    shell.listener = Some(listener);
    if let Some(port) = options.port {
        let listener = tcp::listen(port).map_err(fail(format!("listening on 127.0.0.1:{port}")))?;
        shell.poll.add(&listener, Token::TcpListener).map_err(fail("waiting for clients"))?;
        shell.tcp = Some(listener);
    }
    ready();
    let instance = shell.run().map_err(fail("waiting for events"))?;
    if let Some(path) = &options.socket {
        let _ = rustix::fs::unlink(path);
    }
    instance.remove();
    Ok(())
}

fn prepare(instance: Instance, options: &Options, signals: OwnedFd, exit_info: bool) -> Result<Shell, ServeError> {
    let now = clock::now();
    let state = StateFile::open(&instance, file::STATE, boot_id()?, random()?)?;
    let open_files = raise_open_files()?;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).map_err(fail("becoming a subreaper"))?;
    let poll = Poll::new().map_err(fail("making the epoll set"))?;
    poll.add(&signals, Token::Signals).map_err(fail("waiting for signals"))?;
    let rings = instance.folder(file::RINGS)?;
    let original = Original { umask: options.umask, open_files };
    let ledger = Ledger::open(instance.as_fd()).map_err(fail("opening the ledger of processes"))?;
    let launcher = Launcher::new(original, rings, ledger).map_err(fail("preparing to start processes"))?;
    let header = state.header();
    let (epoch, leased, grace_ms) = header.lease();
    let facts = Facts {
        version: env!("CARGO_PKG_VERSION").into(),
        instance_id: header.instance(),
        pid: rustix::process::getpid().as_raw_nonzero().get(),
        max_fds: open_files.maximum.unwrap_or(u64::MAX),
        guarantees: guarantees::list(exit_info),
    };
    let inheritance = Inheritance { epoch, leased, grace_ms, lost: header.lost() };
    Ok(Shell {
        core: Core::new(facts, inheritance, now),
        poll,
        now,
        listener: None,
        tcp: None,
        signals,
        state,
        launcher,
        values: Store::new(instance.folder(file::VALUES)?),
        socket_store: Store::new(instance.folder(SOCKETS)?),
        instance,
        policy: rustix::process::geteuid().is_root().then(|| options.policy.clone()),
        connections: HashMap::new(),
        text: super::text::Conversations::default(),
        next_client: 1,
        children: HashMap::new(),
        by_pid: HashMap::new(),
        sockets: BTreeMap::new(),
        kinship: tree::Kinship::find(),
        snapshot: None,
        last: None,
        accept_again: None,
        effects: Vec::new(),
        verbosity: options.verbosity,
        ending: false,
    })
}

/// All signals are blocked; those that mean something come through a descriptor. A terminal that goes away (SIGHUP) means
/// nothing to a core, and SIGINT only something to one that a person started in the foreground.
fn own_signals(place: Place) -> io::Result<OwnedFd> {
    sys::block_all()?;
    sys::default_all();
    match place {
        Place::Foreground => sys::signal_queue(&[libc::SIGCHLD, libc::SIGTERM, libc::SIGINT]),
        Place::Background => sys::signal_queue(&[libc::SIGCHLD, libc::SIGTERM]),
    }
}

/// Every child costs descriptors, so the core takes what it may have; children get back what the starter had.
fn raise_open_files() -> Result<Rlimit, ServeError> {
    let before = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: before.maximum, maximum: before.maximum };
    setrlimit(Resource::Nofile, raised).map_err(fail("raising the limit of open files"))?;
    Ok(before)
}

/// Identifies this run of the system (proc(5), `sys/kernel/random/boot_id`).
fn boot_id() -> Result<u64, ServeError> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").map_err(fail("reading the boot id"))?;
    Ok(text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)))
}

fn random() -> Result<u64, ServeError> {
    let mut bytes = [0; 8];
    let mut source = std::fs::File::open("/dev/urandom").map_err(fail("drawing the instance's number"))?;
    io::Read::read_exact(&mut source, &mut bytes).map_err(fail("drawing the instance's number"))?;
    Ok(u64::from_le_bytes(bytes))
}

/// The file mode masks of a socket: for the owner alone, and for all when a policy tells who they are.
const PRIVATE: u32 = 0o177;
const PUBLIC: u32 = 0o111;

/// Listens in the instance directory, or at a path of the caller's choice. Only there others can come. The socket is made beside its place and renamed
/// into it, so that clients find either the old one or one that listens.
fn listen(instance: &Instance, options: &Options) -> Result<OwnedFd, ServeError> {
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
