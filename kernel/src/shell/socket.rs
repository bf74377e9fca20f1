//! Making listening sockets.

use crate::sys;
use ringmaster_protocol::message::{Listen, Refusal, SocketAddress, SocketType};
use rustix::fs::{FileType, Mode};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, sockopt};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A refusal with what was tried.
pub fn failed(action: impl Into<String>, error: &io::Error) -> Refusal {
    Refusal::System { action: action.into(), errno: error.raw_os_error().unwrap_or(libc::EIO) }
}

fn kind(kind: SocketType) -> rustix::net::SocketType {
    match kind {
        SocketType::Stream => rustix::net::SocketType::STREAM,
        SocketType::Datagram => rustix::net::SocketType::DGRAM,
        SocketType::SeqPacket => rustix::net::SocketType::SEQPACKET,
    }
}

/// Makes, binds and listens. Gives the address as bound.
pub fn bind(listen: &Listen) -> Result<(OwnedFd, SocketAddress), Refusal> {
    let what = describe(&listen.address);
    let fail = |action: &str| {
        let action = format!("{action} {what}");
        move |errno: Errno| failed(action, &errno.into())
    };
    let family = match &listen.address {
        SocketAddress::Inet(address) if address.is_ipv4() => AddressFamily::INET,
        SocketAddress::Inet(_) => AddressFamily::INET6,
        SocketAddress::Unix(_) => AddressFamily::UNIX,
    };
    let blocking = if listen.blocking { SocketFlags::empty() } else { SocketFlags::NONBLOCK };
    let socket = rustix::net::socket_with(family, kind(listen.kind), SocketFlags::CLOEXEC | blocking, None)
        .map_err(fail("making the socket for"))?;
    if let Some(device) = &listen.interface {
        let action = format!("binding {what} to the device {device}");
        sys::bind_to_device(socket.as_fd(), device).map_err(|error| failed(action, &error))?;
    }
    let address = match &listen.address {
        SocketAddress::Inet(address) => {
            sockopt::set_socket_reuseaddr(&socket, true).map_err(fail("setting SO_REUSEADDR of"))?;
            if listen.reuse_port {
                sockopt::set_socket_reuseport(&socket, true).map_err(fail("setting SO_REUSEPORT of"))?;
            }
            rustix::net::bind(&socket, address).map_err(fail("binding"))?;
            let bound = rustix::net::getsockname(&socket).map_err(fail("reading the address of"))?;
            SocketAddress::Inet(bound.try_into().unwrap_or(*address))
        }
        SocketAddress::Unix(path) => {
            bind_unix(&socket, Path::new(std::ffi::OsStr::from_bytes(path)), listen).map_err(fail("binding"))?;
            listen.address.clone()
        }
    };
    if listen.kind != SocketType::Datagram {
        let backlog = i32::try_from(listen.backlog).unwrap_or(i32::MAX);
        rustix::net::listen(&socket, backlog).map_err(fail("listening on"))?;
    }
    Ok((socket, address))
}

/// The mode of a socket's file comes from the mask at the time of bind(2). The core has one thread, so that setting its own
/// mask for a moment disturbs nobody.
fn bind_unix(socket: &OwnedFd, path: &Path, listen: &Listen) -> Result<(), Errno> {
    if listen.replace {
        remove_socket_file(path)?;
    }
    let address = SocketAddrUnix::new(path)?;
    let mask = Mode::from_raw_mode(listen.umask.unwrap_or(0o022) & 0o777);
    let before = rustix::process::umask(mask);
    let bound = rustix::net::bind(socket, &address);
    rustix::process::umask(before);
    bound
}

/// Removes a socket's file; anything else at the path stays, and binding fails.
pub fn remove_socket_file(path: &Path) -> Result<(), Errno> {
    match rustix::fs::lstat(path) {
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Socket => rustix::fs::unlink(path),
        Ok(_) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno),
    }
}

fn describe(address: &SocketAddress) -> String {
    match address {
        SocketAddress::Inet(address) => address.to_string(),
        SocketAddress::Unix(path) => String::from_utf8_lossy(path).into_owned(),
    }
}
