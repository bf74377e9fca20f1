//! `[socket:NAME]`.

use std::path::PathBuf;

/// Address family (spec g).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SocketFamily {
    /// `AF_INET`
    Inet,
    /// `AF_INET6`
    Inet6,
    /// `AF_UNIX`
    Unix,
}

/// Socket type (spec g).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SocketKind {
    /// `SOCK_STREAM`
    Stream,
    /// `SOCK_DGRAM`
    Datagram,
    /// `SOCK_SEQPACKET`
    SeqPacket,
    /// `SOCK_RAW`
    Raw,
    /// `SOCK_RDM`
    Rdm,
}

/// Where the socket listens. A path forces `AF_UNIX` (spec g).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SocketAddressSpec {
    /// Host name or address, resolved when the socket is created, and port (0: the system chooses).
    Inet {
        /// As written.
        host: String,
        /// 0 to 65535.
        port: u16,
    },
    /// A path in the file system.
    Unix(PathBuf),
}

/// One `[socket:NAME]` section (spec a.6, g), typed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is an independent on/off option of Circus's own list")]
pub struct SocketOptions {
    /// Lower-cased name.
    pub name: String,
    /// Where it listens.
    pub address: SocketAddressSpec,
    /// Family.
    pub family: SocketFamily,
    /// Type.
    pub kind: SocketKind,
    /// Protocol name for getprotobyname, 0 when absent.
    pub proto: Option<String>,
    /// `listen(2)` backlog, default 2048.
    pub backlog: u32,
    /// Mode mask for a Unix socket's file.
    pub umask: Option<u32>,
    /// Remove an existing file at the path first.
    pub replace: bool,
    /// `SO_BINDTODEVICE`.
    pub interface: Option<String>,
    /// A fresh `SO_REUSEPORT` socket for every worker (spec f.12).
    pub so_reuseport: bool,
    /// Leave the socket blocking (default: `O_NONBLOCK`).
    pub blocking: bool,
    /// Keep the socket in the core when circusd quits.
    pub use_papa: bool,
}
