//! `drill`: kills the real circusd, and the kernel half of the core where it has one, and writes down what was lost.
//!
//! It believes nobody: processes are compared as the core lists them before and after, connections are tried all the time
//! by threads of its own ([`prober`]), lost bytes are what the core has counted. How circusd comes back is
//! [`restart`]'s business; what is printed is [`receipt`]'s.

mod prober;
mod receipt;
mod restart;

pub use receipt::{CoreHalf, Receipt};

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use ringmaster_protocol::message::{ProcessId, StatusReply};
use rustix::process::{Pid, Signal, kill_process};
use thiserror::Error;

use crate::core_link::{Core, CoreError};
use crate::daemon::{Daemon, DaemonError};
use crate::upgrade::{await_answer, request};
use prober::Probers;
use restart::{Manager, RestartError};

/// How the processes of watchers are named at the core.
const PREFIX: &str = "circus.";

/// How long a circusd may take to come back: a supervisor may wait before it starts one.
const BACK: Duration = Duration::from_secs(60);

/// How long a kernel half may take to come back.
const KERNEL_BACK: Duration = Duration::from_secs(10);

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(5);

/// Why there is no receipt. The exit status is 1.
#[derive(Debug, Error)]
pub enum DrillError {
    /// The core is not there or does not answer.
    #[error(transparent)]
    Core(#[from] CoreError),
    /// circusd did not answer, before or afterwards.
    #[error(transparent)]
    Daemon(#[from] DaemonError),
    /// No circusd to kill.
    #[error("error: no circusd holds the lease of this core: there is nothing to kill")]
    NoManager,
    /// It cannot be killed or started.
    #[error(transparent)]
    Restart(#[from] RestartError),
    /// The core's kernel half was killed and none has come back.
    #[error("error: the kernel half of the core (pid {pid}) was killed and has not come back within {} s", KERNEL_BACK.as_secs())]
    KernelGone {
        /// The one that was killed.
        pid: i32,
    },
}

/// What the core has, as far as the receipt compares it.
struct Inventory {
    processes: BTreeMap<ProcessId, i32>,
    status: StatusReply,
}

/// The whole drill. `remark` is told what is about to happen.
///
/// # Errors
/// See [`DrillError`].
pub fn drill(daemon: &mut Daemon<'_>, socket: &Path, mut remark: impl FnMut(&str)) -> Result<Receipt, DrillError> {
    let runtime = daemon.runtime();
    daemon.ask(&request("numwatchers"))?;
    let core = runtime.block_on(Core::connect(socket))?;
    let before = runtime.block_on(inventory(&core))?;
    let lease = before.status.lease.clone().ok_or(DrillError::NoManager)?;
    let manager = Manager::look(lease.pid)?;
    let sockets = runtime.block_on(async { core.link.sockets().await }).map_err(|reason| core.broken(reason))?;
    let probers = Probers::start(sockets.sockets);
    remark(&format!("killing circusd, pid {}; {}", lease.pid, manager.plan()));
    let killed = Instant::now();
    manager.kill()?;
    let came_back = manager.come_back()?;
    await_answer(daemon, BACK)?;
    let without_control = killed.elapsed();
    let half = kernel_half(daemon, socket, &before.status, &mut remark)?;
    let core = runtime.block_on(Core::connect(socket))?;
    let after = runtime.block_on(inventory(&core))?;
    let (connections, refused) = probers.stop();
    let unchanged = before.processes.iter().filter(|(id, pid)| after.processes.get(id) == Some(*pid)).count();
    Ok(Receipt {
        old_pid: lease.pid,
        new_pid: after.status.lease.map(|lease| lease.pid),
        came_back,
        processes: before.processes.len(),
        unchanged,
        connections,
        refused,
        lost_bytes: after.status.lost_bytes.saturating_sub(before.status.lost_bytes),
        without_control,
        half,
    })
}

async fn inventory(core: &Core) -> Result<Inventory, DrillError> {
    let listed = core.link.list_all(PREFIX).await.map_err(|reason| core.broken(reason))?;
    let status = core.link.status().await.map_err(|reason| core.broken(reason))?;
    let living = listed.into_iter().filter(|info| info.exit.is_none());
    Ok(Inventory { processes: living.map(|info| (info.id, info.pid)).collect(), status })
}

/// Kills the kernel half where there is one, and waits for the next.
fn kernel_half(
    daemon: &mut Daemon<'_>,
    socket: &Path,
    status: &StatusReply,
    remark: &mut impl FnMut(&str),
) -> Result<CoreHalf, DrillError> {
    let (keeper, kernel) = (status.keeper_pid, status.kernel_pid);
    if keeper == kernel {
        return Ok(CoreHalf::Whole);
    }
    remark(&format!("killing the kernel half of the core, pid {kernel}"));
    let killed = Instant::now();
    if let Some(pid) = Pid::from_raw(kernel) {
        kill_process(pid, Signal::KILL).map_err(|errno| RestartError::Kill { pid: kernel, errno })?;
    }
    let runtime = daemon.runtime();
    while killed.elapsed() < KERNEL_BACK {
        let now = runtime.block_on(async { inventory(&Core::connect(socket).await?).await });
        if let Ok(Inventory { status, .. }) = now
            && status.kernel_pid != kernel
        {
            await_answer(daemon, BACK)?;
            return Ok(CoreHalf::Replaced { old: kernel, new: status.kernel_pid, after: killed.elapsed() });
        }
        runtime.block_on(async { tokio::time::sleep(PAUSE).await });
    }
    Err(DrillError::KernelGone { pid: kernel })
}
