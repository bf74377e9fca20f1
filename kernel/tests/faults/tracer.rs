//! ptrace(2): stops a half of the core at each of its system calls, and kills it there or lets the call fail.
//!
//! The calls of a half and of the children that it makes, until those execute their programs, are numbered from the moment at
//! which the half, at rest until then, gets something to do. One thread traces: the system knows tracers as threads.

use nix::sys::ptrace::{self, Options};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::Write;
use std::process::{Child, Command, Stdio};

/// epoll_wait, epoll_pwait, epoll_pwait2, rt_sigtimedwait on x86-64: calls in which a half is at rest.
const REST: [i64; 4] = [232, 281, 441, 128];

const CLOSE: i64 = 3;

/// rt_sigreturn, exit and exit_group do not come back; waitid(2) with WNOHANG has none of the errors.
const CANNOT_FAIL: [i64; 4] = [15, 60, 231, 247];

/// getpid(2) has no errors, and whoever gets one panics.
pub const GETPID: i64 = 39;

/// Which side of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    Before,
    After,
}

/// Where a process was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stop {
    /// The call's number (`__NR_*` of x86-64).
    pub call: i64,
    pub side: Side,
    /// By a process that the half has made, and not by itself.
    pub child: bool,
    /// That is to become a program, or is a keeper's trial of what the system can do: no kernel half.
    pub passing: bool,
}

/// What happens at the chosen stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Deed {
    /// Stops are counted only.
    Nothing,
    /// SIGKILL to the half that is traced. A child that stands there goes on, or stands until the end.
    KillHalf { hold: bool },
    /// SIGKILL to the one who stands there.
    KillItself,
    /// SIGKILL to both halves; a new core is started.
    KillBoth,
    /// SIGSTOP to a kernel half that stands there, which is not traced any more.
    StopKernel,
    /// The call is not made and fails so.
    Fail(i32),
    /// The call is made with half the length.
    Short,
}

/// At which stop.
#[derive(Debug, Clone, Copy)]
pub struct Aim {
    /// From 0. A deed to a call counts those stops only that are before a call.
    pub at: usize,
    pub deed: Deed,
    /// The next from there on by a child, or by the half itself; `None`: just there, whoever it is.
    pub child: Option<bool>,
    /// Only a call of that number: another run of the same scenario may make one more or less before it.
    pub call: Option<i64>,
}

/// What was seen.
#[derive(Debug, Default)]
pub struct Seen {
    pub stops: Vec<Stop>,
    /// Where the deed was done.
    pub hit: Option<Stop>,
}

/// Tells the tracer, which waits for processes and nothing else, that the scenario is over: a process that ends when this is dropped.
pub struct Over(Child);

impl Over {
    pub fn new() -> Self {
        Self(Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap())
    }

    pub fn pid(&self) -> i32 {
        i32::try_from(self.0.id()).unwrap()
    }
}

impl Drop for Over {
    fn drop(&mut self) {
        if let Some(mut pipe) = self.0.stdin.take() {
            pipe.flush().ok();
        }
    }
}

/// One traced process.
#[derive(Debug, Clone, Copy, Default)]
struct Tracee {
    inside: Option<i64>,
    /// Stands until the end.
    held: bool,
    /// Let go of at its next stop.
    leaving: bool,
    /// Made by a parent that waits for it.
    passing: bool,
}

/// The tracer of one scenario.
pub struct Tracer<'a> {
    half: i32,
    aim: Aim,
    tracees: HashMap<i32, Tracee>,
    /// Were traced, and have ended or been let go of.
    gone: HashSet<i32>,
    /// Registers to be put back after a call, and the result to be told instead of its own.
    bent: BTreeMap<i32, (nix::libc::user_regs_struct, Option<i32>)>,
    armed: bool,
    over: bool,
    seen: Seen,
    begin: Option<Box<dyn FnOnce() + 'a>>,
    kill_both: &'a mut dyn FnMut(),
}

fn wait() -> Option<WaitStatus> {
    loop {
        match waitpid(None, Some(WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD)) {
            Ok(status) => return Some(status),
            Err(nix::errno::Errno::EINTR) => {}
            Err(nix::errno::Errno::ECHILD) => return None,
            Err(errno) => panic!("waiting for the traced: {errno}"),
        }
    }
}

impl<'a> Tracer<'a> {
    pub fn new(half: i32, aim: Aim, begin: impl FnOnce() + 'a, kill_both: &'a mut dyn FnMut()) -> Self {
        Self {
            half,
            aim,
            tracees: HashMap::new(),
            gone: HashSet::new(),
            bent: BTreeMap::new(),
            armed: false,
            over: false,
            seen: Seen::default(),
            begin: Some(Box::new(begin)),
            kill_both,
        }
    }

    /// Traces until the process `over` has ended and nobody is traced any more.
    pub fn run(mut self, over: i32) -> Seen {
        let options = Options::PTRACE_O_TRACESYSGOOD
            | Options::PTRACE_O_TRACEFORK
            | Options::PTRACE_O_TRACEVFORK
            | Options::PTRACE_O_TRACECLONE
            | Options::PTRACE_O_TRACEEXEC;
        ptrace::seize(Pid::from_raw(self.half), options).unwrap();
        ptrace::interrupt(Pid::from_raw(self.half)).unwrap();
        self.tracees.insert(self.half, Tracee::default());
        while !(self.over && self.tracees.is_empty()) {
            let Some(status) = wait() else {
                break;
            };
            if status.pid().map(Pid::as_raw) == Some(over) {
                self.over = true;
                self.let_go();
                continue;
            }
            self.event(status);
        }
        self.seen
    }

    fn event(&mut self, status: WaitStatus) {
        match status {
            WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, _, _) => {
                self.forget(pid);
                self.bent.remove(&pid.as_raw());
            }
            WaitStatus::PtraceSyscall(pid) => self.call(pid),
            WaitStatus::PtraceEvent(pid, _, event) if event == nix::libc::PTRACE_EVENT_EXEC => {
                if pid.as_raw() == self.half {
                    self.go_on(pid, None);
                } else {
                    // It is a program of somebody else now.
                    self.stand(pid, Side::After);
                    self.leave(pid);
                }
            }
            WaitStatus::PtraceEvent(pid, _, event) => {
                // On a busy machine this is told when the child has become its program already, and is not traced any more.
                if event == nix::libc::PTRACE_EVENT_VFORK
                    && let Ok(made) = ptrace::getevent(pid).map(|made| i32::try_from(made).unwrap())
                    && !self.gone.contains(&made)
                {
                    self.tracees.entry(made).or_default().passing = true;
                }
                self.go_on(pid, None);
            }
            WaitStatus::Stopped(pid, signal) => self.go_on(pid, Some(signal)),
            WaitStatus::Continued(_) | WaitStatus::StillAlive => {}
        }
    }

    /// At the beginning or at the end of a call.
    fn call(&mut self, pid: Pid) {
        let Ok(regs) = ptrace::getregs(pid) else {
            return;
        };
        let number = i64::try_from(regs.orig_rax).unwrap_or(-1);
        // As the system has it: PTRACE_SYSCALL_INFO_ENTRY.
        let entry = ptrace::syscall_info(pid).is_ok_and(|info| info.op == 1);
        let tracee = self.tracees.entry(pid.as_raw()).or_default();
        tracee.inside = entry.then_some(number);
        let resting = entry && REST.contains(&number) && pid.as_raw() == self.half;
        if !self.armed {
            if resting {
                self.armed = true;
                if let Some(begin) = self.begin.take() {
                    begin();
                }
            }
            return self.go_on(pid, None);
        }
        if resting && self.over {
            return self.leave(pid);
        }
        if let Some((mut before, result)) = self.bent.remove(&pid.as_raw())
            && !entry
        {
            before.rax = result.map_or(regs.rax, |errno| i64::from(-errno).cast_unsigned());
            before.rip = regs.rip;
            before.rcx = regs.rcx;
            before.r11 = regs.r11;
            before.eflags = regs.eflags;
            ptrace::setregs(pid, before).ok();
        }
        self.stand(pid, if entry { Side::Before } else { Side::After });
        let held = self.tracees.get(&pid.as_raw()).is_some_and(|tracee| tracee.held);
        if held && !self.over {
            return;
        }
        self.go_on(pid, None);
    }

    /// Counts a stop, and does the deed when this is the one.
    fn stand(&mut self, pid: Pid, side: Side) {
        let Ok(regs) = ptrace::getregs(pid) else {
            return;
        };
        let call = i64::try_from(regs.orig_rax).unwrap_or(-1);
        let to_call = matches!(self.aim.deed, Deed::Fail(_) | Deed::Short);
        if to_call && side == Side::After {
            return;
        }
        let passing = self.tracees.get(&pid.as_raw()).is_some_and(|tracee| tracee.passing);
        let stop = Stop { call, side, child: pid.as_raw() != self.half, passing };
        let stands = match self.aim.child {
            None => self.seen.stops.len() == self.aim.at,
            Some(child) => self.seen.stops.len() >= self.aim.at && stop.child == child,
        };
        let stands = stands && self.aim.call.is_none_or(|wanted| wanted == call);
        let stands = stands && !(stop.passing && self.aim.deed == Deed::StopKernel);
        let here = stands && self.seen.hit.is_none();
        self.seen.stops.push(stop);
        if !here || self.over || self.aim.deed == Deed::Nothing || to_call && CANNOT_FAIL.contains(&call) {
            return;
        }
        self.seen.hit = Some(stop);
        match self.aim.deed {
            Deed::Nothing => {}
            Deed::KillHalf { hold } => {
                if hold && stop.child {
                    self.tracees.entry(pid.as_raw()).or_default().held = true;
                }
                kill(self.half);
            }
            Deed::KillItself => kill(pid.as_raw()),
            Deed::KillBoth => (self.kill_both)(),
            Deed::StopKernel => {
                send(pid.as_raw(), Signal::SIGSTOP);
                self.tracees.entry(pid.as_raw()).or_default().leaving = true;
            }
            Deed::Fail(errno) => {
                self.bent.insert(pid.as_raw(), (regs, Some(errno)));
                // close(2) has let go of the descriptor whatever it says.
                let number = if call == CLOSE { regs.orig_rax } else { u64::MAX };
                ptrace::setregs(pid, nix::libc::user_regs_struct { orig_rax: number, ..regs }).ok();
            }
            Deed::Short => {
                self.bent.insert(pid.as_raw(), (regs, None));
                ptrace::setregs(pid, shortened(regs)).ok();
            }
        }
    }

    fn go_on(&mut self, pid: Pid, signal: Option<Signal>) {
        let tracee = self.tracees.entry(pid.as_raw()).or_default();
        if tracee.leaving {
            self.leave(pid);
        } else {
            // One that was killed meanwhile is told by its end.
            ptrace::syscall(pid, signal).ok();
        }
    }

    fn leave(&mut self, pid: Pid) {
        if ptrace::detach(pid, None).is_ok() {
            self.forget(pid);
        }
    }

    fn forget(&mut self, pid: Pid) {
        self.tracees.remove(&pid.as_raw());
        self.gone.insert(pid.as_raw());
    }

    /// Nobody is to be traced any more; a half that is busy still comes to rest first.
    fn let_go(&mut self) {
        let hit = self.seen.hit.is_some();
        for (pid, tracee) in self.tracees.clone() {
            let resting = tracee.inside.is_some_and(|call| REST.contains(&call));
            if tracee.held {
                self.leave(Pid::from_raw(pid));
            } else if hit || resting || pid != self.half {
                self.tracees.entry(pid).or_default().leaving = true;
                ptrace::interrupt(Pid::from_raw(pid)).ok();
            }
        }
    }
}

fn kill(pid: i32) {
    send(pid, Signal::SIGKILL);
}

fn send(pid: i32, signal: Signal) {
    nix::sys::signal::kill(Pid::from_raw(pid), signal).ok();
}

/// Whether a call has a length that can be halved.
pub fn has_length(call: i64) -> bool {
    [0, 1, 17, 18, 275].contains(&call)
}

/// unlink, unlinkat.
pub fn removes(call: i64) -> bool {
    [87, 263].contains(&call)
}

/// read, write, pread64 and pwrite64 have it in their third argument, splice in its fifth.
fn shortened(regs: nix::libc::user_regs_struct) -> nix::libc::user_regs_struct {
    let half = |length: u64| if length > 1 { length / 2 } else { length };
    match regs.orig_rax {
        275 => nix::libc::user_regs_struct { r8: half(regs.r8), ..regs },
        0 | 1 | 17 | 18 => nix::libc::user_regs_struct { rdx: half(regs.rdx), ..regs },
        _ => regs,
    }
}
