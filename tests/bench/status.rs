//! `status` of one watcher over a connection that speaks ZMTP 3.0 (RFC 23) by hand, with 10, 100 and 1,000 processes: without
//! libzmq on the client's side nearly all that is measured is the daemon's. The bare loop is a thread that sends back what comes.

use crate::{Figure, Peer};
use anyhow::{Context, Result, ensure};
use ringmaster_tests::stack::Stack;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// Requests, one after the other: the 99th percentile is the twentieth slowest.
const REQUESTS: usize = 2000;

const COUNTS: [(usize, [&str; 2]); 3] = [
    (10, ["status with 10 processes, p50 us", "  p99 us"]),
    (100, ["status with 100 processes, p50 us", "  p99 us"]),
    (1000, ["status with 1,000 processes, p50 us", "  p99 us"]),
];

const REQUEST: &[u8] = br#"{"id": "0123456789abcdef", "command": "status", "properties": {"name": "a"}}"#;

/// How long an answer may take.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub fn measure(peer: Peer) -> Result<Vec<Figure>> {
    let mut all = Vec::new();
    for (count, names) in COUNTS {
        let mut times = match peer.subject() {
            None => bare()?,
            Some(subject) => {
                let mut stack = Stack::empty("bench-status", subject)?;
                stack.configure("", &format!("[watcher:a]\ncmd = sleep 3600\nnumprocesses = {count}\n"))?;
                stack.start()?;
                stack.await_count("a", count)?;
                let mut client = Client::connect(stack.sandbox.port(0))?;
                let times = (0..REQUESTS).map(|_| client.timed()).collect::<Result<Vec<f64>>>()?;
                stack.end()?;
                times
            }
        };
        times.sort_by(f64::total_cmp);
        let part = |of: usize| times.get(REQUESTS * of / 100).copied().unwrap_or(f64::NAN) * 1e6;
        all.extend(names.into_iter().zip([part(50), part(99)]).map(|(name, value)| Figure { name, value }));
    }
    Ok(all)
}

fn bare() -> Result<Vec<f64>> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let mut client = TcpStream::connect(listener.local_addr()?)?;
    let (mut server, _) = listener.accept()?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let echo = std::thread::spawn(move || -> Result<()> {
        let mut bytes = [0; REQUEST.len()];
        while server.read_exact(&mut bytes).is_ok() {
            server.write_all(&bytes)?;
        }
        Ok(())
    });
    let mut bytes = [0; REQUEST.len()];
    let mut once = || -> Result<f64> {
        let begin = Instant::now();
        client.write_all(REQUEST)?;
        client.read_exact(&mut bytes)?;
        Ok(begin.elapsed().as_secs_f64())
    };
    let times = (0..REQUESTS).map(|_| once()).collect();
    drop(client);
    echo.join().map_err(|_panic| anyhow::anyhow!("the echo panicked"))??;
    times
}

/// A DEALER by hand.
pub struct Client {
    stream: TcpStream,
}

impl Client {
    /// Connects to that port of 127.0.0.1 and shakes hands; a daemon that is not there yet is waited for in the backlog.
    pub fn connect(port: u16) -> Result<Self> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut greeting = b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\0NULL".to_vec();
        greeting.resize(64, 0);
        stream.write_all(&greeting)?;
        stream.read_exact(&mut greeting)?;
        ensure!(greeting.starts_with(&[0xff]), "no greeting of ZMTP: {greeting:?}");
        let ready = b"\x04\x1c\x05READY\x0bSocket-Type\0\0\0\x06DEALER";
        let (head, body) = (ready.get(..2).unwrap_or_default(), ready.get(2..).unwrap_or_default());
        ensure!(head.get(1).copied().map(usize::from) == Some(body.len()), "READY has {} bytes", body.len());
        stream.write_all(ready)?;
        let mut client = Self { stream };
        client.frame()?;
        Ok(client)
    }

    /// One request; the answer.
    pub fn ask(&mut self) -> Result<Vec<u8>> {
        let length = u8::try_from(REQUEST.len())?;
        self.stream.write_all(&[&[0, length], REQUEST].concat())?;
        self.frame()
    }

    /// Seconds of one request.
    fn timed(&mut self) -> Result<f64> {
        let begin = Instant::now();
        let answer = self.ask()?;
        let time = begin.elapsed().as_secs_f64();
        let text = String::from_utf8_lossy(&answer);
        ensure!(text.contains("active"), "{text}");
        Ok(time)
    }

    fn frame(&mut self) -> Result<Vec<u8>> {
        const LONG: u8 = 2;
        let mut head = [0; 2];
        self.stream.read_exact(&mut head).context("a frame")?;
        let [flags, first] = head;
        let mut length = usize::from(first);
        if flags & LONG != 0 {
            let mut rest = [0; 7];
            self.stream.read_exact(&mut rest)?;
            let bytes: Vec<u8> = std::iter::once(first).chain(rest).collect();
            length = bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        Ok(body)
    }
}
