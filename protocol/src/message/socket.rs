//! Listening sockets.

use super::Ext;
use serde::{Deserialize, Serialize};

/// Type of a socket (socket(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SocketType {
    /// `SOCK_STREAM`; listened on.
    Stream,
    /// `SOCK_DGRAM`; only bound.
    Datagram,
    /// `SOCK_SEQPACKET`; listened on.
    SeqPacket,
}

/// Where a socket is bound. Names are resolved by the client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SocketAddress {
    /// Address and port; port 0 lets the system choose.
    Inet(std::net::SocketAddr),
    /// Absolute path in the file system.
    Unix(Vec<u8>),
}

/// Creates a listening socket that the core keeps, or finds it: the same name with the same properties is the same
/// socket. The descriptor comes beside the answer, except for `reuse_port`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(clippy::struct_excessive_bools, reason = "each is an independent property of socket(7)")]
pub struct Listen {
    /// Unique among the sockets.
    pub name: String,
    /// Where.
    pub address: SocketAddress,
    /// Type.
    pub kind: SocketType,
    /// listen(2) backlog.
    pub backlog: u32,
    /// Mask for the mode of a Unix socket's file.
    pub umask: Option<u32>,
    /// Remove what is at the Unix path first, if it is a socket.
    pub replace: bool,
    /// Device for `SO_BINDTODEVICE`.
    pub interface: Option<String>,
    /// Nothing is bound now; every process that lists the socket gets a fresh one with `SO_REUSEPORT`.
    pub reuse_port: bool,
    /// Leave `O_NONBLOCK` off.
    pub blocking: bool,
    /// Whether it lives on when the manager gives its lease back.
    pub persistent: bool,
    /// Later additions.
    pub ext: Ext,
}

/// One socket, as bound.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketInfo {
    /// As given.
    pub name: String,
    /// As bound: with the real port.
    pub address: SocketAddress,
    /// As given.
    pub kind: SocketType,
    /// As given.
    pub backlog: u32,
    /// As given.
    pub reuse_port: bool,
    /// As given.
    pub persistent: bool,
    /// The descriptor number in every process that lists the socket, for the life of the socket.
    pub number: u32,
}

/// The answer to [`Listen`] and [`OpenSocket`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listening {
    /// The socket.
    pub socket: SocketInfo,
    /// Whether this request made it.
    pub created: bool,
    /// Later additions.
    pub ext: Ext,
}

/// Asks for the descriptor of a socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenSocket {
    /// Which.
    pub name: String,
    /// Later additions.
    pub ext: Ext,
}

/// Asks for all sockets.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Sockets {
    /// Later additions.
    pub ext: Ext,
}

/// The answer to [`Sockets`], sorted by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketList {
    /// All of them.
    pub sockets: Vec<SocketInfo>,
    /// Later additions.
    pub ext: Ext,
}

/// Closes a socket and removes its file. Processes that have it keep it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoveSocket {
    /// Which.
    pub name: String,
    /// Later additions.
    pub ext: Ext,
}
