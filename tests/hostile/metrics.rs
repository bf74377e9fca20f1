//! Hostile clients on the metrics endpoint: circusd goes on answering commands, and scrapes.

use super::others_are_served;
use anyhow::{Result, ensure};
use ringmaster_tests::daemon::{Subject, subject};
use ringmaster_tests::scrape::{Page, get};
use ringmaster_tests::stack::Stack;
use ringmaster_tests::wait::wait_until;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// What one answer may take while others misbehave. An idle machine needs a few milliseconds.
const SOON: Duration = Duration::from_secs(5);

/// `None`: the real Circus has no such endpoint.
fn stack(name: &str) -> Result<Option<(Stack, u16)>> {
    if subject() != Subject::Ringmaster {
        return Ok(None);
    }
    let mut stack = Stack::empty(name, Subject::Ringmaster)?;
    let port = stack.sandbox.port(2);
    stack.configure(
        &format!("metrics_endpoint = http://127.0.0.1:{port}/metrics\n"),
        "[watcher:a]\ncmd = sleep 3600\n",
    )?;
    stack.start()?;
    Ok(Some((stack, port)))
}

fn all_are_served(stack: &mut Stack, port: u16) -> Result<()> {
    let begin = Instant::now();
    others_are_served(stack)?;
    Page::scrape(port, "")?;
    ensure!(begin.elapsed() < SOON, "an answer took {:?}", begin.elapsed());
    Ok(())
}

fn connect(port: u16) -> Result<TcpStream> {
    Ok(TcpStream::connect(("127.0.0.1", port))?)
}

/// Waits for the end of a connection.
fn await_end(stream: &mut TcpStream) -> Result<Vec<u8>> {
    stream.set_read_timeout(Some(Duration::from_millis(100)))?;
    let mut all = Vec::new();
    wait_until(Duration::from_secs(60), "the connection is closed", || {
        let mut bytes = [0; 4096];
        loop {
            match stream.read(&mut bytes) {
                Ok(0) => return Ok(()),
                Ok(count) => all.extend_from_slice(bytes.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(()),
                Err(error) => return Err(error.to_string()),
            }
        }
    })?;
    Ok(all)
}

#[test]
fn half_requests_and_no_requests() -> Result<()> {
    let Some((mut stack, port)) = stack("http-half")? else { return Ok(()) };
    let mut half = Vec::new();
    for text in [&b"GET /metr"[..], b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n", b"\r\n\r\n", b""] {
        for _ in 0..15 {
            let mut stream = connect(port)?;
            stream.write_all(text)?;
            half.push(stream);
        }
    }
    all_are_served(&mut stack, port)?;
    for stream in &mut half {
        await_end(stream)?;
    }
    all_are_served(&mut stack, port)?;
    stack.end()
}

#[test]
fn a_thousand_idle_connections() -> Result<()> {
    let Some((mut stack, port)) = stack("http-idle")? else { return Ok(()) };
    let mut idle = Vec::new();
    for count in 1..=1000 {
        idle.push(connect(port)?);
        if count % 250 == 0 {
            all_are_served(&mut stack, port)?;
        }
    }
    await_end(&mut idle[0])?;
    all_are_served(&mut stack, port)?;
    drop(idle);
    all_are_served(&mut stack, port)?;
    stack.end()
}

#[test]
fn huge_heads_and_other_languages() -> Result<()> {
    let Some((mut stack, port)) = stack("http-huge")? else { return Ok(()) };
    let field = format!("GET /metrics HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(1 << 20)).into_bytes();
    let fields = format!("GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n{}\r\n", "A: b\r\n".repeat(1000)).into_bytes();
    let random: Vec<u8> = (0..20_000_u32).map(|number| u8::try_from(number * 7919 % 251).unwrap_or(0)).collect();
    for text in [
        &field[..],
        &fields,
        &random,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"SSH-2.0-x\r\n\r\n",
        &super::GREETING,
    ] {
        let mut stream = connect(port)?;
        // It may be cut off while we write; that is what it deserves.
        let _ = stream.write_all(text);
        let answer = String::from_utf8_lossy(&await_end(&mut stream)?).into_owned();
        ensure!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
        all_are_served(&mut stack, port)?;
    }
    ensure!(get(port, "/metrics", "Content-Length: 9999999999999\r\n")?.status == 413);
    stack.end()
}

/// Requests without end, of which no answer is read.
#[test]
fn a_scraper_that_never_reads() -> Result<()> {
    let Some((mut stack, port)) = stack("http-deaf")? else { return Ok(()) };
    let request = b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".repeat(100);
    let mut deaf = Vec::new();
    for _ in 0..20 {
        let mut stream = connect(port)?;
        stream.set_write_timeout(Some(Duration::from_millis(200)))?;
        while stream.write_all(&request).is_ok() {}
        deaf.push(stream);
        all_are_served(&mut stack, port)?;
    }
    drop(deaf);
    all_are_served(&mut stack, port)?;
    stack.end()
}
