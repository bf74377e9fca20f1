//! Clients that ask and do not read: they are cut, memory stays bounded, and others are answered at once.

use tokio::io::AsyncWriteExt;

use super::raw_client::{RawClient, frame};
use super::*;

/// Resident memory of this process in bytes.
fn resident() -> u64 {
    procfs::process::Process::myself().unwrap().statm().unwrap().resident * procfs::page_size()
}

#[tokio::test]
async fn a_client_that_never_reads_is_cut_and_others_are_answered() {
    const REQUESTS: usize = 300_000;
    let server = Server::start(|_request| vec![b'r'; 2048]);
    let before = resident();
    let mut offender = RawClient::ready(server.address, "DEALER").await;
    let sending = tokio::spawn(async move {
        let burst = frame(0, b"request").repeat(100);
        for _ in 0..REQUESTS / 100 {
            if offender.stream.write_all(&burst).await.is_err() {
                return;
            }
        }
        offender.until_closed().await;
    });
    let mut other = RawClient::ready(server.address, "DEALER").await;
    let mut slowest = Duration::ZERO;
    let mut most = before;
    while !sending.is_finished() {
        let start = Instant::now();
        assert_eq!(other.ask(b"x").await.len(), 2048);
        slowest = slowest.max(start.elapsed());
        most = most.max(resident());
    }
    sending.await.unwrap();
    assert!(slowest < Duration::from_secs(1), "another client waited {slowest:?}");
    assert_eq!(server.statistics().await.cut, 1);
    // Other tests of this process run at the same time; without a limit it would be 600 MB.
    assert!(most - before < 400 << 20, "{} MiB more", (most - before) >> 20);
    assert_eq!(other.ask(b"x").await.len(), 2048);
}

#[tokio::test]
async fn a_client_that_pings_and_never_reads_is_cut() {
    let server = Server::echo();
    let mut client = RawClient::ready(server.address, "DEALER").await;
    let pings = frame(4, b"\x04PING\0\0sixteen bytes....").repeat(1000);
    let deadline = Instant::now() + PATIENCE;
    while client.stream.write_all(&pings).await.is_ok() {
        assert!(Instant::now() < deadline, "{:?}", server.statistics().await);
    }
    let statistics = server.until("its end", |statistics| statistics.connected == 0).await;
    assert_eq!(statistics.cut, 1);
}

#[tokio::test]
async fn clients_that_do_not_read_cannot_take_the_memory_of_one_that_does() {
    let server = Server::start(|request| vec![b'r'; request.len() * 1000]);
    let mut stuck = Vec::new();
    // Each leaves less unread than a client may, all together more than the pool has.
    for _ in 0..4 {
        let mut client = RawClient::ready(server.address, "DEALER").await;
        for _ in 0..3 {
            client.send(&frame(0, &[0; 10_000])).await;
        }
        stuck.push(client);
    }
    server.until("somebody to be cut", |statistics| statistics.cut > 0).await;
    let mut client = RawClient::ready(server.address, "DEALER").await;
    assert_eq!(client.ask(&[0; 10_000]).await.len(), 10_000_000);
    assert!(server.statistics().await.connected > 1, "not everybody had to go");
}

#[tokio::test]
async fn a_slow_subscriber_loses_whole_events_and_nobody_else_does() {
    const EVENTS: u32 = 20_000;
    let (listening, address) = listen();
    let publisher = serve_publisher(listening).unwrap();
    let mut slow = RawClient::ready(address, "SUB").await;
    slow.send(&frame(0, b"\x01")).await;
    let mut good = RawClient::ready(address, "SUB").await;
    good.send(&frame(0, b"\x01e")).await;
    eventually("two subscribers", || publisher.subscribers(), |count| *count == 2).await;
    for number in 0..EVENTS {
        let payload = [&number.to_be_bytes()[..], &[0; 1000]].concat();
        publisher.publish("event", &payload);
        assert_eq!(good.receive().await, (1, b"event".to_vec()));
        assert_eq!(good.receive().await, (0, payload));
    }
    let statistics = publisher.statistics();
    let events = u64::from(EVENTS);
    assert!(statistics.dropped > 0 && statistics.dropped < events, "{statistics:?}");
    assert_eq!(statistics.sent + statistics.dropped, 2 * events);
    // What it does get is whole, in order, and as much as was counted.
    let mut last = None;
    for _ in 0..events - statistics.dropped {
        assert_eq!(slow.receive().await, (1, b"event".to_vec()));
        let (flags, payload) = slow.receive().await;
        assert_eq!((flags, payload.len()), (0, 1004));
        let number = u32::from_be_bytes(payload[..4].try_into().unwrap());
        assert!(last < Some(number), "{last:?} before {number}");
        last = Some(number);
    }
    publisher.publish("event", b"caught up");
    slow.receive().await;
    assert_eq!(slow.receive().await.1, b"caught up");
}
