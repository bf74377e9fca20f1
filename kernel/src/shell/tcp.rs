//! The text protocol over TCP, when it is asked for: on the loopback address, and only for clients of our own user or root.
//!
//! TCP tells nothing about its peer, but the system knows who owns the other end of a connection within the machine
//! (sock_diag(7)). The table in /proc is no substitute: rows are missed while others come and go.

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, getpeername, getsockname, netlink, sockopt,
};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, OwnedFd};

/// Connections that wait to be accepted: Papa's figure is 5, and a burst of clients should not be refused.
const BACKLOG: i32 = 128;

/// Listens on 127.0.0.1.
pub fn listen(port: u16) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    rustix::net::bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket)
}

/// The user who owns the other end of a connection within this machine; `None`: it is not to be found, nobody has it open any
/// more, or this Linux cannot say.
pub fn peer_uid(socket: impl AsFd) -> Option<u32> {
    let theirs = SocketAddrV4::try_from(getpeername(&socket).ok()??).ok()?;
    let ours = SocketAddrV4::try_from(getsockname(&socket).ok()?).ok()?;
    let diag = netlink::SOCK_DIAG;
    let ask =
        rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, Some(diag)).ok()?;
    rustix::net::send(&ask, &question(theirs, ours), SendFlags::empty()).ok()?;
    let mut answer = [0; ANSWER];
    // The system answers while it takes the question.
    let (_, length) = rustix::net::recv(&ask, &mut answer, RecvFlags::DONTWAIT).ok()?;
    owner(answer.get(..length)?)
}

/// Bytes of an answer: its header, the socket, and attributes that are not looked at.
const ANSWER: usize = 512;

/// `SOCK_DIAG_BY_FAMILY` of linux/sock_diag.h: question and answer have the same number.
const BY_FAMILY: u16 = 20;

/// `NLM_F_REQUEST` of linux/netlink.h; without `NLM_F_DUMP` exactly one socket is asked for.
const REQUEST: u16 = 1;

/// `struct nlmsghdr` and `struct inet_diag_req_v2` (sock_diag(7)): the one socket that is bound to `local` and connected to
/// `remote`, whatever its state, device and cookie.
fn question(local: SocketAddrV4, remote: SocketAddrV4) -> Vec<u8> {
    let protocol = u8::try_from(libc::IPPROTO_TCP).unwrap_or_default();
    let mut body = vec![u8::try_from(libc::AF_INET).unwrap_or_default(), protocol, 0, 0];
    body.extend(u32::MAX.to_ne_bytes());
    body.extend([local, remote].map(|address| address.port().to_be_bytes()).concat());
    for address in [local, remote] {
        body.extend(address.ip().octets());
        body.extend([0; 12]);
    }
    body.extend(0u32.to_ne_bytes());
    body.extend([0xff; 8]);
    let length = u32::try_from(HEADER + body.len()).unwrap_or_default();
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend([BY_FAMILY, REQUEST].map(u16::to_ne_bytes).concat());
    bytes.extend([0; 8]);
    bytes.extend(body);
    bytes
}

/// Bytes of `struct nlmsghdr`.
const HEADER: usize = 16;

/// Where `struct inet_diag_msg` has the user and the inode, behind the header: after state, addresses and three counters.
const UID_AT: usize = HEADER + 64;

/// The owner in an answer. A connection that nobody has open has inode 0, and its user says nothing.
fn owner(answer: &[u8]) -> Option<u32> {
    let kind = answer.get(4..6)?.first_chunk::<2>()?;
    if u16::from_ne_bytes(*kind) != BY_FAMILY {
        return None;
    }
    let word = |at: usize| answer.get(at..)?.first_chunk::<4>().map(|bytes| u32::from_ne_bytes(*bytes));
    word(UID_AT).filter(|_| word(UID_AT + 4).is_some_and(|inode| inode != 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_of_the_other_end_is_found_while_somebody_has_it() {
        let listener = listen(0).unwrap();
        let address = SocketAddrV4::try_from(getsockname(&listener).unwrap()).unwrap();
        let client = std::net::TcpStream::connect(address).unwrap();
        let accepted = rustix::net::accept(&listener).unwrap();
        assert_eq!(peer_uid(&accepted), Some(rustix::process::geteuid().as_raw()));
        drop(client);
        assert_eq!(peer_uid(&accepted), None);
    }

    #[test]
    fn what_is_no_answer_names_nobody() {
        let mut answer = vec![0; UID_AT + 8];
        answer[4] = 20;
        assert_eq!(owner(&answer), None, "inode 0");
        answer[UID_AT + 4] = 1;
        assert_eq!(owner(&answer), Some(0));
        assert_eq!(owner(&answer[..UID_AT + 7]), None, "cut off");
        // NLMSG_ERROR.
        answer[4] = 2;
        assert_eq!(owner(&answer), None);
    }
}
