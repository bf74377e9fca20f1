//! The text protocol over TCP, when it is asked for: on the loopback address, and only for clients of our own user or root.
//!
//! TCP tells nothing about its peer, but proc(5) lists every socket of the machine with its owner.

use rustix::net::{AddressFamily, SocketFlags, SocketType, getpeername, getsockname, sockopt};
use std::fs::File;
use std::io::{self, BufRead, BufReader};
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

/// The user who owns the other end of a connection within this machine; `None`: it is not to be found.
pub fn peer_uid(socket: impl AsFd) -> Option<u32> {
    let theirs = SocketAddrV4::try_from(getpeername(&socket).ok()??).ok()?;
    let ours = SocketAddrV4::try_from(getsockname(&socket).ok()?).ok()?;
    // Line by line: the table is as long as strangers make it.
    let table = BufReader::new(File::open("/proc/net/tcp").ok()?);
    owner(table.lines().map_while(Result::ok), theirs, ours)
}

/// The owner of the socket that is bound to `local` and connected to `remote`, in the table of `/proc/net/tcp`.
fn owner(mut table: impl Iterator<Item = String>, local: SocketAddrV4, remote: SocketAddrV4) -> Option<u32> {
    let (local, remote) = (shown(local), shown(remote));
    let pair = format!(": {local} {remote} ");
    let row = table.find(|line| line.contains(&pair))?;
    let row: Vec<&str> = row.split_whitespace().collect();
    // An orphaned or finished connection has inode 0 and its uid says nothing.
    match (row.get(7), row.get(9)) {
        (Some(uid), Some(inode)) if *inode != "0" => uid.parse().ok(),
        _ => None,
    }
}

/// An address as the table shows it: the word in memory order, the port, both in hexadecimal.
fn shown(address: SocketAddrV4) -> String {
    let word = u32::from_ne_bytes(address.ip().octets());
    format!("{word:08X}:{:04X}", address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:4EEA 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 101 1
   1: 0100007F:4EEA 0100007F:A0B2 01 00000000:00000000 00:00000000 00000000     0        0 102 1
   2: 0100007F:A0B2 0100007F:4EEA 01 00000000:00000000 00:00000000 00000000  1000        0 103 1
   3: 0100007F:A0B3 0100007F:4EEA 06 00000000:00000000 00:00000000 00000000     0        0 0 1
";

    #[test]
    #[cfg(target_endian = "little")]
    fn the_owner_of_the_other_end_is_found() {
        let at = |port| SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
        let owner = |local, remote| owner(TABLE.lines().map(str::to_owned), at(local), at(remote));
        assert_eq!(owner(0xa0b2, 20202), Some(1000));
        assert_eq!(owner(0xa0b3, 20202), None, "nobody has it open any more");
        assert_eq!(owner(1, 20202), None);
    }

    #[test]
    fn a_real_connection_has_our_uid() {
        let listener = listen(0).unwrap();
        let address = SocketAddrV4::try_from(getsockname(&listener).unwrap()).unwrap();
        let client = std::net::TcpStream::connect(address).unwrap();
        let accepted = rustix::net::accept(&listener).unwrap();
        assert_eq!(peer_uid(&accepted), Some(rustix::process::geteuid().as_raw()));
        drop(client);
    }
}
