//! Conversations in text: what a [`Session`] asks of the core, and when it is looked at again.

use super::connection::{Dropped, Look, Speech};
use super::{Shell, clock};
use crate::core::{ClientId, Input, ReplyTo};
use crate::limits::{CLIENT_BACKLOG, SETTLE, SETTLE_LONGEST, SETTLE_TCP};
use crate::sys;
use ringmaster_protocol::frame::GREETING;
use ringmaster_protocol::message::{
    Ack, Forget, Hello, Listen, PROTOCOL, ProcessId, ProcessInfo, Refusal, Reply, Request, Role, SocketInfo, Watch,
};
use ringmaster_protocol::ring::{Record, Stream};
use ringmaster_protocol::text::{Acked, After, Host, Session, Tables};
use rustix::net::{AddressFamily, sockopt};
use std::collections::{BTreeSet, HashMap};
use std::os::fd::AsFd;
use std::time::Duration;

/// What the shell keeps about all conversations together.
#[derive(Debug, Default)]
pub(super) struct Conversations {
    /// Whose request is under way, and what was answered.
    asking: Option<(ClientId, Option<Result<Reply, Refusal>>)>,
    /// Watchers for whom something has happened.
    stirred: BTreeSet<ClientId>,
    /// How far any watcher has acknowledged each process.
    acked: HashMap<ProcessId, Acked>,
    /// Somebody has asked the core to end when it is alone and idle.
    pub leaving: bool,
}

impl Conversations {
    /// Keeps an answer for the conversation that asked, or gives it back when none did.
    pub fn answered(&mut self, to: ReplyTo, answer: Result<Reply, Refusal>) -> Option<Result<Reply, Refusal>> {
        match &mut self.asking {
            Some((client, place)) if *client == to.client => {
                *place = Some(answer);
                None
            }
            Some(_) | None => Some(answer),
        }
    }

    /// A process is forgotten.
    pub fn forget(&mut self, process: ProcessId) {
        self.acked.remove(&process);
    }
}

impl Shell {
    /// Goes on with a conversation as far as it goes now.
    pub(super) fn converse(&mut self, client: ClientId) -> Result<(), Dropped> {
        let Some(connection) = self.connections.get_mut(&client) else {
            return Ok(());
        };
        let mut out = Vec::new();
        if !connection.ending {
            let room = CLIENT_BACKLOG.saturating_sub(connection.backlog());
            let mut session = std::mem::take(&mut connection.session);
            let watched = session.is_watching();
            let after = session.run(&mut Desk { shell: self, client }, room, &mut out);
            if session.is_watching() && !watched {
                // The core marks what happens from now on, and everything there is.
                let _ = self.ask(client, Watch::default().into());
            }
            self.resume_connection(client, session, after)?;
        }
        let Some(connection) = self.connections.get_mut(&client) else {
            return Ok(());
        };
        connection.queue_text(&out);
        connection.send()?;
        if connection.ending && !connection.has_backlog() {
            return Err(Dropped::Closed);
        }
        Ok(())
    }

    fn resume_connection(&mut self, client: ClientId, session: Session, after: After) -> Result<(), Dropped> {
        let now = self.now.boot_ns;
        let Some(connection) = self.connections.get_mut(&client) else {
            return Ok(());
        };
        connection.stalled = after == After::Stalled;
        connection.ending = match after {
            After::Waiting => connection.finished,
            After::Stalled => false,
            After::Over | After::Leaving => true,
            After::Foreign => return Err(Dropped::Browser),
        };
        if session.is_settling() && connection.look == Look::Never {
            let tcp = sockopt::socket_domain(&*connection) != Ok(AddressFamily::UNIX);
            connection.look = if tcp {
                Look::Settle { at: now + nanoseconds(SETTLE_TCP) }
            } else {
                Look::Unread { at: now, pause: nanoseconds(SETTLE) }
            };
        }
        connection.session = session;
        self.text.leaving |= after == After::Leaving;
        Ok(())
    }

    /// The next look at a client that no event announces.
    pub(super) fn next_look(&self) -> Option<u64> {
        self.connections.values().filter_map(|connection| connection.look.at()).min()
    }

    /// Looks at those whose time has come.
    pub(super) fn look_at_clients(&mut self) {
        let now = self.now.boot_ns;
        let due = self.connections.iter().filter(|(_, connection)| connection.look.at().is_some_and(|at| at <= now));
        let due: Vec<ClientId> = due.map(|(client, _)| *client).collect();
        for client in due {
            if let Err(why) = self.look_at(client) {
                self.drop_client(client, &why);
            }
        }
    }

    fn look_at(&mut self, client: ClientId) -> Result<(), Dropped> {
        let now = self.now.boot_ns;
        let Some(connection) = self.connections.get_mut(&client) else {
            return Ok(());
        };
        let unread = connection.has_backlog() || sys::unread_bytes(connection.as_fd()).is_ok_and(|bytes| bytes > 0);
        match connection.look {
            Look::Never => {}
            Look::Greet { .. } => {
                connection.look = Look::Never;
                connection.speech = Speech::Greeted;
                connection.queue_text(GREETING);
            }
            Look::Unread { pause, .. } if unread => {
                let longer = pause.saturating_mul(2).min(nanoseconds(SETTLE_LONGEST));
                connection.look = Look::Unread { at: now + pause, pause: longer };
            }
            Look::Unread { .. } => connection.look = Look::Settle { at: now + nanoseconds(SETTLE) },
            Look::Settle { .. } => {
                connection.look = Look::Never;
                connection.session.settle();
                return self.converse(client);
            }
        }
        Ok(())
    }

    /// Something has happened to a process that a client watches.
    pub(super) fn stir(&mut self, client: ClientId) {
        if let Some(connection) = self.connections.get_mut(&client) {
            connection.session.stir();
            self.text.stirred.insert(client);
        }
    }

    /// A process is gone, which no notice tells.
    pub(super) fn stir_all(&mut self) {
        let watchers = self.connections.iter().filter(|(_, connection)| connection.session.is_watching());
        for client in watchers.map(|(client, _)| *client).collect::<Vec<_>>() {
            self.stir(client);
        }
    }

    /// Goes on with the conversations for which something has happened.
    pub(super) fn tell_watchers(&mut self) {
        for client in std::mem::take(&mut self.text.stirred) {
            if let Err(why) = self.converse(client) {
                self.drop_client(client, &why);
            }
        }
    }

    /// What a conversation leaves behind when its connection is gone.
    pub(super) fn watcher_gone(&mut self, client: ClientId, session: &Session) {
        let watched = session.positions().into_iter().map(|acked| acked.process);
        for process in watched.collect::<Vec<_>>() {
            self.let_go(client, process, None);
        }
    }

    /// Ends when somebody has asked for it and was the last.
    pub(super) fn end_when_alone(&mut self) {
        if self.text.leaving && self.connections.is_empty() {
            self.text.leaving = false;
            if self.core.is_idle() {
                self.drive(Input::Terminate);
            }
        }
    }

    /// A request in the name of a client that speaks text. Every client says hello first.
    fn ask(&mut self, client: ClientId, request: Request) -> Result<Reply, Refusal> {
        match self.ask_once(client, request.clone()) {
            Err(Refusal::NoHello) => {
                let build = String::from("text");
                let (oldest, newest, role) = (PROTOCOL, PROTOCOL, Role::Tool);
                let hello = Hello { oldest, newest, build, role, ext: Vec::new() };
                self.ask_once(client, hello.into())?;
                self.ask_once(client, request)
            }
            answer => answer,
        }
    }

    fn ask_once(&mut self, client: ClientId, request: Request) -> Result<Reply, Refusal> {
        let to = ReplyTo { client, message: request.number(), request: Some(0) };
        self.wait_for(client, Input::Request { to, request: Box::new(request) })
    }

    /// Every request is answered while its effects are carried out.
    fn wait_for(&mut self, client: ClientId, input: Input) -> Result<Reply, Refusal> {
        self.text.asking = Some((client, None));
        self.drive(input);
        let (_, answer) = self.text.asking.take().unwrap_or((client, None));
        answer.unwrap_or(Err(Refusal::Malformed { reason: "it was not answered".into() }))
    }

    /// Lets output go that every present watcher and some watcher at all has taken. `own`: how far the client itself is,
    /// whose session is not in its place now; `None`: it does not watch any more.
    fn let_go(&mut self, client: ClientId, process: ProcessId, own: Option<Acked>) {
        let Some(furthest) = self.text.acked.get(&process).copied() else {
            return;
        };
        let sessions = self.connections.values().map(|connection| &connection.session);
        let others = sessions.flat_map(Session::positions).filter(|position| position.process == process);
        let others: Vec<Acked> = others.chain(own).collect();
        for (stream, furthest) in Stream::ALL.into_iter().zip(furthest.offsets) {
            let positions = others.iter().filter_map(|position| position.offsets.get(stream.index()));
            let offset = positions.copied().fold(furthest, u64::min);
            let _ = self.ask(client, Ack { process, stream, offset }.into());
        }
        if furthest.closed && others.iter().all(|position| position.closed) {
            // Refused while a manager holds the lease: then it is the manager's to forget.
            let _ = self.ask(client, Forget { process, ext: Vec::new() }.into());
        }
    }
}

fn nanoseconds(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// The shell, as one conversation sees it.
struct Desk<'a> {
    shell: &'a mut Shell,
    client: ClientId,
}

impl Host for Desk<'_> {
    fn ask(&mut self, request: Request) -> Result<Reply, Refusal> {
        self.shell.now = clock::now();
        self.shell.ask(self.client, request)
    }

    fn abandon(&mut self, process: ProcessId) -> Result<(), Refusal> {
        let to = ReplyTo { client: self.client, message: 0, request: Some(0) };
        self.shell.wait_for(self.client, Input::Abandon { to, process }).map(|_done| ())
    }

    fn process(&self, process: ProcessId) -> Option<ProcessInfo> {
        self.shell.core.process(process)
    }

    fn processes(&self) -> Vec<ProcessInfo> {
        self.shell.core.processes().collect()
    }

    fn sockets(&self) -> Vec<(Listen, SocketInfo)> {
        let sockets = self.shell.core.sockets();
        sockets.map(|(listen, info)| (listen.clone(), info.clone())).collect()
    }

    fn is_idle(&self) -> bool {
        self.shell.core.is_idle() && self.shell.core.is_owner(self.client)
    }

    fn may_release(&self, process: ProcessId) -> bool {
        self.shell.core.may_rule(self.client, process).is_ok()
    }

    fn output(&self, process: ProcessId, stream: Stream, from: u64, to: u64) -> Vec<u8> {
        let file = self.shell.children.get(&process).map(|child| &child.file);
        file.and_then(|file| file.read_output(stream, from, to).ok()).unwrap_or_default()
    }

    fn record(&self, process: ProcessId, stream: Stream, number: u64) -> Option<Record> {
        self.shell.children.get(&process)?.file.read_record(stream, number)
    }

    fn tables(&self) -> Tables {
        let read = |path| std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        Tables {
            users: read("/etc/passwd").unwrap_or_default(),
            groups: read("/etc/group").unwrap_or_default(),
            hosts: read("/etc/hosts").unwrap_or_default(),
            own_uid: rustix::process::geteuid().as_raw(),
        }
    }

    fn acked(&mut self, acked: Vec<Acked>) {
        for own in acked {
            let furthest = self.shell.text.acked.entry(own.process).or_insert(own);
            *furthest = furthest.furthest(&own);
            self.shell.let_go(self.client, own.process, Some(own));
        }
    }

    fn left(&mut self, processes: Vec<ProcessId>) {
        for process in processes {
            self.shell.let_go(self.client, process, None);
        }
    }
}
