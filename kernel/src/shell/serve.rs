//! The kernel half from its first instruction to its last: state, what was left in the table, recovery, loop.

use super::groups::{Groups, Without};
use super::inherited::Inherited;
use super::launch::Launcher;
use super::ledger::Ledger;
use super::poll::{Poll, Token};
use super::store::Store;
use super::{Shell, Verbosity, clock, guarantees, home, settle, tree};
use crate::core::{Conduct, Core, Facts, Inheritance};
use crate::instance::{InstanceError, SOCKETS};
use crate::keeper::{UPGRADE_SIGNAL, Ward};
use crate::limits::{CLIENT_READ, RECOVERY};
use crate::say::say;
use crate::state::{StateError, StateFile};
use crate::sys;
use ringmaster_protocol::instance::file;
use ringmaster_protocol::message::ExitStatus;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;

/// How to serve.
#[derive(Debug, Clone)]
pub struct Options {
    /// The instance directory.
    pub directory: PathBuf,
    /// The socket, when it is not in that directory.
    pub socket: Option<PathBuf>,
    /// The port of 127.0.0.1 on which text is spoken as well; `None`: on none.
    pub port: Option<u16>,
    /// Bytes of memory for all rings.
    pub ring_memory: u64,
    /// The file that lets other users in (`crate::policy`); it counts only for a core of root.
    pub policy: PathBuf,
    /// How much to say.
    pub verbosity: Verbosity,
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

/// Turns an error of the system into one that says what was tried.
pub(crate) fn fail<E: Into<io::Error>>(action: impl Into<String>) -> impl FnOnce(E) -> ServeError {
    let action = action.into();
    move |error| ServeError::System { action, source: error.into() }
}

/// Why the kernel half has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It was told to end, and nothing is left to own.
    Idle,
    /// The keeper is gone: this process has to be the keeper.
    KeeperIsGone,
    /// Something was removed from the instance directory, or that itself.
    DirectoryHasChanged,
}

impl Verdict {
    /// How a kernel half ends that owns nothing any more. All other ends are deaths.
    pub const IDLE: ExitStatus = ExitStatus::Code(0);
    /// How one ends that is to be started anew at once, and no request is to blame.
    pub const ANEW: ExitStatus = ExitStatus::Code(ANEW);
}

/// The exit status of a kernel half that cannot serve.
const FAILED: i32 = 1;
/// See [`Verdict::ANEW`].
const ANEW: i32 = 2;

/// Serves as the kernel half, in a process that the keeper has made for it. Comes back only with a verdict for this very
/// process to act on.
pub fn serve(ward: &Ward, keeper: Pid, conduct: Conduct) -> Verdict {
    // The old half that takes an upgrade back moves the phase, then ends whom this word names; we name ourselves, then look at
    // the phase. One of the two sees the other, so never do two halves touch the same rings.
    let header = ward.state.header();
    header.set_kernel(rustix::process::getpid().as_raw_nonzero().get());
    let watch = pidfd_open(keeper, PidfdFlags::empty());
    if rustix::process::getppid() != Some(keeper) {
        return verdict_without_keeper(ward, keeper);
    }
    if super::upgrade::is_taken_back(header, keeper.as_raw_nonzero().get()) {
        std::process::exit(FAILED);
    }
    // What it holds is not let go of, whatever the verdict: the next kernel half finds it in the table.
    let watch = watch.map_err(fail("watching the keeper"));
    let shell = watch.and_then(|watch| prepare(ward, keeper, watch, conduct));
    let ended = shell.and_then(|mut shell| {
        loop {
            match shell.run().map_err(fail("waiting for events"))? {
                Verdict::DirectoryHasChanged if home::is_whole(ward) => shell.verdict = None,
                Verdict::DirectoryHasChanged => {
                    shell.leave_home(ward);
                    return Ok(Verdict::DirectoryHasChanged);
                }
                verdict @ (Verdict::Idle | Verdict::KeeperIsGone) => return Ok(verdict),
            }
        }
    });
    match ended {
        Ok(Verdict::Idle) => std::process::exit(0),
        Ok(Verdict::KeeperIsGone) => verdict_without_keeper(ward, keeper),
        Ok(Verdict::DirectoryHasChanged) => std::process::exit(ANEW),
        Err(error) => {
            say(&error.to_string());
            std::process::exit(FAILED)
        }
    }
}

/// The keeper is gone. In the middle of an upgrade it is for the old kernel half to be the keeper, as long as that lives; and
/// when it has become that, the pid file says so, also to one of the abandoned program's that was slow to start.
fn verdict_without_keeper(ward: &Ward, keeper: Pid) -> Verdict {
    sys::alarm(0);
    let in_charge = ward.instance.pid();
    let another = in_charge.is_some_and(|pid| {
        pid != keeper && pid != rustix::process::getpid() && tree::is_alive(pid.as_raw_nonzero().get())
    });
    if another || super::upgrade::old_lives(ward.state.header()) {
        std::process::exit(FAILED);
    }
    Verdict::KeeperIsGone
}

/// From what is left to a kernel half that is ready to serve. An error lets go of nothing either: the next half finds it.
fn prepare(ward: &Ward, keeper: Pid, watch: OwnedFd, conduct: Conduct) -> Result<ManuallyDrop<Shell>, ServeError> {
    sys::let_alarm_kill().map_err(fail("watching over itself"))?;
    sys::alarm(RECOVERY);
    let mut state = ward.state.again()?;
    settle::settle_all(&mut state);
    settle::end_trial(state.header());
    let kept = ward.descriptors().into_iter().chain([state.number(), watch.as_raw_fd()]);
    let mut left =
        ManuallyDrop::new(Inherited::take(&kept.collect(), &state).map_err(fail("reading the table of descriptors"))?);
    let former = home::restore(ward, keeper, &mut left);
    let mut kept = ManuallyDrop::new(equip(ward, keeper, watch, conduct, state)?);
    let shell: &mut Shell = &mut kept;
    shell.recover(&mut left, conduct).map_err(fail("taking over what a former half left"))?;
    drop(ManuallyDrop::into_inner(left));
    shell.core.set_last_upgrade(shell.upgrade.report(), shell.state.header().deaths());
    let listeners = [(&shell.listener, Token::Listener), (&shell.tcp, Token::TcpListener)];
    for (listener, token) in listeners {
        if let Some(listener) = listener {
            shell.poll.add(listener, token).map_err(fail("waiting for clients"))?;
        }
    }
    shell.commit_upgrade();
    if let Some(former) = former {
        shell.accept_former(former);
    }
    Ok(kept)
}

/// A kernel half with nothing in it yet.
fn equip(ward: &Ward, keeper: Pid, watch: OwnedFd, conduct: Conduct, state: StateFile) -> Result<Shell, ServeError> {
    let now = clock::now();
    let signals = sys::signal_queue(&[libc::SIGCHLD, libc::SIGTERM, UPGRADE_SIGNAL]);
    let signals = signals.map_err(fail("taking over the signals"))?;
    let poll = Poll::new().map_err(fail("making the epoll set"))?;
    poll.add(&signals, Token::Signals).map_err(fail("waiting for signals"))?;
    poll.add(&watch, Token::Keeper).map_err(fail("watching the keeper"))?;
    let home = home::watch(&ward.instance, &poll);
    let copy = |fd: &OwnedFd| fd.try_clone().map_err(fail("taking over the listening sockets"));
    let rings = ward.instance.folder(file::RINGS)?;
    let ledger = Ledger::open(ward.instance.as_fd()).map_err(fail("opening the ledger of processes"))?;
    let launcher = Launcher::new(ward.original, rings, ledger).map_err(fail("preparing to start processes"))?;
    let header = state.header();
    let mut groups = Groups::find(ward.instance.as_fd(), header.instance());
    if !ward.guarantees.iter().any(|row| row.name == guarantees::TREES && row.holds) {
        groups.give_up(Without::Probed);
    }
    let (epoch, leased, grace_ms) = header.lease();
    let facts = Facts {
        version: env!("CARGO_PKG_VERSION").into(),
        instance_id: header.instance(),
        keeper_pid: keeper.as_raw_nonzero().get(),
        kernel_pid: rustix::process::getpid().as_raw_nonzero().get(),
        max_fds: ward.original.open_files.maximum.unwrap_or(u64::MAX),
        ring_memory: ward.options.ring_memory,
        guarantees: ward.guarantees.iter().chain(home.as_ref().err()).cloned().chain(home::lost_state(ward)).collect(),
        conduct,
        deaths: header.deaths(),
    };
    let inheritance = Inheritance { epoch, leased, grace_ms, lost: header.lost() };
    Ok(Shell {
        core: Core::new(facts, inheritance, now),
        poll,
        now,
        listener: Some(copy(&ward.listener)?),
        tcp: ward.tcp.as_ref().map(copy).transpose()?,
        signals,
        keeper: watch,
        home: home.ok(),
        keeper_pid: keeper.as_raw_nonzero().get(),
        upgrade: super::upgrade::Upgrade::new(ward).map_err(fail("preparing for upgrades"))?,
        state,
        launcher,
        groups,
        values: Store::new(ward.instance.folder(file::VALUES)?),
        socket_store: Store::new(ward.instance.folder(SOCKETS)?),
        policy: rustix::process::geteuid().is_root().then(|| ward.options.policy.clone()),
        connections: HashMap::new(),
        portion: vec![0; CLIENT_READ],
        text: super::text::Conversations::default(),
        next_client: 1,
        children: HashMap::new(),
        dying: Vec::new(),
        noted_by: None,
        by_pid: HashMap::new(),
        sockets: BTreeMap::new(),
        kinship: tree::Kinship::find(),
        snapshot: None,
        company: HashMap::new(),
        sweeps: super::sweeps::Sweeps::default(),
        last: None,
        accept_again: None,
        missed: Vec::new(),
        later: VecDeque::new(),
        effects: Vec::new(),
        verbosity: ward.options.verbosity,
        verdict: None,
    })
}

/// Opens or makes the state of the instance in that directory.
pub fn open_state(directory: impl AsFd) -> Result<StateFile, ServeError> {
    open_state_at(directory, file::STATE)
}

/// Takes a state that is open already.
pub(super) fn adopt_state(file: OwnedFd) -> Result<StateFile, ServeError> {
    Ok(StateFile::adopt(file, boot_id()?, random()?)?)
}

/// Opens a state of another name.
pub fn open_state_at(directory: impl AsFd, name: &str) -> Result<StateFile, ServeError> {
    Ok(StateFile::open(directory, name, boot_id()?, random()?)?)
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
