//! The metrics endpoint over real sockets.

use super::*;
use crate::metrics::Format;
use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// An endpoint whose page is `page` in either format.
fn serve(page: &[u8]) -> (MetricsHandle, SocketAddr) {
    let (listening, address) = listen();
    let (asks, mut asked) = mpsc::channel::<Ask>(1);
    let page = page.to_vec();
    tokio::spawn(async move {
        while let Some(ask) = asked.recv().await {
            let format: &[u8] = if ask.format == Format::OpenMetrics { b"open " } else { b"" };
            // Whoever asked may have been cut off.
            let _ = ask.answer.send(Bytes::from([format, page.as_slice()].concat()));
        }
    });
    let site = Site { path: "/metrics".to_owned(), names: Names::Local };
    (serve_metrics(listening, site, asks).unwrap(), address)
}

/// Everything that comes after `request` until the server closes.
async fn told(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    rest(&mut stream).await
}

async fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("the server closes").unwrap();
    String::from_utf8(bytes).unwrap()
}

const GET: &[u8] = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

#[tokio::test]
async fn a_page_and_nothing_else() {
    let (_handle, address) = serve(b"page\n");
    let answer = told(address, GET).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\npage\n"), "{answer}");
    assert!(answer.contains("Content-Length: 5\r\n") && answer.contains("version=0.0.4"), "{answer}");
    let open = b"GET /metrics HTTP/1.0\r\nAccept: application/openmetrics-text\r\n\r\n";
    let answer = told(address, open).await;
    assert!(answer.ends_with("\r\n\r\nopen page\n") && answer.contains("openmetrics-text; version=1.0.0"), "{answer}");
    let answer = told(address, b"HEAD /metrics HTTP/1.0\r\n\r\n").await;
    assert!(answer.ends_with("\r\n\r\n") && answer.contains("Content-Length: 5\r\n"), "{answer}");
}

#[tokio::test]
async fn several_requests_over_one_connection() {
    let (handle, address) = serve(b"page\n");
    let mut stream = TcpStream::connect(address).await.unwrap();
    let keep = b"GET /metrics?a HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
    stream.write_all(&[&keep[..], keep, GET].concat()).await.unwrap();
    let answers = rest(&mut stream).await;
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 3, "{answers}");
    drop(stream);
    eventually("the place is free", || handle.connections(), |count| *count == 0).await;
}

#[tokio::test]
async fn what_is_refused_gets_a_sentence() {
    let (_handle, address) = serve(b"page\n");
    for (request, status) in [
        (&b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"[..], "404"),
        (b"POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello", "405"),
        (b"GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n", "421"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "400"),
        (&[b'x'; 20_000], "431"),
    ] {
        let answer = told(address, request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{status}: {answer}");
        assert!(answer.contains("Connection: close\r\n") && answer.ends_with('\n'), "{answer}");
    }
}

#[tokio::test]
async fn the_mute_and_the_slow_are_sent_away() {
    let (handle, address) = serve(b"page\n");
    let mut mute = TcpStream::connect(address).await.unwrap();
    let mut slow = TcpStream::connect(address).await.unwrap();
    slow.write_all(b"GET /metrics HT").await.unwrap();
    assert_eq!(rest(&mut mute).await, "");
    let answer = rest(&mut slow).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    drop((mute, slow));
    eventually("both places are free", || handle.connections(), |count| *count == 0).await;
}

#[tokio::test]
async fn a_thousand_idle_connections_cost_each_other_their_place() {
    let (handle, address) = serve(b"page\n");
    let mut idle = Vec::new();
    for _ in 0..300 {
        idle.push(TcpStream::connect(address).await.unwrap());
    }
    assert!(told(address, GET).await.ends_with("page\n"));
    assert!(handle.connections() <= limits::HTTP_CONNECTIONS);
    // The first to come was the first to go.
    assert_eq!(rest(&mut idle.remove(0)).await, "");
}

#[tokio::test]
async fn who_does_not_read_is_cut_off() {
    // More than the buffers of both sockets take.
    let (handle, address) = serve(&vec![b'x'; 32 << 20]);
    let mut deaf = TcpStream::connect(address).await.unwrap();
    deaf.write_all(GET).await.unwrap();
    eventually("it is being answered", || handle.connections(), |count| *count == 1).await;
    eventually("the place is free", || handle.connections(), |count| *count == 0).await;
}

#[tokio::test]
async fn without_figures_there_is_a_word() {
    let (listening, address) = listen();
    let (asks, asked) = mpsc::channel::<Ask>(1);
    drop(asked);
    let site = Site { path: "/metrics".to_owned(), names: Names::Any };
    let _handle = serve_metrics(listening, site, asks).unwrap();
    assert!(told(address, GET).await.starts_with("HTTP/1.1 503 "));
}

#[tokio::test]
async fn the_end_waits_for_an_answer_under_way_and_for_nobody_else() {
    let (listening, address) = listen();
    let (asks, mut asked) = mpsc::channel::<Ask>(1);
    let site = Site { path: "/metrics".to_owned(), names: Names::Any };
    let handle = serve_metrics(listening, site, asks).unwrap();
    let mut idle = TcpStream::connect(address).await.unwrap();
    idle.write_all(b"GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    asked.recv().await.unwrap().answer.send(Bytes::from_static(b"first\n")).unwrap();
    let mut first = [0; 400];
    let length = idle.read(&mut first).await.unwrap();
    assert!(first[..length].ends_with(b"first\n"));
    let mut asking = TcpStream::connect(address).await.unwrap();
    asking.write_all(b"GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    let ask = asked.recv().await.unwrap();
    eventually("both are there", || handle.connections(), |count| *count == 2).await;
    let end = tokio::spawn(handle.flush_and_close(Instant::now() + PATIENCE));
    assert_eq!(rest(&mut idle).await, "");
    ask.answer.send(Bytes::from_static(b"last\n")).unwrap();
    let answer = rest(&mut asking).await;
    assert!(answer.contains("Connection: close\r\n") && answer.ends_with("last\n"), "{answer}");
    drop(asking);
    end.await.unwrap();
}
