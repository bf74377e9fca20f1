//! The thin shell: waits, turns what happened into [`Input`]s, carries out [`Effect`]s. It decides nothing.
//!
//! One thread, one loop. From wake-up to action: [`Shell::turn`] → [`Shell::drive`] → `Shell::perform`.

mod child;
pub mod clock;
mod connection;
mod descriptors;
mod doors;
mod ends;
mod file;
pub mod groups;
pub mod guarantees;
mod home;
pub mod inherited;
mod kin;
mod later;
mod launch;
mod ledger;
mod perform;
mod poll;
mod recover;
mod recover_sockets;
mod serve;
mod settle;
mod signals;
mod socket;
mod store;
mod sweep;
mod sweeps;
pub mod tcp;
mod text;
pub mod tree;
mod upgrade;

pub(crate) use serve::fail;
pub use serve::{Options, Place, ServeError, Verdict, open_state, open_state_at, serve};

use crate::core::ring::{Capture, Captured};
use crate::core::{ClientId, Core, Effect, Effects, Input, Now, ReplyTo};
use crate::limits::{CAPTURES_PER_TURN, CLIENT_SHARE, NOTICES_PER_TURN, TURN};
use crate::say::say;
use crate::state::StateFile;
use crate::sys;
use child::Child;
use connection::{Connection, Dropped, Received, Speech};
use descriptors::Inheritable;
use groups::Groups;
use launch::Launcher;
use poll::{Poll, Ready, Token};
use ringmaster_protocol::frame::Kind;
use ringmaster_protocol::limits::MAX_LINE;
use ringmaster_protocol::message::{DecodeError, ProcessId, Refusal, Request};
use ringmaster_protocol::ring::Stream;
use rustix::io::Errno;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::Instant;
use store::Store;

/// How much the core says on its standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verbosity {
    /// Troubles.
    Quiet,
    /// Also what clients do (`-d`).
    Debug,
}

/// Everything that the core's process holds.
pub struct Shell {
    core: Core,
    poll: Poll,
    now: Now,
    listener: Option<OwnedFd>,
    /// For text over TCP, when asked for.
    tcp: Option<OwnedFd>,
    signals: OwnedFd,
    /// The other half: readable when it has ended.
    keeper: OwnedFd,
    keeper_pid: i32,
    /// Readable when something is removed from the instance directory; `None`: the system does not tell.
    home: Option<OwnedFd>,
    upgrade: upgrade::Upgrade,
    state: StateFile,
    launcher: Launcher,
    groups: Groups,
    values: Store,
    socket_store: Store,
    /// Who else may use this core; `None` when it is not root's.
    policy: Option<PathBuf>,
    connections: HashMap<ClientId, Connection>,
    /// What is read from a client lies here until it is in its connection.
    portion: Vec<u8>,
    text: text::Conversations,
    next_client: u64,
    /// In boxes: half of a hash table is empty.
    children: HashMap<ProcessId, Box<Child>>,
    /// Processes that have ended and whose end the keeper has not noted yet.
    dying: Vec<ProcessId>,
    /// When the keeper is to have noted them (`CLOCK_BOOTTIME`); `None`: there are none.
    noted_by: Option<u64>,
    by_pid: HashMap<i32, ProcessId>,
    sockets: BTreeMap<String, Inheritable>,
    /// How this system tells who is whose child.
    kinship: tree::Kinship,
    /// All processes, as seen at most once in a turn.
    snapshot: Option<tree::Snapshot>,
    /// Who is in a group, as seen at most once in a turn.
    company: HashMap<groups::GroupName, groups::Company>,
    /// Trees of ended processes that are to be killed.
    sweeps: sweeps::Sweeps,
    /// The last capture and its outcome, for the loop that goes on while there is more.
    last: Option<(Capture, Captured)>,
    /// When accepting goes on after the table of descriptors was full, and `missed` is tried again (`CLOCK_BOOTTIME`).
    accept_again: Option<u64>,
    /// Pipes and pidfds that could not be waited for: nobody else would ever look at them.
    missed: Vec<Token>,
    /// What is still to be waited for of processes of a former core.
    later: VecDeque<Token>,
    effects: Effects,
    verbosity: Verbosity,
    verdict: Option<Verdict>,
}

impl Shell {
    /// Serves until nothing is left to own and somebody asked for the end, or until the keeper is gone.
    pub fn run(&mut self) -> io::Result<Verdict> {
        let verdict = loop {
            match self.verdict {
                Some(verdict) => break verdict,
                None => self.turn()?,
            }
        };
        self.sweep_all();
        for connection in self.connections.values_mut() {
            let _ = connection.send();
        }
        Ok(verdict)
    }

    /// Waits once and handles what happened.
    fn turn(&mut self) -> io::Result<()> {
        let deadlines = [self.core.next_deadline(), self.accept_again, self.next_look(), self.upgrade.deadline()];
        let deadline = deadlines.into_iter().chain([self.noted_by, self.sweeps.deadline()]).flatten().min();
        self.now = clock::now();
        let unfinished = self.unfinished();
        let timeout = match deadline {
            _ if !unfinished.is_empty() || !self.later.is_empty() => Some(clock::NOW),
            Some(deadline) => Some(clock::until(deadline, self.now)),
            None => None,
        };
        // A turn that does not come to its end is ended by SIGALRM, and the next kernel half goes on. Nothing ticks meanwhile.
        sys::alarm(0);
        let ready = self.poll.wait(timeout.as_ref())?;
        sys::alarm(TURN);
        self.now = clock::now();
        self.snapshot = None;
        self.company.clear();
        if self.core.next_deadline().is_some_and(|deadline| deadline <= self.now.boot_ns) {
            self.drive(Input::Tick);
        }
        self.retry_accepting();
        self.upgrade_overdue();
        self.note_overdue();
        for client in unfinished {
            if let Err(why) = self.requests(client) {
                self.drop_client(client, &why);
            }
        }
        for event in ready {
            self.handle(event);
        }
        self.sweep_due();
        self.look_at_clients();
        self.tell_clients();
        self.watch_some();
        Ok(())
    }

    fn handle(&mut self, event: Ready) {
        match event.token {
            Token::Listener | Token::TcpListener => self.accept(event.token),
            Token::Signals => self.own_signals(),
            Token::Client(client) => self.serve_client(client, event),
            Token::Pipe(process, stream) => self.read_pipe(process, stream),
            Token::Pidfd(process) => self.process_ended(process),
            Token::Keeper => self.keeper_is_gone(),
            Token::Trial => self.upgrade_tried(),
            Token::Home => self.home_has_changed(),
        }
    }

    /// One input, and everything that follows from it.
    fn drive(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        let mut effects: Vec<Effect> = std::mem::take(&mut self.effects);
        while let Some(input) = inputs.pop_front() {
            if let Input::Readable { .. } = input {
                // No byte has a time before it came.
                self.now = clock::now();
            }
            self.core.step(input, self.now, &mut effects);
            for effect in effects.drain(..) {
                inputs.extend(self.perform(effect));
            }
        }
        self.effects = effects;
    }

    /// Takes output while there is more, within the turn's share.
    fn read_pipe(&mut self, process: ProcessId, stream: Stream) {
        for _ in 0..CAPTURES_PER_TURN {
            self.last = None;
            self.drive(Input::Readable { process, stream });
            match self.last {
                Some((capture, Captured::Bytes(bytes))) if bytes == capture.length => {}
                Some(_) | None => return,
            }
        }
    }

    fn serve_client(&mut self, client: ClientId, event: Ready) {
        let Some(connection) = self.connections.get_mut(&client) else {
            return;
        };
        let mut result = Ok(());
        if event.writable {
            result = connection.send();
        }
        let read =
            result.and_then(|()| if event.readable { self.take_requests(client) } else { self.requests(client) });
        if let Err(why) = read {
            self.drop_client(client, &why);
        }
    }

    /// Reads requests and handles them while there are more, within the client's share of the turn. Descriptors end each read, so
    /// many requests would be as many turns, and as many answers that each wake the client.
    fn take_requests(&mut self, client: ClientId) -> Result<(), Dropped> {
        let share = Share::begin();
        loop {
            let Some(connection) = self.connections.get_mut(&client) else {
                return Ok(());
            };
            let reads = !connection.is_clogged() && !connection.ending;
            let received = if reads { connection.receive(&mut self.portion)? } else { Received::Nothing };
            let more = received == Received::Bytes && connection.speech == Speech::Binary;
            self.requests_within(client, &share)?;
            if !more || share.is_over() {
                return Ok(());
            }
        }
    }

    /// Handles the requests that have arrived whole, as long as their answers find room.
    fn requests(&mut self, client: ClientId) -> Result<(), Dropped> {
        self.requests_within(client, &Share::begin())
    }

    /// The same within a share that has begun; what is left is handled in the next turn.
    fn requests_within(&mut self, client: ClientId, share: &Share) -> Result<(), Dropped> {
        while let Some(connection) = self.connections.get_mut(&client) {
            if connection.speech == Speech::Text {
                return self.converse(client);
            }
            if share.is_over() {
                connection.stalled = true;
                return Ok(());
            }
            let Some(frame) = connection.next_frame()? else {
                if connection.finished && !connection.is_clogged() {
                    let _ = connection.send();
                    return Err(Dropped::Closed);
                }
                return Ok(());
            };
            let request = match frame.kind {
                Kind::Request => Some(frame.request),
                Kind::Cast => None,
                Kind::Reply | Kind::Refusal | Kind::Notice => return Err(Dropped::Direction),
            };
            let to = ReplyTo { client, message: frame.message, request };
            let input = match Request::decode(frame.message, &frame.body) {
                Ok(request) => Input::Request { to, request: Box::new(request) },
                Err(error) => Input::Unreadable { to, refusal: unreadable(&error) },
            };
            self.drive(input);
        }
        Ok(())
    }

    fn drop_client(&mut self, client: ClientId, why: &Dropped) {
        let Some(connection) = self.connections.remove(&client) else {
            return;
        };
        match why {
            Dropped::Closed => {}
            Dropped::Line => {
                connection.send_text(&format!("Error: a line has at most {MAX_LINE} bytes\n"));
                self.log(&format!("client {} is cut off: {why}", client.0));
            }
            Dropped::Broken(_) => self.debug(&format!("client {}: {why}", client.0)),
            Dropped::Preface
            | Dropped::Browser
            | Dropped::Frame(_)
            | Dropped::Direction
            | Dropped::Descriptors
            | Dropped::Reply => {
                self.log(&format!("client {} is cut off: {why}", client.0));
            }
        }
        self.poll.remove(&connection);
        self.watcher_gone(client, &connection.session);
        drop(connection);
        self.drive(Input::Disconnected { client });
        self.end_when_alone();
    }

    /// Notices for those who have room, then bytes for all.
    fn tell_clients(&mut self) {
        let marked: Vec<ClientId> = self.core.marked().collect();
        for client in marked {
            if self.has_room(client) {
                self.drive(Input::Room { client, notices: NOTICES_PER_TURN });
            }
        }
        self.tell_watchers();
        let mut broken = Vec::new();
        for (client, connection) in &mut self.connections {
            let sent = if connection.has_backlog() { connection.send() } else { Ok(()) };
            let (read, write) = connection.wanted();
            let changed = connection.interest != (read, write);
            connection.interest = (read, write);
            let result = sent.and_then(|()| {
                if !changed {
                    return Ok(());
                }
                let token = Token::Client(*client);
                self.poll.change(&*connection, token, read, write).map_err(|error| Dropped::from(error_number(&error)))
            });
            if let Err(why) = result {
                broken.push((*client, why));
            }
        }
        for (client, why) in broken {
            self.drop_client(client, &why);
        }
    }

    fn has_room(&self, client: ClientId) -> bool {
        self.connections.get(&client).is_some_and(|connection| !connection.is_clogged())
    }

    /// Clients whose requests or notices were put off and could go on now, without any event to wake us.
    fn unfinished(&self) -> Vec<ClientId> {
        let stalled = self.connections.iter().filter(|(_, connection)| connection.stalled).map(|(client, _)| *client);
        stalled.chain(self.core.marked()).filter(|client| self.has_room(*client)).collect()
    }

    fn own_signals(&mut self) {
        while let Some(signal) = sys::take_signal(self.signals.as_fd()) {
            self.own_signal(signal);
        }
    }

    fn own_signal(&mut self, signal: i32) {
        match signal {
            libc::SIGCHLD => self.keeper_has_noted(),
            libc::SIGTERM => self.drive(Input::Terminate),
            _ => {}
        }
    }

    /// Nobody reaps our children any more, and new ones would be a stranger's: this process has to be the keeper.
    fn keeper_is_gone(&mut self) {
        self.abandon_trial();
        self.verdict = Some(Verdict::KeeperIsGone);
    }

    fn log(&self, text: &str) {
        say(text);
    }

    fn debug(&self, text: &str) {
        match self.verbosity {
            Verbosity::Debug => self.log(text),
            Verbosity::Quiet => {}
        }
    }
}

/// What one client has of a turn.
struct Share(Instant);

impl Share {
    fn begin() -> Self {
        Self(Instant::now())
    }

    fn is_over(&self) -> bool {
        self.0.elapsed() >= CLIENT_SHARE
    }
}

fn error_number(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

fn unreadable(error: &DecodeError) -> Refusal {
    match error {
        DecodeError::Unknown { number } => Refusal::Unsupported { message: *number },
        DecodeError::Body { reason, .. } => Refusal::Malformed { reason: reason.clone() },
    }
}
