//! One accepted connection, TCP or Unix, as the rest of the endpoints use it: a half to read from and a half to try
//! writes on. No protocol, no buffers.

use std::io::{self, IoSlice};
use std::os::fd::AsFd;

use bytes::BytesMut;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, UnixListener, tcp, unix};

/// A listening socket registered with tokio.
#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// The side that is awaited.
#[derive(Debug)]
pub(super) enum ReadHalf {
    Tcp(tcp::OwnedReadHalf),
    Unix(unix::OwnedReadHalf),
}

/// The side that is shared. Dropping it shuts the connection's sending side down.
#[derive(Debug)]
pub(super) enum WriteHalf {
    Tcp(tcp::OwnedWriteHalf),
    Unix(unix::OwnedWriteHalf),
}

impl Listener {
    /// The next connection. TCP connections get TCP_NODELAY (a reply is one write and must not wait for another) and
    /// keep-alive, so that a peer whose machine vanished does not hold its slot for ever.
    pub(super) async fn accept(&self) -> io::Result<(ReadHalf, WriteHalf)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _address) = listener.accept().await?;
                stream.set_nodelay(true).map_err(gone)?;
                rustix::net::sockopt::set_socket_keepalive(&stream, true).map_err(|errno| gone(errno.into()))?;
                let (read, write) = stream.into_split();
                Ok((ReadHalf::Tcp(read), WriteHalf::Tcp(write)))
            }
            Self::Unix(listener) => {
                let (stream, _address) = listener.accept().await?;
                let (read, write) = stream.into_split();
                Ok((ReadHalf::Unix(read), WriteHalf::Unix(write)))
            }
        }
    }
}

/// A connection whose options cannot be set has ended before it was accepted.
fn gone(error: io::Error) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, error)
}

impl ReadHalf {
    /// Appends what arrives to `buffer`, within the capacity it has; 0 at the end of the stream. Safe to cancel.
    pub(super) async fn read(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        match self {
            Self::Tcp(half) => half.read_buf(buffer).await,
            Self::Unix(half) => half.read_buf(buffer).await,
        }
    }
}

impl WriteHalf {
    /// Writes what fits into the socket now.
    pub(super) fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(half) => half.try_write_vectored(slices),
            Self::Unix(half) => half.try_write_vectored(slices),
        }
    }

    /// Waits until a write may succeed.
    pub(super) async fn writable(&self) -> io::Result<()> {
        match self {
            Self::Tcp(half) => half.writable().await,
            Self::Unix(half) => half.writable().await,
        }
    }

    /// Tells the peer that nothing more comes, after what was written.
    pub(super) fn finish(&self) -> io::Result<()> {
        let end = rustix::net::Shutdown::Write;
        match self {
            Self::Tcp(half) => rustix::net::shutdown(half.as_ref().as_fd(), end)?,
            Self::Unix(half) => rustix::net::shutdown(half.as_ref().as_fd(), end)?,
        }
        Ok(())
    }

    /// Reads and forgets until the peer closes. A socket closed with unread input resets the connection, and a reset
    /// takes the replies with it that the peer has not seen yet.
    pub(super) async fn discard_input(&self) -> io::Result<()> {
        let mut scratch = [0; 4096];
        loop {
            let read = match self {
                Self::Tcp(half) => {
                    half.as_ref().readable().await?;
                    half.as_ref().try_read(&mut scratch)
                }
                Self::Unix(half) => {
                    half.as_ref().readable().await?;
                    half.as_ref().try_read(&mut scratch)
                }
            };
            match read {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}
