//! The control endpoint with clients that behave.

use tokio::net::UnixStream;

use super::raw_client::{RawClient, frame};
use super::*;

#[tokio::test]
async fn answers_in_order_and_without_looking_at_the_payload() {
    let server = Server::echo();
    let mut client = RawClient::ready(server.address, "DEALER").await;
    assert_eq!(client.ask(b"one").await, b"one");
    assert_eq!(client.ask(b"").await, b"");
    let large = vec![7; 10_000_000];
    assert_eq!(client.ask(&large).await, large);
    client.send(&[frame(0, b"a"), frame(0, b"b"), frame(0, b"c")].concat()).await;
    for expected in [b"a", b"b", b"c"] {
        assert_eq!(client.receive().await, (0, expected.to_vec()));
    }
    drop(client);
    server.until("the client's end", |statistics| statistics.connected == 0).await;
}

#[tokio::test]
async fn serves_a_unix_socket_and_leaves_its_path_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("endpoint");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let (requests, mut queue) = mpsc::channel(1);
    let handle = serve_control(Listening::from_fd(listener.into()).unwrap(), requests).unwrap();
    let mut client = RawClient { stream: UnixStream::connect(&path).await.unwrap() };
    client.shake_hands(0, "DEALER", b"me").await;
    client.send(&frame(0, b"hello")).await;
    let request = queue.recv().await.unwrap();
    assert_eq!(request.payload, b"hello"[..]);
    assert_eq!(handle.reply(request.from, b"hi".to_vec()), Delivery::Written);
    assert_eq!(client.receive().await, (0, b"hi".to_vec()));
    drop(handle);
    client.until_closed().await;
    assert!(path.exists());
}

#[tokio::test]
async fn a_message_of_several_frames_gets_no_answer() {
    let server = Server::echo();
    let mut client = RawClient::ready(server.address, "REQ").await;
    client.send(&[frame(1, b""), frame(0, b"dropped"), frame(0, b"answered")].concat()).await;
    assert_eq!(client.receive().await, (0, b"answered".to_vec()));
    assert_eq!(server.statistics().await.misshapen, 1);
}

#[tokio::test]
async fn two_clients_with_the_same_identity_are_two_clients() {
    let server = Server::echo();
    let mut first = RawClient::connect(server.address).await;
    first.shake_hands(1, "DEALER", b"same").await;
    let mut second = RawClient::connect(server.address).await;
    second.shake_hands(1, "DEALER", b"same").await;
    assert_eq!(first.ask(b"1").await, b"1");
    assert_eq!(second.ask(b"2").await, b"2");
    drop(first);
    server.until("the first client's end", |statistics| statistics.connected == 1).await;
    assert_eq!(second.ask(b"3").await, b"3");
}

#[tokio::test]
async fn a_reply_to_a_client_that_left_is_gone() {
    let (listening, address) = listen();
    let (requests, mut queue) = mpsc::channel(1);
    let handle = serve_control(listening, requests).unwrap();
    let mut client = RawClient::ready(address, "DEALER").await;
    client.send(&frame(0, b"x")).await;
    let request = queue.recv().await.unwrap();
    drop(client);
    eventually("the client's end", || handle.statistics().connected, |left| *left == 0).await;
    assert_eq!(handle.reply(request.from, Vec::new()), Delivery::Gone);
}

#[tokio::test]
async fn a_manager_that_is_busy_stops_the_reading_and_loses_nothing() {
    const REQUESTS: u32 = 20_000;
    let (listening, address) = listen();
    let (requests, mut queue) = mpsc::channel(4);
    let handle = serve_control(listening, requests).unwrap();
    let mut client = RawClient::ready(address, "DEALER").await;
    let sender = tokio::spawn(async move {
        for number in 0..REQUESTS {
            client.send(&frame(0, &[&number.to_be_bytes()[..], &[0; 1000]].concat())).await;
        }
        client
    });
    // The channel is full, and one more request waits in the connection's hands.
    eventually("a full channel", || handle.statistics().received, |received| *received == 5).await;
    let mut other = RawClient::ready(address, "DEALER").await;
    other.send(&frame(0, b"other")).await;
    eventually("the other client", || handle.statistics().received, |received| *received == 6).await;
    let mut next = 0u32;
    while next < REQUESTS {
        let request = tokio::time::timeout(PATIENCE, queue.recv()).await.unwrap().unwrap();
        if request.payload != b"other"[..] {
            assert_eq!(request.payload[..4], next.to_be_bytes());
            next += 1;
        }
    }
    drop(sender.await.unwrap());
}

#[tokio::test]
async fn one_client_has_a_bounded_number_of_requests_in_flight() {
    let (listening, address) = listen();
    let (requests, mut queue) = mpsc::channel(1000);
    let handle = serve_control(listening, requests).unwrap();
    let mut client = RawClient::ready(address, "DEALER").await;
    client.send(&frame(0, b"x").repeat(500)).await;
    let limit = u64::try_from(limits::REQUESTS_IN_FLIGHT).unwrap();
    eventually("the limit", || handle.statistics().received, |received| *received == limit + 1).await;
    assert_eq!(queue.len(), limits::REQUESTS_IN_FLIGHT);
    // Another client's request is behind these and no more.
    let mut other = RawClient::ready(address, "DEALER").await;
    other.send(&frame(0, b"other")).await;
    eventually("the other client", || handle.statistics().received, |received| *received == limit + 2).await;
    for _ in 0..limits::REQUESTS_IN_FLIGHT {
        assert_eq!(queue.recv().await.unwrap().payload, b"x"[..]);
    }
    assert_eq!(queue.recv().await.unwrap().payload, b"other"[..]);
}

#[tokio::test]
async fn closing_delivers_what_was_replied_before() {
    let (listening, address) = listen();
    let (requests, mut queue) = mpsc::channel(1);
    let handle = serve_control(listening, requests).unwrap();
    // A small window: most of the reply is still on our side when the last byte of it is written.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut client = RawClient { stream: socket.connect(address).await.unwrap() };
    client.shake_hands(1, "DEALER", b"").await;
    // Requests that stay unread in the socket must not turn the end into a reset.
    client.send(&frame(0, &[b'q'; 1000]).repeat(500)).await;
    let request = queue.recv().await.unwrap();
    let large = vec![9; 12_000_000];
    assert_eq!(handle.reply(request.from, large.clone()), Delivery::Queued);
    drop(request);
    let closing = tokio::spawn(handle.flush_and_close(Instant::now() + PATIENCE));
    assert_eq!(client.receive().await.1, large);
    assert_eq!(client.until_closed().await, b"");
    drop(client);
    assert_eq!(closing.await.unwrap(), 0);
}

#[tokio::test]
async fn closing_does_not_wait_beyond_its_deadline() {
    let (listening, address) = listen();
    let (requests, _queue) = mpsc::channel(1);
    let handle = serve_control(listening, requests).unwrap();
    let _mute = RawClient::ready(address, "DEALER").await;
    assert_eq!(handle.flush_and_close(Instant::now() + Duration::from_millis(50)).await, 1);
}
