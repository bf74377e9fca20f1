//! The core under test and everything that is done to it from the outside.

use crate::broken::Programs;
use crate::plan::{Action, Broken, Half};
use anyhow::{Context, Result, bail};
use ringmaster_protocol::instance::file;
use ringmaster_protocol::message::StatusReply;
use ringmaster_protocol::status::last_upgrade;
use ringmaster_tests::link::Link;
use ringmaster_tests::program::Program;
use ringmaster_tests::sandbox::Sandbox;
use ringmaster_tests::wait::{NotYet, pass, wait_until};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// How long anything may take before that is a failure of its own.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How long a stopped half may stay: four times as long as the keeper gives it.
const STOPPED: Duration = Duration::from_secs(20);

/// So often a half is stopped that somebody else lets go on.
const MOST_STOPS: u32 = 3;

/// Where the state's header names the kernel half: word 10 (`kernel/src/state/file.rs`; frozen with the layout).
const KERNEL_WORD: u64 = 10 * 8;

/// A core in a sandbox.
pub struct World {
    pub sandbox: Sandbox,
    programs: Programs,
    papa: Option<Child>,
    now: Option<StatusReply>,
    upgrades: usize,
    /// At least one half lives, as far as what was done here goes.
    alive: bool,
}

/// A process that is not mistaken for another.
struct Handle(OwnedFd);

impl Handle {
    fn open(pid: i32) -> Option<Self> {
        pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok().map(Self)
    }

    fn send(&self, signal: Signal) {
        let _ = pidfd_send_signal(&self.0, signal);
    }

    fn wait_end(&self) -> Result<()> {
        if self.ends_within(PATIENCE)? { Ok(()) } else { bail!("a half of the core does not end") }
    }

    fn ends_within(&self, patience: Duration) -> Result<bool> {
        let mut end = [PollFd::new(&self.0, PollFlags::IN)];
        Ok(rustix::event::poll(&mut end, Some(&Timespec::try_from(patience)?))? > 0)
    }
}

impl World {
    /// Starts a core.
    pub fn new(name: &str) -> Result<Self> {
        let sandbox = Sandbox::new(name)?;
        let programs = Programs::new(&sandbox.work().join("programs"))?;
        let mut world = Self { sandbox, programs, papa: None, now: None, upgrades: 0, alive: false };
        world.start()?;
        Ok(world)
    }

    pub fn directory(&self) -> PathBuf {
        self.sandbox.run().join("default")
    }

    pub fn socket(&self) -> PathBuf {
        self.directory().join(file::SOCKET)
    }

    /// Where the core says what happens.
    pub fn log(&self) -> PathBuf {
        self.sandbox.work().join("papa.log")
    }

    fn command(&self) -> Result<Command> {
        let mut command = self.sandbox.command(Program::Papa.path()?);
        // The sandbox's own mark would be found in children of ours only.
        command.current_dir(self.sandbox.work());
        Ok(command)
    }

    /// From outside, as a supervisor does it: again when it did not come up.
    fn start(&mut self) -> Result<()> {
        self.start_papa()?;
        self.await_answer("the core answers", |_| true)?;
        self.alive = true;
        Ok(())
    }

    fn start_papa(&mut self) -> Result<()> {
        let log = OpenOptions::new().append(true).create(true).open(self.log())?;
        let child = self.command()?.arg("-d").stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn()?;
        self.papa = Some(child);
        Ok(())
    }

    /// Waits for an answer of a core that `is_it`.
    fn await_answer(&mut self, what: &str, is_it: impl Fn(&StatusReply) -> bool) -> Result<()> {
        let (socket, alive) = (self.socket(), self.alive);
        let status = wait_until(PATIENCE, what, || {
            let status = Link::connect(&socket).and_then(|mut link| link.status()).map_err(|error| {
                let refused = matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotFound);
                if alive && refused { NotYet::never(error.to_string()) } else { error.to_string().into() }
            })?;
            if is_it(&status) { Ok(status) } else { Err(NotYet::from(format!("{status:?}"))) }
        })?;
        self.now = Some(status);
        Ok(())
    }

    fn pid(&self, half: Half) -> Result<i32> {
        let now = self.now.as_ref().context("it has answered")?;
        Ok(match half {
            Half::Kernel => now.kernel_pid,
            Half::Keeper => now.keeper_pid,
        })
    }

    /// Does it; gives how long nobody was answered, and what is worth noting. An error is a violation.
    pub fn perform(&mut self, action: Action, dead: impl FnMut(Phase)) -> Result<(Duration, String)> {
        // What was done before may have gone on behind the answer that ended it.
        self.await_answer("the core answers", |_| true)?;
        match action {
            Action::Kill(half) => self.kill(half),
            Action::KillTwice(half, after) => self.kill_twice(half, after),
            Action::KillBoth(first) => self.kill_both(first, dead),
            Action::Upgrade => self.upgrade(),
            Action::UpgradeAndKill(half, after) => self.upgrade_and_kill(half, after),
            Action::Rollback => self.rollback(),
            Action::BrokenUpgrade(kind) => self.broken_upgrade(kind),
            Action::Stop => self.stop(),
            Action::StopKeeper => self.stop_keeper(),
        }
    }

    fn kill(&mut self, half: Half) -> Result<(Duration, String)> {
        let pid = self.pid(half)?;
        let victim = Handle::open(pid).with_context(|| format!("{half:?} {pid} is gone before it was killed"))?;
        let begin = Instant::now();
        victim.send(Signal::KILL);
        self.await_others(&[pid])?;
        let took = begin.elapsed();
        self.bury();
        Ok((took, format!("pid {pid}")))
    }

    /// Waits for an answer of a core none of whose halves was one of these, except as the other.
    fn await_others(&mut self, dead: &[i32]) -> Result<()> {
        let dead = dead.to_vec();
        self.await_answer("others answer", |status| {
            !dead.contains(&status.kernel_pid) && !dead.contains(&status.keeper_pid)
        })
    }

    /// The pid of the kernel half that the state names.
    fn kernel_in_state(&self) -> i32 {
        let mut word = [0; 8];
        let read =
            File::open(self.directory().join(file::STATE)).and_then(|file| file.read_exact_at(&mut word, KERNEL_WORD));
        if read.is_ok() { i32::try_from(u64::from_le_bytes(word)).unwrap_or(0) } else { 0 }
    }

    fn kill_twice(&mut self, half: Half, after: u64) -> Result<(Duration, String)> {
        let (kernel, keeper) = (self.pid(Half::Kernel)?, self.pid(Half::Keeper)?);
        let first = Handle::open(kernel).context("the kernel half is gone before it was killed")?;
        let begin = Instant::now();
        first.send(Signal::KILL);
        let next = loop {
            let next = self.kernel_in_state();
            if next != 0 && next != kernel {
                break next;
            }
            if begin.elapsed() > PATIENCE {
                bail!("no other kernel half was made");
            }
            std::thread::yield_now();
        };
        pass(Duration::from_micros(after));
        let second = match half {
            Half::Kernel => next,
            Half::Keeper => keeper,
        };
        let handle = Handle::open(second).with_context(|| format!("{half:?} {second} is gone before it was killed"))?;
        handle.send(Signal::KILL);
        self.await_others(&[kernel, second])?;
        let took = begin.elapsed();
        self.bury();
        Ok((took, format!("pids {kernel}, {second}")))
    }

    fn kill_both(&mut self, first: Half, mut dead: impl FnMut(Phase)) -> Result<(Duration, String)> {
        let second = if first == Half::Kernel { Half::Keeper } else { Half::Kernel };
        let pids = [self.pid(first)?, self.pid(second)?];
        let [one, two] = pids.map(Handle::open);
        let (one, two) = (one.context("a half is gone")?, two.context("a half is gone")?);
        dead(Phase::Before);
        self.alive = false;
        let begin = Instant::now();
        // The second is stopped, so that it cannot do anything about the end of the first.
        two.send(Signal::STOP);
        for half in [&one, &two] {
            half.send(Signal::KILL);
        }
        one.wait_end()?;
        two.wait_end()?;
        self.bury();
        self.start_papa()?;
        self.await_others(&pids)?;
        let took = begin.elapsed();
        self.alive = true;
        dead(Phase::After);
        Ok((took, format!("pids {pids:?}")))
    }

    /// Takes the end of the program that was started from here, so that it is no zombie.
    fn bury(&mut self) {
        if let Some(papa) = &mut self.papa
            && matches!(papa.try_wait(), Ok(Some(_)) | Err(_))
        {
            self.papa = None;
        }
    }

    fn ask_upgrade(&self, program: Option<&PathBuf>) -> Result<Command> {
        let mut command = self.command()?;
        match program {
            Some(program) => command.arg("upgrade").arg(program),
            None => command.arg("rollback"),
        };
        Ok(command)
    }

    fn report(&self) -> String {
        self.now.as_ref().and_then(last_upgrade).unwrap_or_default()
    }

    fn finish_upgrade(&mut self, output: &Output, begin: Instant) -> Result<(Duration, String)> {
        let said = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
        let said = String::from_utf8_lossy(&said).trim().to_owned();
        if !output.status.success() {
            bail!("a good program was not taken: {said}");
        }
        self.await_answer("the new core answers", |_| true)?;
        Ok((begin.elapsed(), said))
    }

    fn upgrade(&mut self) -> Result<(Duration, String)> {
        self.upgrades += 1;
        let program = self.programs.good(self.upgrades);
        let begin = Instant::now();
        let output = self.ask_upgrade(Some(&program))?.output()?;
        self.finish_upgrade(&output, begin)
    }

    fn rollback(&mut self) -> Result<(Duration, String)> {
        let begin = Instant::now();
        let output = self.ask_upgrade(None)?.output()?;
        if !output.status.success() && String::from_utf8_lossy(&output.stderr).contains("not found") {
            return Ok((begin.elapsed(), "there is nothing to go back to".into()));
        }
        self.finish_upgrade(&output, begin)
    }

    /// What comes of the upgrade is open; that nobody notices is not.
    fn upgrade_and_kill(&mut self, half: Half, after: u64) -> Result<(Duration, String)> {
        self.upgrades += 1;
        let program = self.programs.good(self.upgrades);
        let pid = self.pid(half)?;
        let victim = Handle::open(pid).with_context(|| format!("{half:?} {pid} is gone before it was killed"))?;
        let mut asking = self.ask_upgrade(Some(&program))?.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        pass(Duration::from_micros(after));
        let begin = Instant::now();
        victim.send(Signal::KILL);
        self.await_others(&[pid])?;
        let took = begin.elapsed();
        asking.wait()?;
        // The program that asked may have seen the upgrade go on; who serves now is known when it has ended.
        self.await_others(&[pid])?;
        self.bury();
        Ok((took, format!("pid {pid}; {}", self.report())))
    }

    fn broken_upgrade(&mut self, kind: Broken) -> Result<(Duration, String)> {
        let before = [self.pid(Half::Kernel)?, self.pid(Half::Keeper)?];
        let begin = Instant::now();
        let output = self.ask_upgrade(Some(&self.programs.broken(kind)))?.output()?;
        if output.status.success() {
            bail!("{kind:?} was taken: {}", String::from_utf8_lossy(&output.stdout));
        }
        self.await_answer("the old core answers", |_| true)?;
        let took = begin.elapsed();
        self.bury();
        let reached = matches!(kind, Broken::DiesAtTakeOver | Broken::EndsAtTakeOver | Broken::HangsAtTakeOver);
        let now = [self.pid(Half::Kernel)?, self.pid(Half::Keeper)?];
        if !reached && before != now {
            bail!("{kind:?} changed the core: {before:?} {now:?}");
        }
        Ok((took, self.report()))
    }

    fn stop(&mut self) -> Result<(Duration, String)> {
        let pid = self.pid(Half::Kernel)?;
        let victim = Handle::open(pid).context("the kernel half is gone")?;
        let begin = Instant::now();
        let mut stops = 1;
        victim.send(Signal::STOP);
        while !victim.ends_within(STOPPED)? {
            let state = state_of(pid);
            // The system itself lets stopped processes go on when the shell ends that is the last to know their process group.
            if stops == MOST_STOPS || is_stopped(&state) {
                let core = Link::connect(&self.socket()).and_then(|mut link| link.status());
                let core = core.map(|now| (now.keeper_pid, now.kernel_pid));
                bail!("pid {pid} was stopped {stops} times and does not end; it is {state}; the core is {core:?}");
            }
            victim.send(Signal::STOP);
            stops += 1;
        }
        self.await_others(&[pid])?;
        Ok((begin.elapsed(), format!("pid {pid}, stopped {stops} times")))
    }

    /// Children end all the time, so that it is missed.
    fn stop_keeper(&mut self) -> Result<(Duration, String)> {
        let pid = self.pid(Half::Keeper)?;
        let victim = Handle::open(pid).context("the keeper is gone")?;
        let begin = Instant::now();
        victim.send(Signal::STOP);
        wait_until(PATIENCE, "the keeper is stopped", || stands(pid, true))?;
        wait_until(PATIENCE, "the keeper goes on", || stands(pid, false))?;
        let took = begin.elapsed();
        let before = [self.pid(Half::Kernel)?, pid];
        self.await_answer("the core answers", |_| true)?;
        let now = [self.pid(Half::Kernel)?, self.pid(Half::Keeper)?];
        if now != before {
            bail!("it was not let go on: {before:?} {now:?}");
        }
        Ok((took, format!("pid {pid}")))
    }

    /// Both halves end for good.
    pub fn end(mut self) -> Result<()> {
        let handles = [self.pid(Half::Keeper)?, self.pid(Half::Kernel)?].map(Handle::open);
        for handle in handles.iter().flatten() {
            handle.send(Signal::STOP);
        }
        for handle in handles.iter().flatten() {
            handle.send(Signal::KILL);
            handle.wait_end()?;
        }
        if let Some(mut papa) = self.papa.take() {
            papa.wait()?;
        }
        std::fs::remove_dir_all(self.directory())?;
        self.sandbox.finish()
    }
}

/// What the system says of a process that is stopped, or is not.
fn state_of(pid: i32) -> String {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let told = ["State:", "PPid:", "TracerPid:", "SigPnd:", "ShdPnd:", "SigBlk:"];
    let lines = status.lines().filter(|line| told.iter().any(|begin| line.starts_with(begin)));
    lines.collect::<Vec<_>>().join(", ").replace('\t', " ")
}

fn is_stopped(state: &str) -> bool {
    state.contains("State: T")
}

fn stands(pid: i32, stopped: bool) -> Result<(), NotYet> {
    let state = state_of(pid);
    if is_stopped(&state) == stopped { Ok(()) } else { Err(NotYet::from(state)) }
}

/// Around a moment in which no core runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Before,
    After,
}
