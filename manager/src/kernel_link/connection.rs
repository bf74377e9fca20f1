//! A connection to the core: the handle that others hold, and the greeting.
//!
//! Requests enter one bounded channel in the order in which they are submitted, and leave in that order; a task
//! ([`super::driver`]) owns the socket and everything that is waited for.

use super::driver::Driver;
use super::error::{LinkError, LossReason};
use ringmaster_protocol::limits::{MAX_BODY, MAX_FDS};
use ringmaster_protocol::message::{Hello, Notice, PROTOCOL, Reply, Request, Role, Welcome};
use std::future::Future;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};

/// Requests that may wait to be sent. A start of several hundred processes fits; more means that the core is stuck, and
/// then refusing is better than hoarding.
pub const MAX_WAITING: usize = 1024;

/// How long an answer is waited for. The core answers within milliseconds; a stuck one is killed and restarted by
/// its watchdog after 5 s (DESIGN §2), and a spawn may wait for a slow file system.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Events that may wait to be taken. Small, because what does not fit waits coalesced in [`super::notices`].
const EVENTS: usize = 64;

/// What the core tells unasked.
#[derive(Debug, Clone, PartialEq)]
pub enum KernelEvent {
    /// A notice.
    Notice(Notice),
    /// The connection is over; this is the last event.
    Lost(LossReason),
}

/// The answer of a request with the descriptors that came beside it.
pub(super) type Answered = Result<(Reply, Vec<OwnedFd>), LinkError>;

/// A request on its way to the driver, encoded.
#[derive(Debug)]
pub(super) struct Submitted {
    /// Its name in messages for people.
    pub(super) name: &'static str,
    /// Its frozen number.
    pub(super) message: u16,
    pub(super) body: Vec<u8>,
    pub(super) fds: Vec<OwnedFd>,
    /// `None`: a cast.
    pub(super) answer: Option<oneshot::Sender<Answered>>,
}

/// A handle of the connection; clones share it. The connection ends when all handles are gone and everything that was
/// submitted is answered.
#[derive(Debug, Clone)]
pub struct KernelLink {
    requests: mpsc::Sender<Submitted>,
}

impl KernelLink {
    /// Submits a request now and gives its answer later. The order of calls to `submit` and [`Self::cast`] is the order
    /// on the wire, whether or not the answers are awaited.
    ///
    /// Dropping the answer does not take the request back. Must be called within the runtime: the answer has a deadline.
    pub fn submit(&self, request: Request, fds: Vec<OwnedFd>) -> PendingReply {
        let name = name_of(&request);
        let (answer, receiver) = oneshot::channel();
        let submitted = self.enqueue(&request, fds, Some(answer));
        PendingReply {
            name,
            state: match submitted {
                Ok(()) => {
                    PendingState::Waiting { answer: receiver, deadline: Box::pin(tokio::time::sleep(CALL_TIMEOUT)) }
                }
                Err(error) => PendingState::Failed(Some(error)),
            },
        }
    }

    /// Submits a request and waits for its answer.
    pub async fn call(&self, request: Request, fds: Vec<OwnedFd>) -> Result<(Reply, Vec<OwnedFd>), LinkError> {
        self.submit(request, fds).await
    }

    /// Submits a request that has no answer.
    pub fn cast(&self, request: Request) -> Result<(), LinkError> {
        self.enqueue(&request, Vec::new(), None)
    }

    fn enqueue(
        &self,
        request: &Request,
        fds: Vec<OwnedFd>,
        answer: Option<oneshot::Sender<Answered>>,
    ) -> Result<(), LinkError> {
        let name = name_of(request);
        let body = request.body();
        for (what, size, limit) in [("bytes", body.len(), MAX_BODY), ("file descriptors", fds.len(), MAX_FDS)] {
            if size > limit {
                return Err(LinkError::TooLarge { request: name, what, size, limit });
            }
        }
        let submitted = Submitted { name, message: request.number(), body, fds, answer };
        self.requests.try_send(submitted).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => LinkError::Busy { request: name, limit: MAX_WAITING },
            mpsc::error::TrySendError::Closed(_) => LinkError::Gone { request: name, reason: LossReason::Closed },
        })
    }
}

/// The name of a request in messages for people.
fn name_of(request: &Request) -> &'static str {
    let number = request.number();
    Request::TABLE.iter().find(|(row, _)| *row == number).map_or("a request", |(_, name)| name)
}

/// The answer to come of a submitted request. Gives [`LinkError::TimedOut`] after [`CALL_TIMEOUT`].
#[derive(Debug)]
#[must_use = "a request that nobody waits for is a cast"]
pub struct PendingReply {
    name: &'static str,
    state: PendingState,
}

#[derive(Debug)]
enum PendingState {
    /// Submitted.
    Waiting { answer: oneshot::Receiver<Answered>, deadline: Pin<Box<tokio::time::Sleep>> },
    /// Not even submitted; taken by the first poll.
    Failed(Option<LinkError>),
}

impl PendingReply {
    /// Name of the request.
    pub fn request(&self) -> &'static str {
        self.name
    }
}

impl Future for PendingReply {
    type Output = Result<(Reply, Vec<OwnedFd>), LinkError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let request = self.name;
        let gone = LinkError::Gone { request, reason: LossReason::Closed };
        match &mut self.state {
            PendingState::Failed(error) => Poll::Ready(Err(error.take().unwrap_or(gone))),
            PendingState::Waiting { answer, deadline } => {
                if let Poll::Ready(answered) = Pin::new(answer).poll(context) {
                    return Poll::Ready(answered.unwrap_or(Err(gone)));
                }
                deadline.as_mut().poll(context).map(|()| Err(LinkError::TimedOut { request, after: CALL_TIMEOUT }))
            }
        }
    }
}

/// Greets the core on a connected socket: preface, `Hello`, choice of the version. The receiver gives the events
/// of this connection. Needs a tokio runtime with I/O and time.
pub async fn establish(
    socket: UnixStream,
    build: String,
    role: Role,
) -> Result<(KernelLink, Welcome, mpsc::Receiver<KernelEvent>), LinkError> {
    let (requests, submitted) = mpsc::channel(MAX_WAITING);
    let (events, receiver) = mpsc::channel(EVENTS);
    tokio::spawn(Driver::new(socket, submitted, events).run());
    let link = KernelLink { requests };
    let hello = Hello { oldest: PROTOCOL, newest: PROTOCOL, build, role, ext: Vec::new() };
    let welcome: Welcome = link.ask(hello, Vec::new()).await?;
    if welcome.protocol != PROTOCOL {
        return Err(LinkError::Version { chosen: welcome.protocol, oldest: PROTOCOL, newest: PROTOCOL });
    }
    Ok((link, welcome, receiver))
}
