//! Which of the promises hold on this host, found out by trying.

use crate::sys;
use ringmaster_protocol::message::Guarantee;
use rustix::process::{Pid, PidfdFlags, WaitOptions, pidfd_open};
use std::os::fd::AsFd;

/// The list for `status`. `exit_info`: what [`exit_info_supported`] found.
pub fn list(exit_info: bool) -> Vec<Guarantee> {
    let tell = |name: &str, holds: bool, reason: &str| Guarantee { name: name.into(), holds, reason: reason.into() };
    let proc = std::path::Path::new("/proc/self/fd").exists();
    vec![
        tell("children-survive-core-death", true, "children lead sessions of their own and hold their pipes' readers"),
        tell(
            "output-survives-core-death",
            proc,
            if proc { "pipes are found again through /proc" } else { "/proc is not mounted" },
        ),
        tell(
            "exit-status-of-adopted-children",
            exit_info,
            if exit_info {
                "this Linux tells exit statuses through pidfds"
            } else {
                "this Linux (before 6.15) tells exit statuses to the parent only; a child that outlives a killed core ends with an unknown status"
            },
        ),
        tell(
            "exit-status-while-no-core-runs",
            false,
            "a child that ends between the death of a core and the start of the next leaves no status",
        ),
        tell(
            "output-of-children-that-end-while-no-core-runs",
            false,
            "what is in a pipe goes with its last holder; at most one pipe (64 KiB as a rule) for each stream",
        ),
        tell("upgrade-in-place", true, "the keeper becomes another program and keeps its children"),
    ]
}

/// Whether the exit status of a process can be read through its pidfd after it was reaped. Makes a process that ends at
/// once; called before anything else exists in this one.
pub fn exit_info_supported() -> bool {
    let pid = match sys::fork() {
        Ok(sys::Fork::Child) => std::process::exit(0),
        Ok(sys::Fork::Parent(pid)) => Pid::from_raw(pid),
        Err(_) => None,
    };
    let pidfd = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
    let reaped = rustix::process::waitpid(pid, WaitOptions::empty()).is_ok();
    reaped && pidfd.is_some_and(|pidfd| sys::pidfd_exit_info_supported(pidfd.as_fd()))
}
