//! Hostile and clumsy clients on the ZMQ ports: each hurts itself at most, and circusd serves the others.
//!
//! The cases are those that killed or hung other ZMTP implementations. With `RINGMASTER_TEST_SUBJECT=circus` the same
//! cases run against libzmq.
#![forbid(unsafe_code)]

mod metrics;
mod peer;

use anyhow::{Result, ensure};
use peer::{GREETING, Peer};
use ringmaster_tests::processes;
use ringmaster_tests::stack::Stack;
use ringmaster_tests::wait::wait_until;
use serde_json::json;
use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

/// What circusd may hold on to because of one client, far below what the broken implementations took.
const MEMORY_KIB: u64 = 200 << 10;

/// A request of 62 bytes whose answer is longer.
const REQUEST: &[u8] = br#"{"id": "flood", "command": "options", "properties": {"name": "a"}}"#;

fn stack(name: &str) -> Result<Stack> {
    let mut stack = Stack::new(name, "", "[watcher:a]\ncmd = sleep 3600\n")?;
    stack.start()?;
    Ok(stack)
}

/// Another client is served.
fn others_are_served(stack: &mut Stack) -> Result<()> {
    let reply = stack.call("numwatchers", &json!({}))?;
    ensure!(reply.get("numwatchers") == Some(&json!(1)), "{reply}");
    let pid = stack.daemon.as_ref().map(ringmaster_tests::daemon::Daemon::pid).unwrap_or_default();
    let resident = processes::status_number(pid, "VmRSS").unwrap_or(0);
    ensure!(resident < MEMORY_KIB, "circusd holds {resident} KiB");
    Ok(())
}

/// Both ZMQ ports.
fn ports(stack: &Stack) -> [u16; 2] {
    [stack.sandbox.port(0), stack.sandbox.port(1)]
}

#[test]
fn a_giant_length_before_the_handshake() -> Result<()> {
    let mut stack = stack("giant")?;
    for port in ports(&stack) {
        for power in [33, 35, 40, 45, 62, 63] {
            let mut connection = TcpStream::connect(("127.0.0.1", port))?;
            // Flags 02: a long frame; 06: a long command.
            for flags in [0x02_u8, 0x06] {
                let length = 1_u64 << power;
                let bytes = [&GREETING[..], &[flags], &length.to_be_bytes(), b"x"].concat();
                // It may be cut off while we write; that is what it deserves.
                let _ = connection.write_all(&bytes);
            }
            others_are_served(&mut stack)?;
        }
    }
    stack.end()
}

#[test]
fn a_giant_length_after_the_handshake() -> Result<()> {
    let mut stack = stack("giant2")?;
    for port in ports(&stack) {
        let socket = if port == stack.sandbox.port(0) { "DEALER" } else { "SUB" };
        let mut peer = Peer::connect(port, socket, b"")?;
        let _ = peer.write(&[&[0x02_u8][..], &(1_u64 << 40).to_be_bytes()].concat());
        others_are_served(&mut stack)?;
    }
    stack.end()
}

#[test]
fn a_client_that_never_reads() -> Result<()> {
    let mut stack = stack("deaf")?;
    let mut peer = Peer::connect(stack.sandbox.port(0), "DEALER", b"")?;
    peer.set_write_timeout(Duration::from_millis(300))?;
    let mut sent = 0;
    while sent < 300_000 {
        if peer.send(REQUEST).is_err() {
            break;
        }
        sent += 1;
        if sent % 20_000 == 0 {
            others_are_served(&mut stack)?;
        }
    }
    println!("{sent} requests were taken from a client that never reads");
    others_are_served(&mut stack)?;
    drop(peer);
    others_are_served(&mut stack)?;
    stack.end()
}

#[test]
fn two_clients_of_the_same_identity() -> Result<()> {
    let mut stack = stack("twins")?;
    let port = stack.sandbox.port(0);
    let identity = b"0123456789abcdef0123456789abcdef";
    for _ in 0..20 {
        let mut first = Peer::connect(port, "DEALER", identity)?;
        for _ in 0..50 {
            first.send(REQUEST)?;
        }
        drop(first);
        let mut second = Peer::connect(port, "DEALER", identity)?;
        second.send(REQUEST)?;
        let answer = second.receive()?;
        ensure!(String::from_utf8_lossy(&answer).contains("\"flood\""), "{answer:?}");
    }
    others_are_served(&mut stack)?;
    stack.end()
}

#[test]
fn http_and_other_languages() -> Result<()> {
    let mut stack = stack("http")?;
    for port in ports(&stack) {
        for text in [
            &b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"[..],
            b"SSH-2.0-OpenSSH_9.2\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            b"\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f\x01\x06",
            b"help\n",
            b"",
        ] {
            let mut connection = TcpStream::connect(("127.0.0.1", port))?;
            let _ = connection.write_all(text);
            others_are_served(&mut stack)?;
        }
    }
    stack.end()
}

#[test]
fn heartbeats_are_answered() -> Result<()> {
    let mut stack = stack("beats")?;
    for (port, socket) in [(stack.sandbox.port(0), "DEALER"), (stack.sandbox.port(1), "SUB")] {
        let mut peer = Peer::connect(port, socket, b"")?;
        for number in 0..20_u8 {
            peer.command(b"PING", &[0, 10, number, 7])?;
            let answer = peer.receive_command()?;
            ensure!(answer == [&b"\x04PONG"[..], &[number, 7]].concat(), "{answer:?}");
        }
    }
    others_are_served(&mut stack)?;
    stack.end()
}

#[test]
fn mute_connections() -> Result<()> {
    let mut stack = stack("mute")?;
    let mut mute = Vec::new();
    for _ in 0..150 {
        for port in ports(&stack) {
            mute.push(TcpStream::connect(("127.0.0.1", port))?);
        }
    }
    others_are_served(&mut stack)?;
    // Somebody who says nothing at all is sent away: a read gives the end, beyond the server's own greeting.
    let mut first = mute.remove(0);
    first.set_read_timeout(Some(Duration::from_millis(100)))?;
    wait_until(Duration::from_secs(60), "a mute connection is closed", || {
        let mut bytes = [0; 256];
        match std::io::Read::read(&mut first, &mut bytes) {
            Ok(0) => Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })?;
    drop(mute);
    others_are_served(&mut stack)?;
    stack.end()
}

#[test]
fn a_message_without_an_end() -> Result<()> {
    let mut stack = stack("parts")?;
    let mut peer = Peer::connect(stack.sandbox.port(0), "DEALER", b"")?;
    peer.set_write_timeout(Duration::from_secs(2))?;
    // Empty frames, each with the flag that more follow.
    let portion = [1, 0].repeat(10_000);
    for _ in 0..100 {
        if peer.write(&portion).is_err() {
            break;
        }
    }
    others_are_served(&mut stack)?;
    stack.end()
}

#[test]
fn random_bytes() -> Result<()> {
    let mut stack = stack("random")?;
    let given = std::env::var("RINGMASTER_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = given.unwrap_or_else(|| u64::from(std::process::id()) * 7919 + 1);
    println!("RINGMASTER_SEED={seed}");
    let mut state = seed;
    let mut draw = |limit: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % limit
    };
    for round in 0..300 {
        let mut bytes = GREETING.to_vec();
        bytes.truncate(usize::try_from(draw(65))?);
        for _ in 0..draw(200) {
            bytes.push(u8::try_from(draw(256))?);
        }
        let port = ports(&stack)[usize::from(round % 2 == 0)];
        let mut connection = TcpStream::connect(("127.0.0.1", port))?;
        let _ = connection.write_all(&bytes);
        if round % 30 == 0 {
            others_are_served(&mut stack)?;
        }
    }
    others_are_served(&mut stack)?;
    stack.end()
}
