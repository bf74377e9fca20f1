//! Answers of servers, good ones and others, and URLs.

use super::*;
use proptest::prelude::*;

/// What becomes of an answer, head and body.
async fn read(answer: &str) -> Result<Head, String> {
    let mut answer = answer.as_bytes();
    let head = head(&mut answer).await.map_err(|error| error.to_string())?;
    read_body(&mut answer, head.body).await.map_err(|error| error.to_string())?;
    Ok(head)
}

fn url(text: &str) -> Option<(String, u16, String)> {
    Url::parse(text).map(|url| (url.host, url.port, url.target))
}

#[test]
fn urls() {
    let page = |host: &str, port, target: &str| Some((host.to_owned(), port, target.to_owned()));
    assert_eq!(url("http://localhost/"), page("localhost", 80, "/"));
    assert_eq!(url("HTTP://a.example:8080?x=1#top"), page("a.example", 8080, "/?x=1"));
    assert_eq!(url("http://[::1]:8080/a/b"), page("::1", 8080, "/a/b"));
    for bad in
        ["https://a/", "a", "http://", "http://user:x@a/", "http://a:0/", "http://a:x/", "http://a/ b", "http://[::1"]
    {
        assert_eq!(url(bad), None, "{bad}");
    }
}

#[test]
fn redirects_lead_from_where_they_are() {
    let here = Url::parse("http://a:81/x/y?z").unwrap();
    let to = |location| here.follow(location).map(|url| url.to_string());
    assert_eq!(to("/b").as_deref(), Some("http://a:81/b"));
    assert_eq!(to("b?c").as_deref(), Some("http://a:81/x/b?c"));
    assert_eq!(to("?c").as_deref(), Some("http://a:81/x/y?c"));
    assert_eq!(to("//b/c").as_deref(), Some("http://b/c"));
    assert_eq!(to("http://b/c").as_deref(), Some("http://b/c"));
    assert_eq!(to("https://a/"), None);
    assert_eq!(to(""), None);
}

#[tokio::test]
async fn an_answer_ends_where_it_says() {
    let body = async |answer: &str| read(answer).await.map(|head| (head.status, head.body));
    assert_eq!(body("HTTP/1.1 200 OK\r\ncontent-LENGTH: 2\r\n\r\nokmore").await, Ok((200, Body::Length(2))));
    assert_eq!(body("HTTP/1.0 404\n\n<h1>").await, Ok((404, Body::ToEnd)));
    assert_eq!(body("HTTP/1.1 204 No\r\n\r\n").await, Ok((204, Body::Length(0))));
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, Chunked\r\nContent-Length: 9\r\n\r\n";
    let rest = "4;x=y\r\nabcd\r\nA\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n";
    assert_eq!(body(&format!("{chunked}{rest}")).await, Ok((200, Body::Chunked)));
    assert_eq!(body(&format!("{chunked}4\r\nab")).await, Err(HttpError::Ended.to_string()));
    assert_eq!(body(&format!("{chunked}no\r\n")).await, Err("this is no answer of HTTP/1: 'no'".to_owned()));
    assert_eq!(body("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok").await, Err(HttpError::Ended.to_string()));
    assert_eq!(body("HTTP/1.1 200 OK\r\nContent-").await, Err(HttpError::Ended.to_string()));
    assert_eq!(body("").await, Err(HttpError::Ended.to_string()));
}

#[tokio::test]
async fn what_is_no_answer_is_refused() {
    assert_eq!(read("SSH-2.0-x\r\n").await, Err("this is no answer of HTTP/1: 'SSH-2.0-x'".to_owned()));
    assert_eq!(read("HTTP/1.1 999 x\r\n\r\n").await, Err("this is no answer of HTTP/1: 'HTTP/1.1 999 x'".to_owned()));
    let long = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(9000));
    assert_eq!(read(&long).await, Err(HttpError::TooLong.to_string()));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(300));
    assert_eq!(read(&many).await, Err(HttpError::TooLong.to_string()));
}

#[test]
fn an_error_has_its_status_or_circuss_number_for_none() {
    assert_eq!(HttpError::Status(503).code(), 503);
    assert_eq!(HttpError::TimedOut(Duration::from_secs(1)).code(), 599);
}

/// Pieces of answers in any order, and other bytes.
fn pieces() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let known = prop::sample::select(vec![
        "HTTP/1.1 200 OK\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Content-Length: 18446744073709551615\r\n",
        "\r\n",
        "Content-Length: 3\r\n",
        "ffffffffffffffff\r\n",
        "3\r\nabc\r\n",
        "0\r\n",
        ": \n",
    ]);
    let piece = prop_oneof![known.prop_map(|text| text.as_bytes().to_vec()), prop::collection::vec(any::<u8>(), 0..8)];
    prop::collection::vec(piece, 0..12)
}

proptest! {
    #[test]
    fn any_bytes_are_an_answer_or_an_error(pieces in pieces()) {
        let bytes = pieces.concat();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let read = runtime.block_on(async {
            let mut answer = bytes.as_slice();
            let head = head(&mut answer).await?;
            read_body(&mut answer, head.body).await.map(|()| head)
        });
        if let Ok(Head { status, .. }) = read {
            prop_assert!((100..=599).contains(&status) && bytes.starts_with(b"HTTP/1."));
        }
    }
}
