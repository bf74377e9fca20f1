//! The task that owns the socket of a connection: the only reader, the only writer, the only one who knows which
//! request waits for which answer.
//!
//! It never waits for one side while another could go on: requests are taken while there is room, answers are read
//! always, notices are handed out as they are taken.

use super::connection::{Answered, KernelEvent, Submitted};
use super::error::{LinkError, LossReason};
use super::notices::NoticeQueue;
use super::wire::{Incoming, Outgoing, Received};
use ringmaster_protocol::frame::{Frame, Kind, PREFACE};
use ringmaster_protocol::message::{DecodeError, Notice, Refusal, Reply};
use std::collections::HashMap;
use std::io::ErrorKind;
use tokio::io::{Interest, Ready};
use tokio::net::UnixStream;
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::sync::oneshot;

/// Requests without an answer up to which new ones are taken. Their memory is a table entry each.
const MAX_IN_FLIGHT: usize = 1024;

/// Bytes that wait to be sent up to which new requests are taken: with one more of the largest frames this bounds the buffer.
const MAX_UNSENT: usize = 1 << 20;

/// A request on the wire.
#[derive(Debug)]
struct InFlight {
    request: &'static str,
    answer: oneshot::Sender<Answered>,
}

/// What the driver waits for.
enum Turn {
    /// A request, or `None`: all handles are gone.
    Submitted(Option<Submitted>),
    /// The socket can do something.
    Socket(std::io::Result<Ready>),
    /// There is room for an event, or nobody takes events any more.
    Room(Result<(), ()>),
}

pub(super) struct Driver {
    socket: UnixStream,
    submitted: mpsc::Receiver<Submitted>,
    events: mpsc::Sender<KernelEvent>,
    incoming: Incoming,
    outgoing: Outgoing,
    in_flight: HashMap<u32, InFlight>,
    notices: NoticeQueue,
    last_id: u32,
    /// All handles are gone.
    released: bool,
    /// Nobody takes events.
    unheard: bool,
}

impl Driver {
    pub(super) fn new(
        socket: UnixStream,
        submitted: mpsc::Receiver<Submitted>,
        events: mpsc::Sender<KernelEvent>,
    ) -> Self {
        let mut outgoing = Outgoing::default();
        outgoing.push_bytes(&PREFACE);
        Self {
            socket,
            submitted,
            events,
            incoming: Incoming::new(),
            outgoing,
            in_flight: HashMap::new(),
            notices: NoticeQueue::default(),
            last_id: 0,
            released: false,
            unheard: false,
        }
    }

    /// Serves the connection to its end, then tells everybody who waits.
    pub(super) async fn run(mut self) {
        let reason = self.serve().await;
        self.submitted.close();
        for (_, waiting) in self.in_flight.drain() {
            fail(waiting.request, waiting.answer, &reason);
        }
        while let Ok(submitted) = self.submitted.try_recv() {
            if let Some(answer) = submitted.answer {
                fail(submitted.name, answer, &reason);
            }
        }
        while let Some(notice) = self.notices.pop() {
            if self.events.send(KernelEvent::Notice(notice)).await.is_err() {
                return;
            }
        }
        // Nobody listens: then nobody misses it.
        let _ = self.events.send(KernelEvent::Lost(reason)).await;
    }

    async fn serve(&mut self) -> LossReason {
        loop {
            if self.released && self.in_flight.is_empty() && self.outgoing.waiting() == 0 {
                return LossReason::Released;
            }
            let outcome = match self.turn().await {
                Turn::Submitted(Some(submitted)) => {
                    self.take(submitted);
                    while self.has_room()
                        && let Ok(submitted) = self.submitted.try_recv()
                    {
                        self.take(submitted);
                    }
                    self.send()
                }
                Turn::Submitted(None) => {
                    self.released = true;
                    Ok(())
                }
                Turn::Socket(Ok(ready)) => self.exchange(ready),
                Turn::Socket(Err(error)) => Err(LossReason::Socket(error.to_string())),
                Turn::Room(Ok(())) => {
                    self.hand_out();
                    Ok(())
                }
                Turn::Room(Err(())) => {
                    self.unheard = true;
                    self.notices = NoticeQueue::default();
                    Ok(())
                }
            };
            if let Err(reason) = outcome {
                return reason;
            }
        }
    }

    async fn turn(&mut self) -> Turn {
        let room_for_requests = self.has_room();
        let interest =
            if self.outgoing.waiting() > 0 { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
        tokio::select! {
            submitted = self.submitted.recv(), if room_for_requests && !self.released => Turn::Submitted(submitted),
            ready = self.socket.ready(interest) => Turn::Socket(ready),
            room = self.events.reserve(), if !self.notices.is_empty() => Turn::Room(room.map(drop).map_err(drop)),
        }
    }

    /// Whether one more request may be taken.
    fn has_room(&self) -> bool {
        self.in_flight.len() < MAX_IN_FLIGHT && self.outgoing.waiting() < MAX_UNSENT
    }

    /// Puts a request into the outgoing buffer.
    fn take(&mut self, submitted: Submitted) {
        let (kind, id) = match submitted.answer {
            Some(answer) => {
                let (id, request) = (self.free_id(), submitted.name);
                self.in_flight.insert(id, InFlight { request, answer });
                (Kind::Request, id)
            }
            None => (Kind::Cast, 0),
        };
        let frame = Frame { kind, message: submitted.message, request: id, body: submitted.body };
        // The handle has checked the size already.
        self.outgoing.push(&frame, submitted.fds);
    }

    /// The next id that no request in flight has; never 0, which means "no request".
    fn free_id(&mut self) -> u32 {
        loop {
            self.last_id = self.last_id.wrapping_add(1);
            if self.last_id != 0 && !self.in_flight.contains_key(&self.last_id) {
                return self.last_id;
            }
        }
    }

    fn exchange(&mut self, ready: Ready) -> Result<(), LossReason> {
        if ready.is_writable() || ready.is_write_closed() {
            self.send()?;
        }
        if ready.is_readable() || ready.is_read_closed() {
            self.receive()?;
        }
        Ok(())
    }

    fn send(&mut self) -> Result<(), LossReason> {
        let (socket, outgoing) = (&self.socket, &mut self.outgoing);
        match socket.try_io(Interest::WRITABLE, || outgoing.send(socket)) {
            Ok(()) => Ok(()),
            Err(error) if is_transient(&error) => Ok(()),
            // What the core wrote before it closed may still wait to be read: the reading side finds the end.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => self.receive_rest(),
            Err(error) => Err(LossReason::Socket(error.to_string())),
        }
    }

    /// Reads to the end after the writing side has failed.
    fn receive_rest(&mut self) -> Result<(), LossReason> {
        loop {
            match self.incoming.receive(&self.socket) {
                Ok(Received::Bytes) => self.dispatch_all()?,
                Ok(Received::End) | Err(_) => return Err(LossReason::Closed),
            }
        }
    }

    fn receive(&mut self) -> Result<(), LossReason> {
        let (socket, incoming) = (&self.socket, &mut self.incoming);
        match socket.try_io(Interest::READABLE, || incoming.receive(socket)) {
            Ok(Received::Bytes) => self.dispatch_all(),
            Ok(Received::End) => Err(LossReason::Closed),
            Err(error) if is_transient(&error) => Ok(()),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Err(LossReason::Closed),
            Err(error) => Err(LossReason::Socket(error.to_string())),
        }
    }

    fn dispatch_all(&mut self) -> Result<(), LossReason> {
        loop {
            match self.incoming.next_frame() {
                Ok(Some(frame)) => self.dispatch(&frame)?,
                Ok(None) => return Ok(()),
                Err(error) => return Err(LossReason::Protocol(error.to_string())),
            }
        }
    }

    fn dispatch(&mut self, frame: &Frame) -> Result<(), LossReason> {
        match frame.kind {
            Kind::Notice => self.notice(frame),
            Kind::Reply => {
                let reply = match Reply::decode(frame.message, &frame.body) {
                    Ok(reply) => reply,
                    Err(error) => return Err(LossReason::Protocol(error.to_string())),
                };
                let fds = self.incoming.take_fds(fds_of(&reply));
                self.answer(frame.request, Ok((reply, fds)))
            }
            Kind::Refusal => match Refusal::decode(frame.message, &frame.body) {
                Ok(refusal) => self.answer(frame.request, Err(LinkError::Refused(refusal))),
                Err(error) => Err(LossReason::Protocol(error.to_string())),
            },
            Kind::Request | Kind::Cast => Err(LossReason::Protocol("a request came from the core".to_owned())),
        }
    }

    /// Keeps a notice until somebody takes it. One that this build does not know comes from a newer core.
    fn notice(&mut self, frame: &Frame) -> Result<(), LossReason> {
        match Notice::decode(frame.message, &frame.body) {
            Ok(notice) if !self.unheard => self.notices.push(notice),
            Ok(_) => {}
            Err(DecodeError::Unknown { number }) => {
                tracing::debug!(number, "the core sent a notice that this build does not know");
            }
            Err(error) => return Err(LossReason::Protocol(error.to_string())),
        }
        self.hand_out();
        Ok(())
    }

    /// Hands out notices while there is room.
    fn hand_out(&mut self) {
        while !self.notices.is_empty() {
            match self.events.try_reserve() {
                Ok(place) => {
                    if let Some(notice) = self.notices.pop() {
                        place.send(KernelEvent::Notice(notice));
                    }
                }
                Err(TrySendError::Full(()) | TrySendError::Closed(())) => return,
            }
        }
    }

    fn answer(&mut self, id: u32, answered: Answered) -> Result<(), LossReason> {
        let Some(waiting) = self.in_flight.remove(&id) else {
            return Err(LossReason::Protocol(format!(
                "an answer to request {id}, which was not made or is answered already"
            )));
        };
        // Nobody waits any more (timed out or dropped): the descriptors are closed with the answer.
        let _ = waiting.answer.send(answered);
        Ok(())
    }
}

/// How many descriptors come beside a reply (the documentation of each message says so).
fn fds_of(reply: &Reply) -> usize {
    match reply {
        Reply::ProcessFile(_) => 1,
        Reply::Listening(listening) => usize::from(!listening.socket.reuse_port),
        Reply::Welcome(_)
        | Reply::StatusReply(_)
        | Reply::Spawned(_)
        | Reply::Signalled(_)
        | Reply::Listing(_)
        | Reply::Done(_)
        | Reply::Leased(_)
        | Reply::SocketList(_)
        | Reply::Value(_)
        | Reply::ValueNames(_)
        | Reply::Upgrading(_)
        | Reply::Exiting(_) => 0,
    }
}

fn is_transient(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

fn fail(request: &'static str, answer: oneshot::Sender<Answered>, reason: &LossReason) {
    let _ = answer.send(Err(LinkError::Gone { request, reason: reason.clone() }));
}
