//! How busy listening sockets are: in how many slices of 10 ms since the last look a connection waited to be accepted
//! (spec e, `reads`).
//!
//! The sockets are those that circusd hands to this process (`use_sockets`); one that was not handed over has no numbers. A
//! thread waits in poll(2) until something is there, so sockets at which nobody knocks cost nothing. It accepts nothing.

use crate::client::Object;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt;
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use serde_json::Value;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// One slice (spec e).
const SLICE: Timespec = Timespec { tv_sec: 0, tv_nsec: 10_000_000 };

/// What one socket has seen since the last look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reads {
    /// The socket's number.
    pub fd: i32,
    /// `host:port` or a path.
    pub address: String,
    /// Slices in which somebody waited.
    pub reads: u32,
}

/// The sockets that are watched. Dropping it ends the thread at its next wake-up.
#[derive(Debug, Default)]
pub struct Backlog {
    /// Number and address of all, those without numbers of ours as well.
    places: Vec<(i32, String)>,
    sockets: Vec<Watched>,
    over: Arc<AtomicBool>,
}

#[derive(Debug)]
struct Watched {
    fd: i32,
    address: String,
    slices: Arc<AtomicU32>,
}

impl Drop for Backlog {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

impl Backlog {
    /// Watches the sockets of an answer to `listsockets`; goes on when they are the same as before.
    pub fn follow(&mut self, listsockets: &Object) {
        let all = listsockets.get("sockets").and_then(Value::as_array);
        let places: Vec<(i32, String)> = all.into_iter().flatten().filter_map(place).collect();
        if places != self.places {
            *self = Self::watch(places);
        }
    }

    fn watch(places: Vec<(i32, String)>) -> Self {
        let mut backlog = Self::default();
        backlog.places.clone_from(&places);
        let mut polled = Vec::new();
        for (fd, address) in places {
            let Some(socket) = own(fd) else { continue };
            let slices = Arc::new(AtomicU32::new(0));
            polled.push((socket, Arc::clone(&slices)));
            backlog.sockets.push(Watched { fd, address, slices });
        }
        let over = Arc::clone(&backlog.over);
        if !polled.is_empty() {
            let thread = std::thread::Builder::new().name("backlog".to_owned());
            if let Err(error) = thread.spawn(move || count(&polled, &over)) {
                tracing::warn!("no statistics of sockets: {error}");
                backlog.sockets.clear();
            }
        }
        backlog
    }

    /// What was counted since the last call.
    pub fn take(&mut self) -> Vec<Reads> {
        let taken = |socket: &Watched| Reads {
            fd: socket.fd,
            address: socket.address.clone(),
            reads: socket.slices.swap(0, Ordering::Relaxed),
        };
        self.sockets.iter().map(taken).collect()
    }
}

/// Number and address of one entry of `listsockets` (spec c.7).
fn place(socket: &Value) -> Option<(i32, String)> {
    let fd = i32::try_from(socket.get("fd")?.as_i64()?).ok()?;
    let text = |key: &str| socket.get(key).and_then(Value::as_str);
    let address = match (text("path"), text("host"), socket.get("port").and_then(Value::as_u64)) {
        (Some(path), _, _) => path.to_owned(),
        (None, Some(host), Some(port)) => format!("{host}:{port}"),
        (None, _, _) => return None,
    };
    Some((fd, address))
}

/// A copy of our own descriptor of that number, when it is a listening socket.
fn own(fd: i32) -> Option<OwnedFd> {
    let own = pidfd_open(getpid(), PidfdFlags::empty()).ok()?;
    let socket = pidfd_getfd(own, fd, PidfdGetfdFlags::empty()).ok()?;
    sockopt::socket_acceptconn(&socket).ok()?.then_some(socket)
}

fn count(sockets: &[(OwnedFd, Arc<AtomicU32>)], over: &AtomicBool) {
    while !over.load(Ordering::Relaxed) {
        let mut waiting: Vec<PollFd<'_>> =
            sockets.iter().map(|(socket, _)| PollFd::new(socket, PollFlags::IN)).collect();
        if poll(&mut waiting, None).is_err() {
            continue;
        }
        for (polled, (_, slices)) in waiting.iter().zip(sockets) {
            if polled.revents().contains(PollFlags::IN) {
                slices.fetch_add(1, Ordering::Relaxed);
            }
        }
        // A signal makes one slice shorter.
        let _ = poll(&mut [], Some(&SLICE));
    }
}
