//! A circusd that stands by while another program takes its place: when that one ends before it serves, or does not come to
//! serve, the one that stands by goes on in its stead. Services and clients notice a pause, and another process number.
//!
//! It judges by what clients see: one request that is answered, whatever the answer. So it needs no word from the new program,
//! which may be of any version, and whose listening socket the core keeps meanwhile.

use crate::client::{CallError, Caller};
use crate::pidfd::ended;
use crate::program::Program;
use crate::readiness::watched;
use crate::sampling::started;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, getppid, pidfd_open, pidfd_send_signal};
use serde_json::json;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::Duration;

/// The hidden option; its value is the process whose program is replaced.
pub const STAND_BY: &str = "--stand-by";

/// How long the new program may take until it answers. Less than the grace for which the core keeps leased processes
/// (`arbiter`), so that who takes over still finds them.
const LONGEST_START: Duration = Duration::from_secs(20);

/// Between two requests that could not be made.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// The program of this process, also when its file has been replaced (proc_pid_exe(5)).
const OURSELVES: &str = "/proc/self/exe";

/// What became of the new program.
#[derive(Debug)]
pub enum Outcome {
    /// It serves; or another process stands by and this one has nothing left to do.
    Over,
    /// It does not.
    Failed(Failure),
}

/// Why the one that stands by goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// It ended first.
    #[error("the new program ended before it served; the circusd before it goes on, with pid {}", std::process::id())]
    Ended,
    /// It was killed for it.
    #[error(
        "the new program did not answer within {} s and is killed; the circusd before it goes on, with pid {}",
        LONGEST_START.as_secs(),
        std::process::id()
    )]
    Silent,
}

/// Has this very program stand by, for the process that is about to execute another one. Blocks for some milliseconds.
///
/// # Errors
/// It cannot be started.
pub fn post(program: &Program) -> io::Result<()> {
    let mut between = stand_by(program, std::process::id()).spawn()?;
    // Only the one in between is a child of ours, and would stay a zombie of the new program, which does not know it.
    between.wait().map(drop)
}

fn stand_by(program: &Program, replaced: u32) -> Command {
    let mut command = Command::new(OURSELVES);
    command.arg0(&program.name).args(&program.arguments).arg(option(replaced));
    command
}

fn option(replaced: u32) -> String {
    format!("{STAND_BY}={replaced}")
}

/// In the process for which another one stands by: ends the latter, because circusd was asked to end. A stand-by sees only that
/// a process has ended, not that it was to. Does nothing when nobody stands by.
pub fn dismiss() {
    let own = std::process::id();
    let (wanted, since) = (option(own), started(own));
    for pid in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = pid.file_name().to_str().and_then(|name| name.parse().ok());
        let Some(process) = pid.and_then(Pid::from_raw) else {
            continue;
        };
        // Opened first: what is read then is about this process, or it has ended and gets no signal.
        let Ok(pidfd) = pidfd_open(process, PidfdFlags::empty()) else {
            continue;
        };
        let number = process.as_raw_nonzero().get().unsigned_abs();
        // An older one stands by for an earlier process of the same number, or has done so and serves.
        if has_argument(number, &wanted) && started(number) >= since {
            let _ = pidfd_send_signal(&pidfd, Signal::KILL);
        }
    }
}

fn has_argument(pid: u32, wanted: &str) -> bool {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    line.split(|byte| *byte == 0).any(|argument| argument == wanted.as_bytes())
}

/// In the process that stands by: waits until the program of `replaced` serves at `endpoint`, or does not.
///
/// # Errors
/// The system does not let us wait.
pub async fn wait(program: &Program, replaced: Pid, endpoint: &str) -> io::Result<Outcome> {
    if getppid() == Some(replaced) {
        stand_by(program, replaced.as_raw_nonzero().get().unsigned_abs()).spawn()?;
        return Ok(Outcome::Over);
    }
    let process = match pidfd_open(replaced, PidfdFlags::empty()) {
        Ok(process) => watched(process)?,
        Err(Errno::SRCH) => return Ok(Outcome::Failed(Failure::Ended)),
        Err(error) => return Err(error.into()),
    };
    let caller = Caller::new(endpoint);
    let failure = tokio::select! {
        biased;
        () = answered(&caller) => return Ok(Outcome::Over),
        ended = ended(&process) => ended.map(|()| Failure::Ended)?,
        () = tokio::time::sleep(LONGEST_START) => Failure::Silent,
    };
    if failure == Failure::Silent {
        match pidfd_send_signal(&process, Signal::KILL) {
            Ok(()) | Err(Errno::SRCH) => ended(&process).await?,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Outcome::Failed(failure))
}

/// Until a circusd answers.
async fn answered(caller: &Caller) {
    loop {
        match caller.call("numwatchers", json!({})).await {
            Ok(_) | Err(CallError::Refused { .. }) => return,
            Err(CallError::TimedOut { .. } | CallError::Wire { .. }) => tokio::time::sleep(ASK_AGAIN).await,
        }
    }
}
