//! A ZMTP 3.0 peer by hand (RFC 23), able to do what libzmq would not.

use anyhow::{Result, bail, ensure};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Signature, version 3.0, mechanism NULL, no server, filler.
pub const GREETING: [u8; 64] = {
    let mut bytes = [0; 64];
    bytes[0] = 0xff;
    bytes[8] = 0x01;
    bytes[9] = 0x7f;
    bytes[10] = 3;
    bytes[12] = b'N';
    bytes[13] = b'U';
    bytes[14] = b'L';
    bytes[15] = b'L';
    bytes
};

/// More than any answer in these tests.
const LONGEST: u64 = 1 << 20;

const MORE: u8 = 1;
const LONG: u8 = 2;
const COMMAND: u8 = 4;

/// A connection whose handshake is done.
pub struct Peer {
    stream: TcpStream,
}

impl Peer {
    /// Connects to `port` of 127.0.0.1 as a socket of type `kind`; no identity is sent when it is empty.
    pub fn connect(port: u16, kind: &str, identity: &[u8]) -> Result<Self> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        stream.write_all(&GREETING)?;
        let mut greeting = [0; 64];
        stream.read_exact(&mut greeting)?;
        ensure!(greeting[0] == 0xff && greeting[9] == 0x7f, "no ZMTP greeting: {greeting:?}");
        let mut peer = Self { stream };
        let mut properties = property(b"Socket-Type", kind.as_bytes())?;
        if !identity.is_empty() {
            properties.extend(property(b"Identity", identity)?);
        }
        peer.command(b"READY", &properties)?;
        let ready = peer.receive_command()?;
        ensure!(ready.starts_with(b"\x05READY"), "no READY: {ready:?}");
        Ok(peer)
    }

    /// Raw bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.stream.write_all(bytes)?)
    }

    /// How long a write may block.
    pub fn set_write_timeout(&self, limit: Duration) -> Result<()> {
        Ok(self.stream.set_write_timeout(Some(limit))?)
    }

    /// A message of one frame.
    pub fn send(&mut self, body: &[u8]) -> Result<()> {
        self.write(&[&[0, u8::try_from(body.len())?], body].concat())
    }

    /// A command.
    pub fn command(&mut self, name: &[u8], data: &[u8]) -> Result<()> {
        let body = [&[u8::try_from(name.len())?], name, data].concat();
        self.write(&[&[COMMAND, u8::try_from(body.len())?], body.as_slice()].concat())
    }

    /// The next message's single frame; commands before it are passed over.
    pub fn receive(&mut self) -> Result<Vec<u8>> {
        loop {
            let (flags, body) = self.frame()?;
            if flags & COMMAND == 0 {
                ensure!(flags & MORE == 0, "more than one frame");
                return Ok(body);
            }
        }
    }

    /// The next command's body: length of the name, name, data.
    pub fn receive_command(&mut self) -> Result<Vec<u8>> {
        let (flags, body) = self.frame()?;
        if flags & COMMAND == 0 {
            bail!("a message where a command was expected: {body:?}");
        }
        Ok(body)
    }

    fn frame(&mut self) -> Result<(u8, Vec<u8>)> {
        let mut flags = [0];
        self.stream.read_exact(&mut flags)?;
        let [flags] = flags;
        let length = if flags & LONG == 0 {
            let mut length = [0];
            self.stream.read_exact(&mut length)?;
            u64::from(length[0])
        } else {
            let mut length = [0; 8];
            self.stream.read_exact(&mut length)?;
            u64::from_be_bytes(length)
        };
        ensure!(length <= LONGEST, "a frame of {length} bytes");
        let mut body = vec![0; usize::try_from(length)?];
        self.stream.read_exact(&mut body)?;
        Ok((flags, body))
    }
}

fn property(name: &[u8], value: &[u8]) -> Result<Vec<u8>> {
    let length = u32::try_from(value.len())?.to_be_bytes();
    Ok([&[u8::try_from(name.len())?], name, &length, value].concat())
}
