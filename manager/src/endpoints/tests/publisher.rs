//! The event endpoint with subscribers that keep up.

use super::raw_client::{RawClient, frame, greeting, ready};
use super::*;

async fn subscriber(publisher: &PublisherHandle, address: SocketAddr, minor: u8, bytes: &[u8]) -> RawClient {
    let before = publisher.subscribers();
    let mut client = RawClient::connect(address).await;
    client.shake_hands(minor, "SUB", b"").await;
    client.send(bytes).await;
    eventually("a subscription", || publisher.subscribers(), |count| *count == before + 1).await;
    client
}

async fn event(client: &mut RawClient) -> (Vec<u8>, Vec<u8>) {
    let (flags, topic) = client.receive().await;
    assert_eq!(flags, 1);
    let (flags, payload) = client.receive().await;
    assert_eq!(flags, 0);
    (topic, payload)
}

#[tokio::test]
async fn subscriptions_in_both_forms() {
    let (listening, address) = listen();
    let publisher = serve_publisher(listening).unwrap();
    publisher.publish("watcher.a.spawn", b"nobody listens");
    let mut message = subscriber(&publisher, address, 0, &frame(0, b"\x01watcher.a")).await;
    let mut command = subscriber(&publisher, address, 1, &frame(4, b"\x09SUBSCRIBEwatcher.b")).await;
    let mut all = subscriber(&publisher, address, 1, &frame(4, b"\x09SUBSCRIBE")).await;
    let long = vec![b'x'; 300];
    publisher.publish("watcher.a.spawn", b"1");
    publisher.publish("watcher.b.spawn", &long);
    assert_eq!(event(&mut message).await, (b"watcher.a.spawn".to_vec(), b"1".to_vec()));
    assert_eq!(event(&mut command).await, (b"watcher.b.spawn".to_vec(), long.clone()));
    assert_eq!(event(&mut all).await, (b"watcher.a.spawn".to_vec(), b"1".to_vec()));
    assert_eq!(event(&mut all).await, (b"watcher.b.spawn".to_vec(), long));
    message.send(&frame(0, b"\x00watcher.a")).await;
    command.send(&frame(4, b"\x06CANCELwatcher.b")).await;
    eventually("two cancellations", || publisher.subscribers(), |count| *count == 1).await;
    publisher.publish("watcher.a.spawn", b"2");
    assert_eq!(event(&mut all).await.1, b"2");
    let statistics = publisher.statistics();
    assert_eq!((statistics.sent, statistics.dropped), (5, 0));
}

#[tokio::test]
async fn many_events_come_in_their_order_to_whom_they_concern() {
    let (listening, address) = listen();
    let publisher = serve_publisher(listening).unwrap();
    let mut all = subscriber(&publisher, address, 1, &frame(4, b"\x09SUBSCRIBE")).await;
    let mut odd = subscriber(&publisher, address, 1, &frame(4, b"\x09SUBSCRIBEodd.")).await;
    let event_of = |number: usize| {
        let kind = if number.is_multiple_of(2) { "even" } else { "odd" };
        (format!("{kind}.{number}"), vec![b'x'; number])
    };
    // Several portions, one of them of a single event that is larger than a portion.
    let mut events: Vec<(String, Vec<u8>)> = (0..1000).map(event_of).collect();
    events.push(("odd.large".to_owned(), vec![b'y'; 100_000]));
    publisher.publish_all(&events);
    for (topic, payload) in &events {
        assert_eq!(event(&mut all).await, (topic.clone().into_bytes(), payload.clone()));
        if topic.starts_with("odd") {
            assert_eq!(event(&mut odd).await, (topic.clone().into_bytes(), payload.clone()));
        }
    }
    let statistics = publisher.statistics();
    assert_eq!((statistics.sent, statistics.dropped), (1001 + 501, 0));
    publisher.publish_all(&[("even.1".to_owned(), Vec::new())]);
    publisher.publish_all(&[]);
    assert_eq!(event(&mut all).await.0, b"even.1");
}

#[tokio::test]
async fn an_event_that_matches_twice_comes_once() {
    let (listening, address) = listen();
    let publisher = serve_publisher(listening).unwrap();
    let twice = [frame(0, b"\x01a"), frame(0, b"\x01ab"), frame(0, b"\x01a")].concat();
    let mut client = subscriber(&publisher, address, 0, &twice).await;
    // The heartbeat's answer shows that everything before it was read.
    client.send(&frame(4, b"\x04PING\0\0")).await;
    assert_eq!(client.receive().await, (4, b"\x04PONG".to_vec()));
    publisher.publish("abc", b"1");
    publisher.publish("abc", b"2");
    assert_eq!(event(&mut client).await.1, b"1");
    assert_eq!(event(&mut client).await.1, b"2");
}

#[tokio::test]
async fn too_many_subscriptions_or_too_long_ones_end_the_connection() {
    let (listening, address) = listen();
    let publisher = serve_publisher(listening).unwrap();
    let many: Vec<u8> =
        (0..=limits::SUBSCRIPTIONS).flat_map(|number| frame(0, format!("\x01{number}").as_bytes())).collect();
    let mut client = RawClient::ready(address, "SUB").await;
    client.send(&many).await;
    client.until_closed().await;
    let mut client = RawClient::ready(address, "SUB").await;
    client.send(&frame(0, &[1; limits::SUBSCRIPTION_MESSAGE_BYTES + 1])).await;
    client.until_closed().await;
    eventually("their end", || publisher.statistics(), |statistics| statistics.violations == 2).await;
}

#[tokio::test]
async fn a_dealer_is_no_subscriber() {
    let (listening, address) = listen();
    let publisher = serve_publisher(listening).unwrap();
    let mut client = RawClient::connect(address).await;
    client.send(&[greeting(3, 1, b"NULL"), ready("DEALER", b"")].concat()).await;
    client.until_closed().await;
    eventually("its end", || publisher.statistics(), |statistics| statistics.refused == 1).await;
}

#[tokio::test]
async fn closing_delivers_what_was_published_before() {
    let (listening, address) = listen();
    let publisher = serve_publisher(listening).unwrap();
    let mut client = subscriber(&publisher, address, 1, &frame(0, b"\x01")).await;
    let payload = vec![b'e'; 100_000];
    // More than a socket buffer, less than the backlog.
    for _ in 0..80 {
        publisher.publish("topic", &payload);
    }
    assert_eq!(publisher.statistics().dropped, 0);
    let closing = tokio::spawn(publisher.flush_and_close(Instant::now() + PATIENCE));
    for _ in 0..80 {
        assert_eq!(event(&mut client).await.1, payload);
    }
    assert_eq!(client.until_closed().await, b"");
    drop(client);
    assert_eq!(closing.await.unwrap(), 0);
}
