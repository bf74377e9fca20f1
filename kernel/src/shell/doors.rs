//! Who comes in: accepting on the Unix socket and on TCP, the user at the other end, his right, his quota.

use super::connection::{Connection, Look, Speech};
use super::poll::Token;
use super::{Shell, tcp};
use crate::core::{ClientId, Input, Peer, Right};
use crate::limits::{FD_RESERVE, GREETING_DELAY, MAX_CLIENTS, MAX_STRANGERS, MAX_USER_CLIENTS, RETRY};
use crate::policy;
use ringmaster_protocol::frame::GREETING;
use rustix::io::Errno;
use rustix::net::{SocketFlags, sockopt};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

impl Shell {
    pub(super) fn accept(&mut self, which: Token) {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        while let Some(listener) = if which == Token::TcpListener { &self.tcp } else { &self.listener } {
            match rustix::net::accept_with(listener, flags) {
                Ok(socket) if which == Token::TcpListener => self.welcome_tcp(socket),
                Ok(socket) => self.welcome_local(socket),
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(Errno::AGAIN) => return,
                Err(errno) => {
                    // A full table would make the listener readable for ever: look away for a while.
                    self.log(&format!("clients wait: {errno}"));
                    for listener in self.listener.iter().chain(&self.tcp) {
                        self.poll.remove(listener);
                    }
                    self.try_again();
                    return;
                }
            }
        }
    }

    /// Lets in those who wait at a socket that has lost its place.
    pub(super) fn accept_former(&mut self, listener: OwnedFd) {
        let ours = self.listener.replace(listener);
        self.accept(Token::Listener);
        self.listener = ours;
    }

    fn try_again(&mut self) {
        self.accept_again = Some(self.now.boot_ns + u64::try_from(RETRY.as_nanos()).unwrap_or(0));
    }

    /// Something of a process cannot be waited for now, for want of memory or of watches (epoll_ctl(2)).
    pub(super) fn missed(&mut self, token: Token, error: &io::Error) {
        self.log(&format!("{token:?} cannot be waited for, and is tried again: {error}"));
        self.missed.push(token);
        self.try_again();
    }

    pub(super) fn retry_accepting(&mut self) {
        if self.accept_again.is_some_and(|at| at <= self.now.boot_ns) {
            self.accept_again = None;
            let listeners = [(&self.listener, Token::Listener), (&self.tcp, Token::TcpListener)];
            let added = listeners.map(|(listener, token)| listener.as_ref().map(|socket| self.poll.add(socket, token)));
            for error in added.into_iter().flatten().filter_map(Result::err) {
                // One that is in the set already was not looked away from.
                if error.raw_os_error() != Some(libc::EEXIST) {
                    self.log(&format!("clients cannot be accepted yet: {error}"));
                    self.try_again();
                }
            }
            for token in std::mem::take(&mut self.missed) {
                match token {
                    Token::Pipe(process, stream) => self.resume(process, stream),
                    Token::Pidfd(process) => self.watch(process),
                    Token::Listener | Token::TcpListener | Token::Signals | Token::Client(_) => {}
                    Token::Keeper | Token::Trial | Token::Home => {}
                }
            }
        }
    }

    fn welcome_local(&mut self, socket: OwnedFd) {
        if let Ok(peer) = sockopt::socket_peercred(&socket) {
            let (pid, uid, gid) = (peer.pid.as_raw_nonzero().get(), peer.uid.as_raw(), peer.gid.as_raw());
            let Some(right) = self.right_of(uid, self.policy.as_deref()) else {
                return;
            };
            let greet = Look::Greet { at: self.now.boot_ns + u64::try_from(GREETING_DELAY.as_nanos()).unwrap_or(0) };
            let connection = Connection::new(socket, Speech::Silent, greet);
            self.welcome(connection, Peer { pid, uid, gid, right });
        }
    }

    /// Over TCP only text is spoken, the greeting comes at once, and no policy lets others in: the table tells no group.
    fn welcome_tcp(&mut self, socket: OwnedFd) {
        let Some(uid) = tcp::peer_uid(&socket) else {
            self.log("a client over TCP was refused: its user cannot be found");
            return;
        };
        if let Some(right) = self.right_of(uid, None) {
            let mut connection = Connection::new(socket, Speech::Text, Look::Never);
            connection.queue_text(GREETING);
            self.welcome(connection, Peer { pid: 0, uid, gid: 0, right });
        }
    }

    /// Our own user and root may do everything; others what root's policy says, or nothing.
    fn right_of(&self, uid: u32, policy: Option<&Path>) -> Option<Right> {
        let ours = rustix::process::geteuid().as_raw();
        if uid == ours || uid == 0 {
            return Some(Right::Own);
        }
        let rights = policy.map_or_else(|| Ok(BTreeMap::new()), policy::read);
        let right = match rights {
            Ok(rights) => rights.get(&uid).copied(),
            Err(error) => {
                self.log(&error.to_string());
                None
            }
        };
        if right.is_none() {
            self.log(&format!("a client of user {uid} was refused; this core belongs to user {ours}"));
        }
        right
    }

    fn welcome(&mut self, connection: Connection, peer: Peer) {
        let (his, strangers) = self.core.strangers(peer.uid);
        if peer.right < Right::Own && (his >= MAX_USER_CLIENTS || strangers >= MAX_STRANGERS) {
            self.log(&format!("a client of user {} was refused: {his} of his are connected", peer.uid));
            return;
        }
        // The system gives the lowest free number, so it tells how full the table is.
        let number = u64::try_from(connection.as_fd().as_raw_fd()).unwrap_or(u64::MAX);
        let full = number.saturating_add(FD_RESERVE / 2) > self.core.max_fds();
        if full || self.connections.len() >= MAX_CLIENTS {
            self.log(&format!("a client was refused: {} are connected", self.connections.len()));
            return;
        }
        let client = ClientId(self.next_client);
        if let Err(error) = self.poll.add(&connection, Token::Client(client)) {
            self.log(&format!("a client was refused: {error}"));
            return;
        }
        self.next_client += 1;
        self.connections.insert(client, connection);
        self.text.leaving = false;
        self.drive(Input::Connected { client, peer });
    }
}
