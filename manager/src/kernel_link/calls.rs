//! Each request of the protocol as a method with its own answer type.
//!
//! Every method submits at once, in the order of the calls, and gives a future of the answer.

use super::connection::{KernelLink, PendingReply};
use super::error::LinkError;
use ringmaster_protocol::message::{
    Ack, Done, ExitIfIdle, Exiting, Forget, GetValue, Leased, List, ListValues, Listen, Listing, OpenProcess,
    OpenSocket, ProcessId, ProcessInfo, PutLease, RemoveSocket, RemoveValue, Reply, Request, SetValue, Signal,
    Signalled, SocketInfo, SocketList, Sockets, Spawn, Status, StatusReply, TakeLease, Target, Value, ValueNames,
    Watch, Welcome,
};
use ringmaster_protocol::ring::Stream;
use std::future::Future;
use std::marker::PhantomData;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll};

/// What a kind of reply becomes.
pub trait Answer: Sized {
    /// Takes the reply with its descriptors; gives the reply back if it is not of this kind.
    fn take(reply: Reply, fds: Vec<OwnedFd>) -> Result<Self, Mismatch>;
}

/// Why a reply is not the answer that was asked for.
#[derive(Debug)]
pub enum Mismatch {
    /// It is another message, of this number.
    Other(u16),
    /// A descriptor is missing.
    NoDescriptor,
}

/// One row a reply that is its own answer.
macro_rules! plain_answers {
    ($($name:ident,)+) => {
        $(impl Answer for $name {
            fn take(reply: Reply, _: Vec<OwnedFd>) -> Result<Self, Mismatch> {
                if let Reply::$name(answer) = reply { Ok(answer) } else { Err(Mismatch::Other(reply.number())) }
            }
        })+
    };
}

plain_answers! {
    Welcome,
    StatusReply,
    Signalled,
    Listing,
    Done,
    Leased,
    SocketList,
    Value,
    ValueNames,
    Exiting,
}

impl Answer for ProcessInfo {
    fn take(reply: Reply, _: Vec<OwnedFd>) -> Result<Self, Mismatch> {
        if let Reply::Spawned(spawned) = reply { Ok(spawned.process) } else { Err(Mismatch::Other(reply.number())) }
    }
}

/// A process and its process file (`ringmaster_protocol::ring`), read-only.
#[derive(Debug)]
pub struct OpenedProcess {
    /// The process as it was when the file was opened.
    pub process: ProcessInfo,
    /// The file.
    pub file: OwnedFd,
}

impl Answer for OpenedProcess {
    fn take(reply: Reply, fds: Vec<OwnedFd>) -> Result<Self, Mismatch> {
        let Reply::ProcessFile(answer) = reply else {
            return Err(Mismatch::Other(reply.number()));
        };
        let file = fds.into_iter().next().ok_or(Mismatch::NoDescriptor)?;
        Ok(Self { process: answer.process, file })
    }
}

/// A socket that the core keeps, and this process's descriptor of it.
#[derive(Debug)]
pub struct OpenedSocket {
    /// The socket.
    pub socket: SocketInfo,
    /// Whether this request made it.
    pub created: bool,
    /// Its descriptor; `None` for a `reuse_port` one, of which every process gets its own.
    pub file: Option<OwnedFd>,
}

impl Answer for OpenedSocket {
    fn take(reply: Reply, fds: Vec<OwnedFd>) -> Result<Self, Mismatch> {
        let Reply::Listening(answer) = reply else {
            return Err(Mismatch::Other(reply.number()));
        };
        let file = fds.into_iter().next();
        if file.is_none() && !answer.socket.reuse_port {
            return Err(Mismatch::NoDescriptor);
        }
        Ok(Self { socket: answer.socket, created: answer.created, file })
    }
}

/// An answer to come, of its own type.
#[derive(Debug)]
#[must_use = "a request that nobody waits for is a cast"]
pub struct Call<A> {
    reply: PendingReply,
    answer: PhantomData<fn() -> A>,
}

impl<A: Answer> Future for Call<A> {
    type Output = Result<A, LinkError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let request = self.reply.request();
        Pin::new(&mut self.reply).poll(context).map(|answered| {
            let (reply, fds) = answered?;
            A::take(reply, fds).map_err(|mismatch| match mismatch {
                Mismatch::Other(message) => LinkError::Unexpected { request, message },
                Mismatch::NoDescriptor => LinkError::NoDescriptor { request },
            })
        })
    }
}

impl KernelLink {
    /// Submits any request whose answer is an `A`.
    pub(super) fn ask<A: Answer>(&self, request: impl Into<Request>, fds: Vec<OwnedFd>) -> Call<A> {
        Call { reply: self.submit(request.into(), fds), answer: PhantomData }
    }

    /// What the core is and how it does.
    pub fn status(&self) -> Call<StatusReply> {
        self.ask(Status::default(), Vec::new())
    }

    /// Starts a process; `fds` are those that `Passed` positions name.
    pub fn spawn(&self, spawn: Spawn, fds: Vec<OwnedFd>) -> Call<ProcessInfo> {
        self.ask(spawn, fds)
    }

    /// Sends a signal and tells whom it reached.
    pub fn signal(&self, process: ProcessId, signal: i32, target: Target) -> Call<Signalled> {
        let ext = Vec::new();
        self.ask(Signal { process, signal, target, ext }, Vec::new())
    }

    /// One page of processes whose name begins with `prefix`, those with a larger id than `after`.
    pub fn list(&self, after: ProcessId, prefix: &str) -> Call<Listing> {
        let prefix = prefix.to_owned();
        let ext = Vec::new();
        self.ask(List { after, prefix, ext }, Vec::new())
    }

    /// All processes whose name begins with `prefix`, in the order of their ids. Asks page by page.
    pub async fn list_all(&self, prefix: &str) -> Result<Vec<ProcessInfo>, LinkError> {
        let mut all: Vec<ProcessInfo> = Vec::new();
        loop {
            let after = all.last().map_or(ProcessId(0), |last| last.id);
            let page = self.list(after, prefix).await?;
            let empty = page.processes.is_empty();
            all.extend(page.processes);
            if !page.more || empty {
                return Ok(all);
            }
        }
    }

    /// Asks for notices about processes whose name begins with `prefix`.
    pub fn watch(&self, prefix: &str) -> Call<Done> {
        let prefix = prefix.to_owned();
        let ext = Vec::new();
        self.ask(Watch { prefix, ext }, Vec::new())
    }

    /// Everything below `offset` has been taken care of. Not answered; one that is lost is made up for by the next.
    pub fn ack(&self, process: ProcessId, stream: Stream, offset: u64) -> Result<(), LinkError> {
        self.cast(Request::Ack(Ack { process, stream, offset }))
    }

    /// Forgets an ended process.
    pub fn forget(&self, process: ProcessId) -> Call<Done> {
        let ext = Vec::new();
        self.ask(Forget { process, ext }, Vec::new())
    }

    /// Asks to be the manager of the instance.
    pub fn take_lease(&self, holder: String, grace: std::time::Duration) -> Call<Leased> {
        let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        let ext = Vec::new();
        self.ask(TakeLease { holder, grace_ms, ext }, Vec::new())
    }

    /// Gives the lease back; the core stops the leased processes.
    pub fn put_lease(&self) -> Call<Done> {
        self.ask(PutLease::default(), Vec::new())
    }

    /// Creates or finds a listening socket.
    pub fn listen(&self, listen: Listen) -> Call<OpenedSocket> {
        self.ask(listen, Vec::new())
    }

    /// A descriptor of the socket `name`.
    pub fn open_socket(&self, name: String) -> Call<OpenedSocket> {
        let ext = Vec::new();
        self.ask(OpenSocket { name, ext }, Vec::new())
    }

    /// All sockets, sorted by name.
    pub fn sockets(&self) -> Call<SocketList> {
        self.ask(Sockets::default(), Vec::new())
    }

    /// Closes a socket.
    pub fn remove_socket(&self, name: String) -> Call<Done> {
        let ext = Vec::new();
        self.ask(RemoveSocket { name, ext }, Vec::new())
    }

    /// Stores a value.
    pub fn set_value(&self, name: String, value: Vec<u8>) -> Call<Done> {
        let ext = Vec::new();
        self.ask(SetValue { name, value, ext }, Vec::new())
    }

    /// A stored value.
    pub fn get_value(&self, name: String) -> Call<Value> {
        let ext = Vec::new();
        self.ask(GetValue { name, ext }, Vec::new())
    }

    /// All names of values that begin with `prefix`, in order. Asks page by page.
    pub async fn list_values(&self, prefix: &str) -> Result<Vec<String>, LinkError> {
        let mut all: Vec<String> = Vec::new();
        loop {
            let after = all.last().cloned().unwrap_or_default();
            let request = ListValues { after, prefix: prefix.to_owned(), ext: Vec::new() };
            let page: ValueNames = self.ask(request, Vec::new()).await?;
            let empty = page.names.is_empty();
            all.extend(page.names);
            if !page.more || empty {
                return Ok(all);
            }
        }
    }

    /// Forgets a value.
    pub fn remove_value(&self, name: String) -> Call<Done> {
        let ext = Vec::new();
        self.ask(RemoveValue { name, ext }, Vec::new())
    }

    /// Opens the process file of a process.
    pub fn open_process(&self, process: ProcessId) -> Call<OpenedProcess> {
        let ext = Vec::new();
        self.ask(OpenProcess { process, ext }, Vec::new())
    }

    /// Asks the core to end if it owns nothing.
    pub fn exit_if_idle(&self) -> Call<Exiting> {
        self.ask(ExitIfIdle::default(), Vec::new())
    }
}
