//! A socket that already listens, as it comes from the core.
//!
//! It is checked and wrapped, never bound, never unlinked: the core owns the address and may outlive us.

use std::io;
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, SocketType, sockopt};

/// A listening stream socket.
#[derive(Debug)]
pub enum Listening {
    /// IPv4 or IPv6.
    Tcp(std::net::TcpListener),
    /// A Unix socket, with a path or abstract.
    Unix(std::os::unix::net::UnixListener),
}

/// Why a descriptor cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum NotListening {
    /// Not a socket, or closed.
    #[error("the descriptor of the endpoint is not a socket: {0}")]
    NotASocket(#[source] io::Error),
    /// A datagram socket, for instance.
    #[error("the socket of the endpoint is not a stream socket")]
    NotAStream,
    /// Bound perhaps, but nobody called listen(2).
    #[error("the socket of the endpoint is not listening")]
    NotAListener,
    /// Neither TCP nor Unix.
    #[error("the socket of the endpoint has address family {0}, expected IPv4, IPv6 or Unix")]
    Family(u16),
}

impl Listening {
    /// Takes a descriptor over after looking at what it is (socket(7): SO_TYPE, SO_ACCEPTCONN, SO_DOMAIN).
    ///
    /// # Errors
    /// It is not a listening stream socket of a family we serve. The descriptor is closed then.
    pub fn from_fd(fd: OwnedFd) -> Result<Self, NotListening> {
        let refused = |errno: rustix::io::Errno| NotListening::NotASocket(errno.into());
        if sockopt::socket_type(&fd).map_err(refused)? != SocketType::STREAM {
            return Err(NotListening::NotAStream);
        }
        if !sockopt::socket_acceptconn(&fd).map_err(refused)? {
            return Err(NotListening::NotAListener);
        }
        match sockopt::socket_domain(&fd).map_err(refused)? {
            AddressFamily::INET | AddressFamily::INET6 => Ok(Self::Tcp(fd.into())),
            AddressFamily::UNIX => Ok(Self::Unix(fd.into())),
            other => Err(NotListening::Family(other.as_raw())),
        }
    }

    /// Hands the socket to tokio.
    pub(super) fn into_tokio(self) -> io::Result<super::stream::Listener> {
        match self {
            Self::Tcp(listener) => {
                listener.set_nonblocking(true)?;
                tokio::net::TcpListener::from_std(listener).map(super::stream::Listener::Tcp)
            }
            Self::Unix(listener) => {
                listener.set_nonblocking(true)?;
                tokio::net::UnixListener::from_std(listener).map(super::stream::Listener::Unix)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_what_it_is_given() {
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(matches!(Listening::from_fd(tcp.into()), Ok(Listening::Tcp(_))));
        let directory = tempfile::tempdir().unwrap();
        let unix = std::os::unix::net::UnixListener::bind(directory.path().join("s")).unwrap();
        assert!(matches!(Listening::from_fd(unix.into()), Ok(Listening::Unix(_))));
        assert!(directory.path().join("s").exists());
    }

    #[test]
    fn refuses_what_cannot_be_served() {
        let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        assert!(matches!(Listening::from_fd(udp.into()), Err(NotListening::NotAStream)));
        let (one, _two) = std::os::unix::net::UnixStream::pair().unwrap();
        assert!(matches!(Listening::from_fd(one.into()), Err(NotListening::NotAListener)));
        let file = tempfile::tempfile().unwrap();
        assert!(matches!(Listening::from_fd(file.into()), Err(NotListening::NotASocket(_))));
    }
}
