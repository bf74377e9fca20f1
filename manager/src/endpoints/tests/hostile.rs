//! Peers that break the protocol: each costs itself its connection, and others are served.

use std::time::{SystemTime, UNIX_EPOCH};

use super::raw_client::{RawClient, frame, greeting, ready};
use super::*;

async fn assert_alive(server: &Server) {
    let mut client = RawClient::ready(server.address, "DEALER").await;
    assert_eq!(client.ask(b"alive?").await, b"alive?");
}

#[tokio::test]
async fn a_giant_length_before_the_handshake() {
    let server = Server::echo();
    for exponent in 33..63 {
        for flags in [2, 3, 6] {
            let mut client = RawClient::connect(server.address).await;
            let header = [&[flags], &(1u64 << exponent).to_be_bytes()[..]].concat();
            client.send(&[greeting(3, 1, b"NULL"), header].concat()).await;
            client.until_closed().await;
        }
    }
    assert_alive(&server).await;
}

#[tokio::test]
async fn a_giant_length_after_the_handshake() {
    let server = Server::echo();
    for exponent in 25..64 {
        let mut client = RawClient::ready(server.address, "DEALER").await;
        client.send(&[&[2], &(1u64 << exponent).to_be_bytes()[..]].concat()).await;
        client.until_closed().await;
    }
    assert_alive(&server).await;
    assert_eq!(server.statistics().await.violations, 39);
}

#[tokio::test]
async fn strangers_are_closed_at_the_greeting() {
    let server = Server::echo();
    let mut zmtp2 = b"\xff\0\0\0\0\0\0\0\x01\x7f\x01\x05\0\0".to_vec();
    zmtp2.resize(32, 0);
    let strangers = [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
        b"POST / HTTP/1.1\r\n\r\n".to_vec(),
        b"\x16\x03\x01\x02\x00".to_vec(),
        b"\n".to_vec(),
        zmtp2,
        greeting(3, 0, b"CURVE"),
        greeting(3, 1, b"PLAIN"),
        greeting(0, 0, b"NULL"),
    ];
    let start = Instant::now();
    for stranger in &strangers {
        let mut client = RawClient::connect(server.address).await;
        client.send(stranger).await;
        client.until_closed().await;
    }
    assert!(start.elapsed() < limits::HANDSHAKE_DEADLINE, "closed by the deadline only");
    assert_eq!(server.statistics().await.refused, u64::try_from(strangers.len()).unwrap());
    assert_alive(&server).await;
}

#[tokio::test]
async fn wrong_socket_types_are_told_so() {
    let server = Server::echo();
    for socket_type in ["PUB", "SUB", "STREAM", "", "dealer"] {
        let mut client = RawClient::connect(server.address).await;
        client.send(&[greeting(3, 1, b"NULL"), ready(socket_type, b"")].concat()).await;
        let answer = client.until_closed().await;
        let text = format!("socket type {socket_type:?} cannot talk to ROUTER");
        assert!(answer.ends_with(text.as_bytes()), "{}", String::from_utf8_lossy(&answer));
    }
    assert_alive(&server).await;
}

#[tokio::test]
async fn half_a_greeting_meets_the_deadline() {
    let server = Server::echo();
    let start = Instant::now();
    let mut clients = Vec::new();
    for cut in [0, 1, 10, 32, 63, 64, 70] {
        let whole = [greeting(3, 1, b"NULL"), ready("DEALER", b"")].concat();
        let mut client = RawClient::connect(server.address).await;
        client.send(&whole[..cut]).await;
        clients.push(client);
    }
    for client in &mut clients {
        client.until_closed().await;
    }
    assert!(start.elapsed() >= limits::HANDSHAKE_DEADLINE);
    assert_alive(&server).await;
}

#[tokio::test]
async fn random_and_truncated_handshakes() {
    let seed = std::env::var("RINGMASTER_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        now.as_secs() ^ u64::from(now.subsec_nanos()) << 32
    });
    println!("RINGMASTER_SEED={seed}");
    let mut state = seed | 1;
    let mut random = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let server = Server::echo();
    for round in 0..300 {
        let mut bytes = [greeting(3, 1, b"NULL"), ready("DEALER", b"me"), frame(0, b"request")].concat();
        match round % 3 {
            0 => bytes.iter_mut().for_each(|byte| *byte = u8::try_from(random(256)).unwrap()),
            1 => bytes.truncate(usize::try_from(random(110)).unwrap()),
            _ => {
                let at = usize::try_from(random(bytes.len().try_into().unwrap())).unwrap();
                bytes[at] ^= u8::try_from(1 + random(255)).unwrap();
            }
        }
        let mut client = RawClient::connect(server.address).await;
        // The server may close while we write: that is its right.
        let _written_or_closed = tokio::io::AsyncWriteExt::write_all(&mut client.stream, &bytes).await;
    }
    server.until("their end", |statistics| statistics.accepted == 300 && statistics.connected == 0).await;
    assert_alive(&server).await;
}

#[tokio::test]
async fn endless_messages_are_cut_off() {
    let server = Server::echo();
    let mut client = RawClient::ready(server.address, "DEALER").await;
    let endless = frame(1, b"").repeat(10_000);
    let _written_or_closed = tokio::io::AsyncWriteExt::write_all(&mut client.stream, &endless).await;
    client.until_closed().await;
    let mut client = RawClient::ready(server.address, "DEALER").await;
    for _ in 0..3 {
        let _written_or_closed =
            tokio::io::AsyncWriteExt::write_all(&mut client.stream, &frame(1, &vec![0; 6 << 20])).await;
    }
    client.until_closed().await;
    assert_alive(&server).await;
    assert_eq!(server.statistics().await.violations, 2);
}

#[tokio::test]
async fn heartbeats_are_answered() {
    let server = Server::echo();
    let mut client = RawClient::ready(server.address, "DEALER").await;
    client.send(&frame(4, b"\x04PING\x00\x0acontext")).await;
    assert_eq!(client.receive().await, (4, b"\x04PONGcontext".to_vec()));
    assert_eq!(client.ask(b"x").await, b"x");
}

#[tokio::test]
async fn half_sent_messages_share_a_pool_and_the_heaviest_goes() {
    let server = Server::echo();
    let mut halves = Vec::new();
    let part = 14 << 20;
    let needed = limits::PARTIAL_POOL / part + 1;
    for _ in 0..needed {
        let mut client = RawClient::ready(server.address, "DEALER").await;
        client.send(&frame(0, &vec![0; part])[..part - 1]).await;
        halves.push(client);
    }
    let statistics = server.until("the pool to be used up", |statistics| statistics.cut == 1).await;
    assert_eq!(statistics.connected, u64::try_from(needed).unwrap() - 1);
    // A client that finishes what it sends is served while the others still hold the pool.
    let mut client = RawClient::ready(server.address, "DEALER").await;
    let large = vec![1; 10 << 20];
    assert_eq!(client.ask(&large).await, large);
    assert_alive(&server).await;
}

#[tokio::test]
async fn a_thousand_idle_clients_make_room_for_a_newcomer() {
    let server = Server::echo();
    let mut talker = RawClient::ready(server.address, "DEALER").await;
    let mut idle = Vec::new();
    for _ in 1..limits::CONNECTIONS {
        idle.push(RawClient::ready(server.address, "DEALER").await);
    }
    assert_eq!(talker.ask(b"still here?").await, b"still here?");
    let mut newcomer = RawClient::ready(server.address, "DEALER").await;
    assert_eq!(newcomer.ask(b"me, too?").await, b"me, too?");
    // The first of the idle ones had to go, not the one that has just talked.
    idle.remove(0).until_closed().await;
    assert_eq!(talker.ask(b"and now?").await, b"and now?");
    let statistics = server.statistics().await;
    assert_eq!((statistics.cut, statistics.connected), (1, u64::try_from(limits::CONNECTIONS).unwrap()));
}
