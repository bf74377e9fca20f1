//! A peer that speaks ZMTP by hand and can therefore speak it wrongly.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::PATIENCE;

/// A greeting with any version and mechanism.
pub fn greeting(major: u8, minor: u8, mechanism: &[u8]) -> Vec<u8> {
    let mut bytes = b"\xff\0\0\0\0\0\0\0\x01\x7f".to_vec();
    bytes.extend([major, minor]);
    bytes.extend(mechanism);
    bytes.resize(64, 0);
    bytes
}

/// A READY command with a socket type and an identity.
pub fn ready(socket_type: &str, identity: &[u8]) -> Vec<u8> {
    let mut body = b"\x05READY".to_vec();
    for (name, value) in [("Socket-Type", socket_type.as_bytes()), ("Identity", identity)] {
        body.push(u8::try_from(name.len()).unwrap());
        body.extend(name.as_bytes());
        body.extend(u32::try_from(value.len()).unwrap().to_be_bytes());
        body.extend(value);
    }
    frame(4, &body)
}

/// A frame with any flags; the long form is chosen by the length.
pub fn frame(flags: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = match u8::try_from(body.len()) {
        Ok(length) => vec![flags, length],
        Err(_long) => [&[flags | 2], &u64::try_from(body.len()).unwrap().to_be_bytes()[..]].concat(),
    };
    bytes.extend(body);
    bytes
}

/// A connection, with whatever has been said on it.
pub struct RawClient<S = TcpStream> {
    pub stream: S,
}

impl RawClient {
    /// Connects and says nothing.
    pub async fn connect(address: SocketAddr) -> Self {
        Self { stream: TcpStream::connect(address).await.unwrap() }
    }

    /// Connects and ends the handshake.
    pub async fn ready(address: SocketAddr, socket_type: &str) -> Self {
        let mut client = Self::connect(address).await;
        client.shake_hands(1, socket_type, b"").await;
        client
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> RawClient<S> {
    /// Greets as ZMTP 3.`minor` and waits for the other side's READY.
    pub async fn shake_hands(&mut self, minor: u8, socket_type: &str, identity: &[u8]) {
        self.send(&greeting(3, minor, b"NULL")).await;
        let mut theirs = [0; 64];
        timeout(PATIENCE, self.stream.read_exact(&mut theirs)).await.unwrap().unwrap();
        assert_eq!(theirs[..], greeting_of_ours()[..]);
        self.send(&ready(socket_type, identity)).await;
        let (flags, body) = self.receive().await;
        assert!(flags == 4 && body.starts_with(b"\x05READY"), "{flags} {body:?}");
    }

    /// Sends bytes as they are.
    pub async fn send(&mut self, bytes: &[u8]) {
        timeout(PATIENCE, self.stream.write_all(bytes)).await.unwrap().unwrap();
    }

    /// Flags without the long bit, and body, of the next frame.
    pub async fn receive(&mut self) -> (u8, Vec<u8>) {
        timeout(PATIENCE, self.frame()).await.unwrap().unwrap()
    }

    async fn frame(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let flags = self.stream.read_u8().await?;
        let length = if flags & 2 == 0 {
            usize::from(self.stream.read_u8().await?)
        } else {
            usize::try_from(self.stream.read_u64().await?).unwrap()
        };
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await?;
        Ok((flags & !2, body))
    }

    /// One request and its reply.
    pub async fn ask(&mut self, request: &[u8]) -> Vec<u8> {
        self.send(&frame(0, request)).await;
        let (flags, body) = self.receive().await;
        assert_eq!(flags, 0);
        body
    }

    /// Reads until the other side closes; what it sent before that.
    pub async fn until_closed(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        match timeout(PATIENCE, self.stream.read_to_end(&mut rest)).await.expect("still open") {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{error}"),
        }
        rest
    }
}

fn greeting_of_ours() -> Vec<u8> {
    let mut bytes = greeting(3, 1, b"NULL");
    bytes[8] = 0;
    bytes
}
