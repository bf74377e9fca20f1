//! Whether a process has ended: its pidfd is readable then (pidfd_open(2)), also while nobody has taken notice of its end.
//! The one place of circusd that asks so; what is done about it is elsewhere.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;
use tokio::io::unix::AsyncFd;

/// Waits for the end of a process, at most so long; gives whether it has come. Blocks the thread.
///
/// # Errors
/// The system does not let us wait.
pub fn has_ended(process: impl AsFd, within: Duration) -> io::Result<bool> {
    let timeout = Timespec::try_from(within).map_err(io::Error::other)?;
    let mut waiting = [PollFd::new(&process, PollFlags::IN)];
    loop {
        match poll(&mut waiting, Some(&timeout)) {
            Err(Errno::INTR) => {}
            outcome => return Ok(outcome? > 0),
        }
    }
}

/// Waits for the end of a process, in the loop; the descriptor comes from [`crate::readiness::watched`].
///
/// # Errors
/// The system does not let us wait.
pub async fn ended(process: &AsyncFd<OwnedFd>) -> io::Result<()> {
    process.readable().await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{Pid, PidfdFlags, pidfd_open};
    use std::process::Command;

    #[test]
    fn a_process_that_lives_has_not_ended_and_a_zombie_has() {
        let mut child = Command::new("sleep").arg("3600").spawn().unwrap();
        let process = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).unwrap();
        assert!(!has_ended(&process, Duration::ZERO).unwrap());
        child.kill().unwrap();
        assert!(has_ended(&process, Duration::from_secs(60)).unwrap());
        assert!(has_ended(&process, Duration::ZERO).unwrap(), "nobody has waited for it");
        child.wait().unwrap();
    }
}
