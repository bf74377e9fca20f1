//! Upgrade in place: try the program, hand over, take back when it fails (docs/adr/0007-keeper-and-kernel.md).
//!
//! The program is opened once. It reads a copy of the state in a process of its own and says that it can take over, or is
//! refused with its own words. Then this half stops touching anything, the keeper executes the program, and this half
//! waits: to be ended by the new kernel half, to go on because nothing was executed, or to be the keeper itself because
//! the new one died or did not come so far in time. Whoever moves the phase in the state first has decided.

use super::{Shell, Verdict, clock, socket, tree};
use crate::core::ReplyTo;
use crate::instance::{UPGRADE_REPORT, through};
use crate::keeper::{READY, UPGRADE_SIGNAL, Ward};
use crate::limits::{COMMIT, TRIAL, TRIAL_WORDS};
use crate::state::{Deaths, Header, UpgradePhase};
use crate::sys;
use ringmaster_protocol::message::{Refusal, Reply, Upgrading};
use rustix::event::{PollFd, PollFlags};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open};
use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use super::poll::Token;

/// The copy of the state for a dry run, in the instance directory.
const COPY: &str = "state.trial";

/// What is needed to hand over.
pub struct Upgrade {
    /// How another program takes over, but for the dry run.
    words: Vec<CString>,
    copy: CString,
    previous: Option<OwnedFd>,
    directory: OwnedFd,
    trial: Option<Trial>,
}

/// A program that is being tried.
struct Trial {
    to: ReplyTo,
    program: OwnedFd,
    said: OwnedFd,
    words: Vec<u8>,
    pidfd: OwnedFd,
    /// `CLOCK_BOOTTIME`.
    until: u64,
}

/// How the wait after handing over came to its end.
enum Outcome {
    /// The keeper could not execute the program, for that errno.
    NotExecuted(i32),
    /// The new half did not come, and the instance is ours.
    TakenBack(&'static str),
    /// The new half serves.
    Superfluous,
}

impl Upgrade {
    /// Knows how the ward is handed on.
    pub fn new(ward: &Ward) -> io::Result<Self> {
        // Left by a kernel half that died during a dry run.
        let _ = std::fs::remove_file(through(ward.instance.as_fd(), COPY));
        Ok(Self {
            words: ward.words(ward.previous())?,
            copy: CString::new(ward.options.directory.join(COPY).as_os_str().as_bytes())?,
            previous: ward.previous.as_ref().map(OwnedFd::try_clone).transpose()?,
            directory: ward.instance.as_fd().try_clone_to_owned()?,
            trial: None,
        })
    }

    /// When a dry run has taken too long (`CLOCK_BOOTTIME`).
    pub fn deadline(&self) -> Option<u64> {
        self.trial.as_ref().map(|trial| trial.until)
    }

    /// What came of the last one; empty: there was none.
    pub fn report(&self) -> String {
        std::fs::read_to_string(through(self.directory.as_fd(), UPGRADE_REPORT)).unwrap_or_default()
    }

    fn save_report(&self, text: &str) {
        // Best effort: it is for people.
        let _ = std::fs::write(through(self.directory.as_fd(), UPGRADE_REPORT), text);
    }

    fn open(&self, program: Option<&[u8]>) -> Result<OwnedFd, Refusal> {
        let shown = program.map_or("the program before the last upgrade".into(), String::from_utf8_lossy);
        let opened = match (program, &self.previous) {
            (Some(path), _) => {
                rustix::fs::open(OsStr::from_bytes(path), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
                    .map_err(io::Error::from)
            }
            (None, Some(previous)) => previous.try_clone(),
            (None, None) => {
                return Err(Refusal::NotFound { what: "program".into(), name: shown.into_owned() });
            }
        };
        let opened = opened.map_err(|error| socket::failed(format!("opening {shown}"), &error))?;
        let stat = rustix::fs::fstat(&opened).map_err(|errno| socket::failed("looking at it", &errno.into()))?;
        let own = rustix::process::geteuid().as_raw();
        let trusted = (stat.st_uid == own || stat.st_uid == 0) && stat.st_mode & 0o022 == 0;
        if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile && trusted {
            return Ok(opened);
        }
        Err(Refusal::Invalid {
            field: "program".into(),
            value: format!("{shown} of user {} with mode {:o}", stat.st_uid, stat.st_mode & 0o7777),
            expected: format!("a file of user {own} or root that nobody else can write"),
        })
    }
}

impl Shell {
    /// Begins to try a program; the answer comes when it has spoken, or was silent for too long.
    pub(super) fn try_program(&mut self, to: ReplyTo, program: Option<&[u8]>) {
        if let Err(refusal) = self.begin_trial(to, program) {
            self.refuse_upgrade(to, refusal);
        }
    }

    fn begin_trial(&mut self, to: ReplyTo, program: Option<&[u8]>) -> Result<(), Refusal> {
        if self.upgrade.trial.is_some() {
            return Err(Refusal::NotPermitted { reason: "another upgrade is under way".into() });
        }
        let program = self.upgrade.open(program)?;
        let begun = self.run_trial(to, program);
        if begun.is_err() {
            self.clear_trial();
        }
        begun
    }

    fn run_trial(&mut self, to: ReplyTo, program: OwnedFd) -> Result<(), Refusal> {
        let directory = self.upgrade.directory.as_fd();
        std::fs::copy(format!("/proc/self/fd/{}", self.state.number()), through(directory, COPY))
            .map_err(|error| socket::failed("copying the state", &error))?;
        let dry_run = [c"--dry-run".to_owned(), self.upgrade.copy.clone()];
        let argv = self.upgrade.words.iter().cloned().chain(dry_run).collect();
        let (said, pidfd) = self.launcher.try_program(&program, argv, self.state.header())?;
        if let Err(error) = self.poll.add(&said, Token::Trial) {
            let _ = sys::pidfd_signal(pidfd.as_fd(), libc::SIGKILL);
            return Err(socket::failed("waiting for the program", &error));
        }
        let until = self.now.boot_ns + u64::try_from(TRIAL.as_nanos()).unwrap_or(0);
        self.upgrade.trial = Some(Trial { to, program, said, words: Vec::new(), pidfd, until });
        Ok(())
    }

    /// The program says something, or has said all.
    pub(super) fn upgrade_tried(&mut self) {
        let Some(trial) = &mut self.upgrade.trial else {
            return;
        };
        let mut portion = [0; TRIAL_WORDS];
        match rustix::io::read(&trial.said, &mut portion) {
            Ok(0) | Err(_) => self.end_trial(None),
            Ok(count) if trial.words.len() + count > TRIAL_WORDS => self.end_trial(Some("it says too much")),
            Ok(count) => trial.words.extend(portion.get(..count).unwrap_or_default()),
        }
    }

    /// The program has said nothing for too long.
    pub(super) fn upgrade_overdue(&mut self) {
        if self.upgrade.deadline().is_some_and(|until| until <= self.now.boot_ns) {
            self.end_trial(Some("it does not come to an end"));
        }
    }

    fn end_trial(&mut self, objection: Option<&str>) {
        let Some(trial) = self.upgrade.trial.take() else {
            return;
        };
        self.poll.remove(&trial.said);
        let _ = sys::pidfd_signal(trial.pidfd.as_fd(), libc::SIGKILL);
        self.clear_trial();
        let said = String::from_utf8_lossy(&trial.words).trim().to_owned();
        match (said.strip_prefix(READY), objection) {
            (Some(version), None) => {
                let version = version.to_owned();
                let reply = Reply::from(Upgrading { version: version.clone(), ext: Vec::new() });
                self.answer_now(trial.to, Ok(reply));
                self.hand_over(&trial.program, &version);
            }
            (_, objection) => {
                let why = objection.map(str::to_owned).unwrap_or(said);
                let why = if why.is_empty() { "it says nothing".to_owned() } else { why };
                let reason = format!("the program cannot take over: {why}");
                self.refuse_upgrade(trial.to, Refusal::NotPermitted { reason });
            }
        }
    }

    /// This half is about to be the keeper, and nobody will hear what the program says.
    pub(super) fn abandon_trial(&mut self) {
        if let Some(trial) = self.upgrade.trial.take() {
            let _ = sys::pidfd_signal(trial.pidfd.as_fd(), libc::SIGKILL);
            self.clear_trial();
        }
    }

    /// The process of a dry run has ended or was killed.
    fn clear_trial(&self) {
        self.state.header().end_trial();
        let _ = std::fs::remove_file(through(self.upgrade.directory.as_fd(), COPY));
    }

    fn refuse_upgrade(&mut self, to: ReplyTo, refusal: Refusal) {
        self.report_upgrade(&format!("refused: {refusal}"));
        self.answer_now(to, Err(refusal));
    }

    /// Lets go, and waits for what becomes of it.
    fn hand_over(&mut self, program: &OwnedFd, version: &str) {
        self.sweep_all();
        for connection in self.connections.values_mut() {
            let _ = connection.send();
        }
        let header = self.state.header();
        let own = rustix::process::getpid().as_raw_nonzero().get();
        header.hand_over(own, clock::now().boot_ns, program.as_raw_fd());
        sys::alarm(0);
        let mut signals = Vec::new();
        let outcome = match sys::pidfd_signal(self.keeper.as_fd(), UPGRADE_SIGNAL) {
            Ok(()) => self.wait_for_outcome(&mut signals),
            Err(_) => self.take_back("the keeper died"),
        };
        match outcome {
            Outcome::Superfluous => std::process::exit(1),
            Outcome::TakenBack(why) => {
                self.report_upgrade(&format!("fell back: {version}: {why}"));
                self.verdict = Some(Verdict::KeeperIsGone);
            }
            Outcome::NotExecuted(errno) => {
                header.end_upgrade();
                let error = io::Error::from_raw_os_error(errno);
                self.report_upgrade(&format!("refused: {version}: it cannot be executed: {error}"));
                for signal in signals {
                    self.own_signal(signal);
                }
            }
        }
    }

    /// What the keeper says, until it is gone or too late.
    fn wait_for_outcome(&self, signals: &mut Vec<i32>) -> Outcome {
        let deadline = clock::now().boot_ns + u64::try_from(COMMIT.as_nanos()).unwrap_or(0);
        let own = rustix::process::getpid().as_raw_nonzero().get();
        loop {
            let now = clock::now();
            let mut ready = [PollFd::new(&self.keeper, PollFlags::IN), PollFd::new(&self.signals, PollFlags::IN)];
            let _ = rustix::event::poll(&mut ready, Some(&clock::until(deadline, now)));
            let [keeper, _] = ready.map(|one| !one.revents().is_empty());
            while let Some(signal) = sys::take_signal(self.signals.as_fd()) {
                signals.push(signal);
            }
            let header = self.state.header();
            if header.handed_over().0 != own {
                // A later half hands over: ours was committed, or came to nothing, while we did not look.
                return Outcome::Superfluous;
            }
            match header.upgrade() {
                UpgradePhase::NotExecuted => return Outcome::NotExecuted(header.errno()),
                UpgradePhase::HandedOver if keeper => return self.take_back("the new core died"),
                UpgradePhase::HandedOver if now.boot_ns >= deadline => {
                    return self.take_back("the new core did not serve in time");
                }
                UpgradePhase::HandedOver => {}
                UpgradePhase::Committed | UpgradePhase::Abandoned | UpgradePhase::None => return Outcome::Superfluous,
            }
        }
    }

    /// Makes sure that this is the only half left. The keeper is stopped first, so that it starts no other meanwhile.
    fn take_back(&self, why: &'static str) -> Outcome {
        let header = self.state.header();
        if !header.move_upgrade(UpgradePhase::HandedOver, UpgradePhase::Abandoned) {
            return Outcome::Superfluous;
        }
        let _ = sys::pidfd_signal(self.keeper.as_fd(), libc::SIGSTOP);
        // Named in these last seconds, so it is no other's pid. Its keeper may be dead, and it in the middle of its recovery.
        let new = Pid::from_raw(header.kernel()).filter(|pid| pid.as_raw_nonzero().get() != header.handed_over().0);
        if let Some(new) = new.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()) {
            let _ = sys::pidfd_signal(new.as_fd(), libc::SIGKILL);
            let _ = rustix::event::poll(&mut [PollFd::new(&new, PollFlags::IN)], None);
        }
        let _ = sys::pidfd_signal(self.keeper.as_fd(), libc::SIGKILL);
        let _ = rustix::event::poll(&mut [PollFd::new(&self.keeper, PollFlags::IN)], None);
        Outcome::TakenBack(why)
    }

    /// The first act of a new kernel half that is ready to serve: the old one is not needed any more.
    pub(super) fn commit_upgrade(&mut self) {
        let header = self.state.header();
        let (old, began, _) = header.handed_over();
        match header.upgrade() {
            UpgradePhase::None => return,
            UpgradePhase::Committed => {}
            UpgradePhase::HandedOver if header.move_upgrade(UpgradePhase::HandedOver, UpgradePhase::Committed) => {}
            UpgradePhase::HandedOver | UpgradePhase::Abandoned | UpgradePhase::NotExecuted => {
                if is_taken_back(header, self.keeper_pid) {
                    // The old half has decided to go on, and ends us in a moment.
                    std::process::exit(1);
                }
                // It went on, and is the keeper that made us, or died since.
                header.end_upgrade();
                return;
            }
        }
        if tree::stat(old).is_some_and(|stat| stat.parent == self.keeper_pid)
            && let Some(pid) = Pid::from_raw(old)
        {
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
        header.end_upgrade();
        let deaths = header.deaths();
        header.set_deaths(Deaths { upgrades: deaths.upgrades + 1, ..deaths });
        let pause_us = clock::now().boot_ns.saturating_sub(began) / 1000;
        let version = env!("CARGO_PKG_VERSION");
        self.report_upgrade(&format!("done: papa {version} serves; nobody was served for {pause_us} microseconds"));
    }

    fn report_upgrade(&mut self, text: &str) {
        self.log(&format!("upgrade {text}"));
        self.upgrade.save_report(text);
        self.core.set_last_upgrade(text.to_owned(), self.state.header().deaths());
    }
}

/// Whether the old half has decided to go on without the keeper that made us. As our keeper it has not.
pub fn is_taken_back(header: Header, keeper: i32) -> bool {
    header.upgrade() == UpgradePhase::Abandoned && header.handed_over().0 != keeper && old_lives(header)
}

/// Whether the kernel half that handed over is there to take back: then nobody else may be the keeper.
pub fn old_lives(header: Header) -> bool {
    let (old, _, _) = header.handed_over();
    let own = rustix::process::getpid().as_raw_nonzero().get();
    let open = matches!(header.upgrade(), UpgradePhase::HandedOver | UpgradePhase::Abandoned);
    open && old != own && tree::stat(old).is_some_and(|stat| !stat.zombie)
}
