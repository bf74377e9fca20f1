//! A datagram socket: where each frame of a batch is one message.

use std::io::{Error, ErrorKind};
use std::net::{ToSocketAddrs, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

/// Where messages go.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::streams) enum Address {
    /// A socket of this host.
    Local(PathBuf),
    /// `HOST:PORT`. A host name is looked up whenever the socket is opened.
    Udp(String),
}

impl Address {
    /// An absolute path, or `udp://HOST:PORT`.
    pub(in crate::streams) fn parse(text: &str) -> Option<Self> {
        if text.starts_with('/') {
            return Some(Self::Local(PathBuf::from(text)));
        }
        let (host, port) = text.strip_prefix("udp://")?.rsplit_once(':')?;
        let port: u16 = port.parse().ok().filter(|port| *port != 0)?;
        (!host.is_empty()).then(|| Self::Udp(format!("{host}:{port}")))
    }

    /// For people, and to name the target.
    pub(super) fn path(&self) -> PathBuf {
        match self {
            Self::Local(path) => path.clone(),
            Self::Udp(place) => PathBuf::from(format!("udp://{place}")),
        }
    }
}

/// A connected socket that never blocks.
#[derive(Debug)]
pub(super) enum Socket {
    Local(UnixDatagram),
    Udp(UdpSocket),
}

impl Socket {
    pub(super) fn connect(address: &Address) -> std::io::Result<Self> {
        match address {
            Address::Local(path) => {
                let socket = UnixDatagram::unbound()?;
                socket.set_nonblocking(true)?;
                socket.connect(path)?;
                Ok(Self::Local(socket))
            }
            Address::Udp(place) => {
                let to = place.to_socket_addrs()?.next().ok_or_else(|| Error::from(ErrorKind::NotFound))?;
                let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
                let socket = UdpSocket::bind(any)?;
                socket.set_nonblocking(true)?;
                socket.connect(to)?;
                Ok(Self::Udp(socket))
            }
        }
    }

    /// Sends the first frame of `rest`; gives how many bytes of `rest` that was.
    pub(super) fn send_first(&self, rest: &[u8]) -> std::io::Result<usize> {
        let broken = || Error::from(ErrorKind::InvalidData);
        let (length, after) = rest.split_first_chunk::<4>().ok_or_else(broken)?;
        let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(0);
        let message = after.get(..length).ok_or_else(broken)?;
        match self {
            Self::Local(socket) => socket.send(message),
            Self::Udp(socket) => socket.send(message),
        }?;
        Ok(length + 4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        assert_eq!(Address::parse("/dev/log"), Some(Address::Local("/dev/log".into())));
        assert_eq!(Address::parse("udp://[::1]:514"), Some(Address::Udp("[::1]:514".to_owned())));
        for bad in ["", "dev/log", "udp://x", "udp://:514", "udp://x:0", "udp://x:y", "tcp://x:1"] {
            assert_eq!(Address::parse(bad), None, "{bad:?}");
        }
    }
}
