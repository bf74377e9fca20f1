//! The keeper: the half of the core that owns the children.
//!
//! It is the parent and the reaper of every child, starts the kernel half again when that dies, and becomes another build of
//! itself when asked to (docs/adr/0007-keeper-and-kernel.md). Both halves have one table of descriptors (`CLONE_FILES`), so
//! whatever one of them opened is still open when it dies. What the keeper does *not* do: read a byte of a client or of a
//! child, make a process other than the kernel half, wait for anything but a signal. It trusts nothing in the shared
//! state but pids, which it compares with what the system says.

mod resume;
mod start;
mod ward;

pub use resume::{READY, resume};
pub(crate) use start::listen;
pub use start::serve;
pub use ward::{Original, Ward};

use crate::core::Conduct;
use crate::say::say;
use crate::shell::{self, Place, Verdict};
use crate::state::{Deaths, End, Slot, UpgradePhase};
use crate::sys::{self, Ended, Fork};
use ringmaster_protocol::message::ExitStatus;
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal};
use std::collections::{HashMap, VecDeque};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

/// So many deaths of the kernel half within [`CRASH_WINDOW`] bring it up in safe mode.
const CRASHES: usize = 5;
/// See [`CRASHES`].
const CRASH_WINDOW: Duration = Duration::from_secs(10);
/// How long the next start of the kernel half waits after so many deaths in the window.
const PAUSES: [Duration; CRASHES] =
    [Duration::ZERO, Duration::ZERO, Duration::from_millis(10), Duration::from_millis(100), Duration::from_secs(1)];
/// A kernel half that has been stopped (SIGSTOP) for so long serves nobody: it is killed and started anew.
const STOPPED: Duration = Duration::from_secs(5);

/// Asks the keeper to become the program that the header names, and tells the kernel half that it could not.
pub const UPGRADE_SIGNAL: i32 = libc::SIGUSR1;

/// What the keeper waits for.
const SIGNALS: [i32; 3] = [libc::SIGCHLD, libc::SIGTERM, UPGRADE_SIGNAL];

/// The same under a person's terminal. There the kernel half gets SIGINT, too, and does not listen.
const SIGNALS_OF_A_TERMINAL: [i32; 4] = [libc::SIGCHLD, libc::SIGTERM, UPGRADE_SIGNAL, libc::SIGINT];

/// The keeper's whole memory.
pub struct Keeper {
    ward: Ward,
    kernel: Kernel,
    /// When the kernel half died, as far as that matters still.
    crashes: VecDeque<Instant>,
    slots: Slots,
}

/// Where the processes are noted whose ends come by the thousand: a look at all slots finds them all.
#[derive(Debug, Default)]
struct Slots {
    by_pid: HashMap<i32, usize>,
    /// How many processes had been made then.
    drawn: u64,
}

/// The other half.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kernel {
    /// To be started then.
    Down { until: Instant },
    /// It runs.
    Up { pid: i32 },
    /// Somebody has stopped it; it is killed then.
    Stopped { pid: i32, until: Instant },
}

impl Keeper {
    /// Keeps an instance whose kernel half is still to be started.
    pub fn new(ward: Ward) -> Self {
        Self { ward, kernel: Kernel::Down { until: Instant::now() }, crashes: VecDeque::new(), slots: Slots::default() }
    }

    /// Keeps until the kernel half ends because nothing is left to own. Gives the exit status.
    pub fn run(mut self) -> u8 {
        loop {
            match self.kernel {
                Kernel::Down { until } if until <= Instant::now() => match self.start_kernel() {
                    None => {}
                    Some(Verdict::Idle) => return 0,
                    Some(Verdict::KeeperIsGone) => self = self.promoted(),
                    Some(Verdict::DirectoryHasChanged) => return 1,
                },
                Kernel::Stopped { pid, until } if until <= Instant::now() => {
                    say(&format!("the kernel half, pid {pid}, has been stopped for {STOPPED:?}: it is started anew"));
                    send(pid, libc::SIGKILL);
                    self.kernel = Kernel::Up { pid };
                }
                Kernel::Down { until } | Kernel::Stopped { until, .. } => {
                    self.wait(Some(until.saturating_duration_since(Instant::now())));
                }
                Kernel::Up { .. } => self.wait(None),
            }
            if self.reap() {
                self.ward.remove();
                return 0;
            }
        }
    }

    fn wait(&mut self, timeout: Option<Duration>) {
        let signals = match self.ward.options.place {
            Place::Foreground => SIGNALS_OF_A_TERMINAL.as_slice(),
            Place::Background => SIGNALS.as_slice(),
        };
        match sys::wait_signal(signals, timeout) {
            Some(libc::SIGTERM | libc::SIGINT) => self.tell_kernel(libc::SIGTERM),
            Some(UPGRADE_SIGNAL) => self.upgrade(),
            Some(_) | None => {}
        }
    }

    /// Makes the kernel half. Gives its verdict in the new process only.
    fn start_kernel(&mut self) -> Option<Verdict> {
        let keeper = rustix::process::getpid();
        let mode = if self.crashes.len() >= CRASHES { Conduct::Safe } else { Conduct::Full };
        match sys::fork_sharing_files() {
            Ok(Fork::Child) => Some(shell::serve(&self.ward, keeper, mode)),
            Ok(Fork::Parent(pid)) => {
                self.ward.state.header().set_kernel(pid);
                self.kernel = Kernel::Up { pid };
                None
            }
            Err(error) => {
                say(&format!("the kernel half cannot be started: {error}"));
                self.kernel = Kernel::Down { until: Instant::now() + CRASH_WINDOW };
                None
            }
        }
    }

    /// The other half has lost its keeper and is the keeper now. It becomes its own program anew, so that nothing of what it
    /// remembers is in the way; if the system refuses that, it goes on as it is.
    fn promoted(mut self) -> Self {
        sys::alarm(0);
        self.ward.state.header().set_deaths(Deaths { keeper: self.deaths().keeper + 1, ..self.deaths() });
        self.ward.state.header().set_kernel(0);
        let error = match rustix::fs::open("/proc/self/exe", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
            Ok(program) => self.ward.become_program(program.as_raw_fd(), self.ward.previous()),
            Err(errno) => errno.into(),
        };
        say(&format!("starting anew as the keeper: {error}"));
        if let Err(error) = self.ward.take_charge() {
            say(&error.to_string());
        }
        self.kernel = Kernel::Down { until: Instant::now() };
        self.crashes.clear();
        self
    }

    /// Everybody who has ended. `true`: the kernel half, because nothing is left to own.
    fn reap(&mut self) -> bool {
        let mut told = false;
        while let Some(ended) = sys::wait_any_peek() {
            if self.kernel.pid() == Some(ended.pid) {
                sys::reap(ended.pid);
                if ended.status == Verdict::IDLE {
                    return true;
                }
                self.kernel_died(&ended);
            } else {
                self.note(&ended);
                sys::reap(ended.pid);
                told = true;
            }
        }
        self.see_whether_stopped();
        if told {
            self.tell_kernel(libc::SIGCHLD);
        }
        false
    }

    /// Keeps how a child ended where the kernel half looks for it. One without a slot was nobody's: an orphan, or one that
    /// never became its program.
    fn note(&mut self, ended: &Ended) {
        if let Some(slot) = self.slot_of(ended.pid) {
            let realtime_ns = shell::clock::now().real_ns;
            slot.note_end(ended.pid, &End { status: ended.status, rusage: ended.rusage, realtime_ns });
        }
    }

    fn slot_of(&mut self, pid: i32) -> Option<Slot> {
        let state = &mut self.ward.state;
        let known = self.slots.by_pid.remove(&pid).and_then(|index| state.slot(index)).filter(|slot| slot.is_of(pid));
        if known.is_some() {
            return known;
        }
        // One that cannot be mapped is found when there is memory again, or by the next core.
        let _ = state.catch_up();
        let drawn = state.header().drawn();
        if self.slots.drawn != drawn {
            self.slots = Slots { by_pid: state.by_pid(), drawn };
        }
        state.find(pid)
    }

    fn kernel_died(&mut self, ended: &Ended) {
        let now = Instant::now();
        self.ward.state.header().set_kernel(0);
        self.ward.state.header().set_deaths(Deaths { kernel: self.deaths().kernel + 1, ..self.deaths() });
        self.crashes.retain(|at| now.saturating_duration_since(*at) < CRASH_WINDOW);
        // SIGKILL comes from outside: an administrator, or the system for want of memory. No request of a client is to blame.
        if ended.status != ExitStatus::Signal(libc::SIGKILL) && ended.status != Verdict::ANEW {
            self.crashes.push_back(now);
        }
        // It handed over and died before we began: there is nothing to become. The death of a new one decides nothing: another is
        // made, until the old one takes back.
        if self.ward.state.header().handed_over().0 == ended.pid {
            self.ward.state.header().move_upgrade(UpgradePhase::HandedOver, UpgradePhase::None);
        }
        let pause = PAUSES.get(self.crashes.len()).or(PAUSES.last()).copied().unwrap_or_default();
        say(&format!("the kernel half, pid {}, ended ({:?}); it is started again", ended.pid, ended.status));
        self.kernel = Kernel::Down { until: now + pause };
    }

    fn see_whether_stopped(&mut self) {
        let Some(pid) = self.kernel.pid() else {
            return;
        };
        match (sys::stopped(pid), self.kernel) {
            (true, Kernel::Up { .. }) => self.kernel = Kernel::Stopped { pid, until: Instant::now() + STOPPED },
            (false, Kernel::Stopped { .. }) => self.kernel = Kernel::Up { pid },
            (true, _) | (false, _) => {}
        }
    }

    fn tell_kernel(&self, signal: i32) {
        if let Some(pid) = self.kernel.pid() {
            send(pid, signal);
        }
    }

    /// Becomes the program that the kernel half has chosen and tried. Comes back only when that fails.
    fn upgrade(&mut self) {
        let header = self.ward.state.header();
        if header.upgrade() != UpgradePhase::HandedOver {
            return;
        }
        let (_, _, program) = header.handed_over();
        let own = rustix::fs::open("/proc/self/exe", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        let error = self.ward.become_program(program, own.as_ref().ok().map(AsRawFd::as_raw_fd));
        header.not_executed(error.raw_os_error().unwrap_or(libc::ENOENT));
        self.tell_kernel(UPGRADE_SIGNAL);
    }

    fn deaths(&self) -> Deaths {
        self.ward.state.header().deaths()
    }
}

impl Kernel {
    fn pid(self) -> Option<i32> {
        match self {
            Self::Up { pid } | Self::Stopped { pid, .. } => Some(pid),
            Self::Down { .. } => None,
        }
    }
}

/// To the kernel half, our own child that we have not reaped: its pid is nobody else's.
fn send(pid: i32, signal: i32) {
    if let (Some(pid), Some(signal)) = (Pid::from_raw(pid), Signal::from_named_raw(signal)) {
        let _ = rustix::process::kill_process(pid, signal);
    }
}
