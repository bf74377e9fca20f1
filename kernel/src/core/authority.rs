//! Who may do what: through the core, nobody gets more authority than he has without it.
//!
//! Our own user and root may do everything. Anybody else is here because root's policy file lets him in (`crate::policy`), and
//! owns the names that begin with his [`namespace`]: a name tells, also to the next core, whose a process or a value is.

use super::Core;
use super::event::{ClientId, ReplyTo};
use super::rules::{invalid, limit};
use crate::limits::{MAX_USER_PROCESSES, MAX_USER_VALUES};
use ringmaster_protocol::limits::DEFAULT_RING;
use ringmaster_protocol::message::{ProcessId, Refusal, Request, Spawn, Stdin};

/// What a client may do; each includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Right {
    /// See processes, sockets and output. No environment is ever shown.
    Observe,
    /// Start processes as itself, and rule what it has started. That is no more than it could do without us.
    Spawn,
    /// Signal and forget everybody's processes.
    Operate,
    /// Everything: our own user, or root.
    Own,
}

/// The user at the other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Process that connected; 0: not known.
    pub pid: i32,
    /// User.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// What it may do.
    pub right: Right,
}

impl Peer {
    fn refused(&self, what: &str) -> Refusal {
        Refusal::NotPermitted { reason: format!("user {} may not {what}", self.uid) }
    }

    fn must(&self, right: Right, what: &str) -> Result<(), Refusal> {
        if self.right >= right { Ok(()) } else { Err(self.refused(what)) }
    }

    /// A name of his own, and the right to have any.
    fn must_own(&self, name: &str) -> Result<(), Refusal> {
        let own = namespace(self.uid);
        self.must(Right::Spawn, "do more than look")?;
        if name.starts_with(&own) {
            return Ok(());
        }
        Err(self.refused(&format!("use the name {name}, only names that begin with {own}")))
    }
}

/// The beginning of a user's names, `u1000.`: never that of a manager, which is `circus.`.
pub fn namespace(uid: u32) -> String {
    format!("u{uid}.")
}

impl Core {
    /// Whether a client may do everything.
    pub fn is_owner(&self, client: ClientId) -> bool {
        self.clients.get(&client).is_some_and(|client| client.peer.right == Right::Own)
    }

    /// Connections of a user, and of all who are neither our own user nor root.
    pub fn strangers(&self, uid: u32) -> (usize, usize) {
        let strangers = self.clients.values().filter(|client| client.peer.right < Right::Own);
        let (his, others): (Vec<_>, Vec<_>) = strangers.partition(|client| client.peer.uid == uid);
        (his.len(), his.len() + others.len())
    }

    /// Whether a client may change a process: signal it, forget it, let its output go.
    pub fn may_rule(&self, client: ClientId, process: ProcessId) -> Result<(), Refusal> {
        let process = self.find(process)?;
        match self.clients.get(&client).map(|client| client.peer) {
            Some(peer) if peer.right < Right::Operate => peer.must_own(&process.name),
            Some(_) | None => Ok(()),
        }
    }

    /// Refuses what a client has no right to, and makes the rest of his requests his own.
    pub(super) fn authorize(&self, to: ReplyTo, request: &mut Request) -> Result<(), Refusal> {
        let Some(peer) = self.clients.get(&to.client).map(|client| client.peer) else {
            return Ok(());
        };
        if peer.right == Right::Own {
            return Ok(());
        }
        match request {
            Request::Hello(_)
            | Request::Status(_)
            | Request::List(_)
            | Request::Watch(_)
            | Request::Sockets(_)
            | Request::OpenProcess(_) => Ok(()),
            Request::Spawn(spawn) => self.confine(&peer, spawn),
            Request::Signal(signal) if signal.signal == 0 => Ok(()),
            Request::Signal(signal) => self.may_rule(to.client, signal.process),
            Request::Ack(ack) => self.may_rule(to.client, ack.process),
            Request::Forget(forget) => self.may_rule(to.client, forget.process),
            Request::SetLifetime(set) => self.may_rule(to.client, set.process),
            Request::SetValue(set) => {
                peer.must_own(&set.name)?;
                let his = self.values.keys().filter(|name| name.starts_with(&namespace(peer.uid)));
                if his.count() >= MAX_USER_VALUES && !self.values.contains_key(&set.name) {
                    return Err(limit("values of a user", MAX_USER_VALUES));
                }
                Ok(())
            }
            Request::GetValue(get) => peer.must_own(&get.name),
            Request::RemoveValue(remove) => peer.must_own(&remove.name),
            Request::ListValues(list) => {
                let own = namespace(peer.uid);
                if own.starts_with(&list.prefix) {
                    list.prefix = own;
                }
                peer.must_own(&list.prefix)
            }
            Request::Listen(_) | Request::OpenSocket(_) | Request::RemoveSocket(_) => {
                Err(peer.refused("make, take or remove sockets"))
            }
            Request::TakeLease(_) | Request::PutLease(_) => Err(peer.refused("manage this instance")),
            Request::ExitIfIdle(_) | Request::Upgrade(_) => Err(peer.refused("end or replace this core")),
        }
    }

    /// Makes a process one of the user's own: his name, his user and group, nothing that he could not have by himself.
    fn confine(&self, peer: &Peer, spawn: &mut Spawn) -> Result<(), Refusal> {
        peer.must_own(&spawn.name)?;
        let his = self.names.keys().filter(|name| name.starts_with(&namespace(peer.uid)));
        if his.count() >= MAX_USER_PROCESSES && !self.names.contains_key(&spawn.name) {
            return Err(limit("processes of a user", MAX_USER_PROCESSES));
        }
        if spawn.uid.is_some_and(|uid| uid != peer.uid) || spawn.gid.is_some_and(|gid| gid != peer.gid) {
            return Err(peer.refused("start processes as another user or group"));
        }
        let takes_socket = !spawn.sockets.is_empty() || matches!(spawn.stdin, Stdin::Socket(_));
        if takes_socket || !spawn.rlimits.is_empty() || !spawn.ext.is_empty() {
            return Err(peer.refused("set limits, pass sockets or use additions"));
        }
        if spawn.ring > DEFAULT_RING {
            return Err(invalid("ring", spawn.ring, &format!("at most {DEFAULT_RING} bytes for another user")));
        }
        (spawn.uid, spawn.gid, spawn.groups) = (Some(peer.uid), Some(peer.gid), Some(vec![peer.gid]));
        // Never our own directory, which he could not have entered.
        spawn.cwd = spawn.cwd.take().filter(|folder| folder.starts_with(b"/"));
        Ok(())
    }
}
