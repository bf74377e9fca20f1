//! Listening sockets: named, kept, with a number that is the same in every child.

use super::event::{Attachment, Effect, ReplyTo};
use super::rules::{invalid, limit};
use super::{Answer, Core, Effects, check_name};
use crate::limits::MAX_SOCKETS;
use ringmaster_protocol::message::{
    Listen, Listening, OpenSocket, Refusal, RemoveSocket, Reply, SocketAddress, SocketInfo, SocketList,
};
use std::path::Path;

/// Bytes of `sun_path` less the final NUL (unix(7)).
const MAX_UNIX_PATH: usize = 107;

/// One socket: what was asked for and what came of it.
#[derive(Debug)]
pub(super) struct Listener {
    pub asked: Listen,
    pub info: SocketInfo,
}

impl Listener {
    /// Whether `other` asks for what is here; port 0 is content with any.
    fn satisfies(&self, other: &Listen) -> bool {
        let address = other.address == self.asked.address
            || other.address == self.info.address
            || any_port(&other.address, &self.info.address);
        let mut same = other.clone();
        same.address.clone_from(&self.asked.address);
        same.ext.clone_from(&self.asked.ext);
        address && same == self.asked
    }
}

fn any_port(asked: &SocketAddress, bound: &SocketAddress) -> bool {
    match (asked, bound) {
        (SocketAddress::Inet(asked), SocketAddress::Inet(bound)) => asked.port() == 0 && asked.ip() == bound.ip(),
        (SocketAddress::Unix(_), _) | (_, SocketAddress::Unix(_)) => false,
    }
}

impl Core {
    pub(super) fn listen(&mut self, to: ReplyTo, listen: Listen, out: &mut Effects) -> Answer {
        self.may_change(to.client)?;
        check_name(&listen.name)?;
        check_address(&listen)?;
        if let Some(known) = self.sockets.get(&listen.name) {
            if !known.satisfies(&listen) {
                return Err(Refusal::NameTaken { what: "socket".into(), name: listen.name });
            }
            let reply = Listening { socket: known.info.clone(), created: false, ext: Vec::new() };
            let attachment = attachment(&known.info);
            self.answer(to, Ok(Some(reply.into())), attachment, out);
            return Ok(None);
        }
        let same_path = |other: &Listener| match (&other.asked.address, &listen.address) {
            (SocketAddress::Unix(theirs), SocketAddress::Unix(ours)) => theirs == ours,
            (SocketAddress::Inet(_), _) | (_, SocketAddress::Inet(_)) => false,
        };
        if let Some(other) = self.sockets.values().find(|other| same_path(other)) {
            let value = format!("the path of the socket {}", other.info.name);
            return Err(invalid("address", value, "a path of its own"));
        }
        if self.sockets.len() >= MAX_SOCKETS {
            return Err(limit("sockets", MAX_SOCKETS));
        }
        let taken: Vec<u32> = self.sockets.values().map(|socket| socket.info.number).collect();
        let number = (3..).find(|number| !taken.contains(number)).unwrap_or(3);
        self.leaving = false;
        out.push(Effect::Bind { to, listen: Box::new(listen), number });
        Ok(None)
    }

    pub(super) fn bound(
        &mut self,
        to: Option<ReplyTo>,
        listen: Listen,
        number: u32,
        outcome: Result<SocketAddress, Refusal>,
        out: &mut Effects,
    ) {
        let info = outcome.map(|address| SocketInfo {
            name: listen.name.clone(),
            address,
            kind: listen.kind,
            backlog: listen.backlog,
            reuse_port: listen.reuse_port,
            persistent: listen.persistent,
            number,
        });
        if let Ok(info) = &info {
            let listener = Listener { asked: listen, info: info.clone() };
            self.sockets.insert(info.name.clone(), listener);
        }
        let Some(to) = to else {
            return;
        };
        let attachment = info.as_ref().ok().and_then(attachment);
        let reply = info.map(|socket| Some(Listening { socket, created: true, ext: Vec::new() }.into()));
        self.answer(to, reply, attachment, out);
    }

    pub(super) fn open_socket(&mut self, to: ReplyTo, open: &OpenSocket, out: &mut Effects) -> Answer {
        let missing = || Refusal::NotFound { what: "socket".into(), name: open.name.clone() };
        let known = self.sockets.get(&open.name).ok_or_else(missing)?;
        let reply = Listening { socket: known.info.clone(), created: false, ext: Vec::new() };
        self.answer(to, Ok(Some(reply.into())), attachment(&known.info), out);
        Ok(None)
    }

    pub(super) fn list_sockets(&self) -> Reply {
        let sockets = self.sockets.values().map(|socket| socket.info.clone()).collect();
        SocketList { sockets, ext: Vec::new() }.into()
    }

    pub(super) fn remove_socket(&mut self, to: ReplyTo, remove: &RemoveSocket, out: &mut Effects) -> Answer {
        self.may_change(to.client)?;
        let missing = || Refusal::NotFound { what: "socket".into(), name: remove.name.clone() };
        self.sockets.remove(&remove.name).ok_or_else(missing)?;
        out.push(Effect::Unbind { name: remove.name.clone() });
        Ok(Some(super::done()))
    }
}

fn attachment(info: &SocketInfo) -> Option<Attachment> {
    (!info.reuse_port).then(|| Attachment::Socket(info.name.clone()))
}

fn check_address(listen: &Listen) -> Result<(), Refusal> {
    match &listen.address {
        SocketAddress::Inet(address) => {
            if listen.reuse_port && address.port() == 0 {
                return Err(invalid("port", 0, "a fixed port when it is shared (reuse_port)"));
            }
        }
        SocketAddress::Unix(path) => {
            let shown = || String::from_utf8_lossy(path).into_owned();
            let absolute = path.first() == Some(&b'/') && !path.contains(&0) && !path.ends_with(b"/");
            if !absolute || path.len() > MAX_UNIX_PATH {
                return Err(invalid("path", shown(), &format!("an absolute path of at most {MAX_UNIX_PATH} bytes")));
            }
            if listen.reuse_port {
                return Err(invalid("reuse_port", "on with a path", "off for a Unix socket"));
            }
        }
    }
    match &listen.interface {
        Some(device) if device.is_empty() || device.len() > 15 || Path::new(device).components().count() != 1 => {
            Err(invalid("interface", device, "a device name of 1 to 15 bytes"))
        }
        Some(_) | None => Ok(()),
    }
}
