//! The options of `[socket:NAME]`: one row each, and the step from single keys to an address.

use super::kind::{Kind, field};
use super::{Expected, SocketAddressSpec, SocketFamily, SocketKind, SocketOptions};
use std::path::PathBuf;

/// A socket section while it is read: host, port and path are separate keys of which a path wins (spec g).
#[derive(Debug, Clone)]
#[allow(clippy::struct_excessive_bools, reason = "each is an independent on/off option of Circus's own list")]
pub struct SocketDraft {
    host: String,
    port: u16,
    path: Option<PathBuf>,
    family: SocketFamily,
    kind: SocketKind,
    proto: Option<String>,
    backlog: u32,
    umask: Option<u32>,
    replace: bool,
    interface: Option<String>,
    so_reuseport: bool,
    blocking: bool,
    use_papa: bool,
}

impl Default for SocketDraft {
    fn default() -> Self {
        Self {
            host: "localhost".to_owned(),
            port: 8080,
            path: None,
            family: SocketFamily::Inet,
            kind: SocketKind::Stream,
            proto: None,
            backlog: 2048,
            umask: None,
            replace: false,
            interface: None,
            so_reuseport: false,
            blocking: false,
            use_papa: false,
        }
    }
}

impl SocketDraft {
    /// Takes `so_reuseport` back where the system chooses the port, which would be another one for every process, or there is
    /// none. Whether it was wanted.
    pub fn gives_up_sharing(&mut self) -> bool {
        let has_port = self.path.is_none() && self.family != SocketFamily::Unix && self.port != 0;
        !has_port && std::mem::take(&mut self.so_reuseport)
    }

    /// The socket; `None` when the family is `AF_UNIX` and no path was given.
    pub fn finish(self, name: &str) -> Option<SocketOptions> {
        let (address, family) = match (self.path, self.family) {
            (Some(path), _) => (SocketAddressSpec::Unix(path), SocketFamily::Unix),
            (None, SocketFamily::Unix) => return None,
            (None, family @ (SocketFamily::Inet | SocketFamily::Inet6)) => {
                (SocketAddressSpec::Inet { host: self.host, port: self.port }, family)
            }
        };
        Some(SocketOptions {
            name: name.to_owned(),
            address,
            family,
            kind: self.kind,
            proto: self.proto,
            backlog: self.backlog,
            umask: self.umask,
            replace: self.replace,
            interface: self.interface,
            so_reuseport: self.so_reuseport,
            blocking: self.blocking,
            use_papa: self.use_papa,
        })
    }
}

/// One option of `[socket:NAME]` (spec g).
pub struct SocketOption {
    /// The key.
    pub name: &'static str,
    /// Type, and where the value lives.
    pub kind: Kind<SocketDraft>,
    /// One line for people.
    pub help: &'static str,
}

impl SocketOption {
    /// The row of a key.
    pub fn find(key: &str) -> Option<&'static Self> {
        SOCKET_OPTIONS.iter().find(|row| row.name == key)
    }

    /// Reads a file's text.
    ///
    /// # Errors
    /// What the text should have been; `draft` is then unchanged.
    pub fn read(&self, draft: &mut SocketDraft, text: &str) -> Result<(), Expected> {
        self.kind.read(draft, self.name, text)
    }
}

const fn row(name: &'static str, kind: Kind<SocketDraft>, help: &'static str) -> SocketOption {
    SocketOption { name, kind, help }
}

use Kind::{Count, Family, Flag, MaybePath, MaybeText, Octal, Port, Text};

/// Every option of a socket. The umask is octal, as Circus documents it (it reads a decimal number, spec n.2).
#[rustfmt::skip]
pub const SOCKET_OPTIONS: &[SocketOption] = &[
    row("host", Text(field!(host)), "name or address"),
    row("port", Port(field!(port)), "port; 0 lets the system choose"),
    row("path", MaybePath(field!(path)), "a Unix socket's path; makes the family AF_UNIX"),
    row("family", Family(field!(family)), "AF_INET, AF_INET6 or AF_UNIX"),
    row("type", Kind::SocketKind(field!(kind)), "SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET, SOCK_RAW or SOCK_RDM"),
    row("proto", MaybeText(field!(proto)), "protocol name"),
    row("backlog", Count(field!(backlog)), "length of the queue of connections"),
    row("umask", Octal(field!(umask)), "mode mask of a Unix socket's file, octal"),
    row("replace", Flag(field!(replace)), "remove an existing file at the path"),
    row("interface", MaybeText(field!(interface)), "bind to this network interface"),
    row("so_reuseport", Flag(field!(so_reuseport)), "a socket of its own for every process"),
    row("blocking", Flag(field!(blocking)), "leave the socket blocking"),
    row("use_papa", Flag(field!(use_papa)), "keep the socket in the core when circusd quits"),
];
