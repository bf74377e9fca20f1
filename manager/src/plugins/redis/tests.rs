//! URLs, and conversations with servers, good ones and others.

use super::*;
use proptest::prelude::*;
use tokio::io::duplex;

fn server(text: &str) -> Option<(Place, Option<String>, Option<String>, u32)> {
    Server::parse(text).map(|server| (server.place, server.user, server.password, server.database))
}

#[test]
fn urls() {
    let tcp = |host: &str, port| Place::Tcp { host: host.to_owned(), port };
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(server("redis://localhost:6379/0"), Some((tcp("localhost", 6379), None, None, 0)));
    assert_eq!(server("redis://"), Some((tcp("localhost", 6379), None, None, 0)));
    assert_eq!(server("redis://[::1]:1/7"), Some((tcp("::1", 1), None, None, 7)));
    assert_eq!(server("redis://:a%3Ab@h?db=2"), Some((tcp("h", 6379), None, text("a:b"), 2)));
    assert_eq!(server("redis://me:p@ss@h/"), Some((tcp("h", 6379), text("me"), text("p@ss"), 0)));
    let path = Place::Unix("/run/redis.sock".into());
    assert_eq!(server("unix:///run/redis.sock?db=3"), Some((path, None, None, 3)));
    for bad in ["rediss://h", "http://h", "redis://h:0", "redis://h/x", "unix://h", "redis://:%zz@h", "h:6379"] {
        assert_eq!(server(bad), None, "{bad}");
    }
}

#[test]
fn a_password_is_in_no_message() {
    assert_eq!(Server::parse("redis://me:secret@h/2").unwrap().to_string(), "redis://h:6379/2");
}

/// What comes of these replies, and what the server was sent.
async fn conversation(url: &str, replies: &str) -> (Result<String, String>, String) {
    let (ours, mut theirs) = duplex(64 * 1024);
    theirs.write_all(replies.as_bytes()).await.unwrap();
    theirs.shutdown().await.unwrap();
    let outcome = converse(ours, &Server::parse(url).unwrap()).await.map_err(|error| error.to_string());
    let mut sent = String::new();
    theirs.read_to_string(&mut sent).await.unwrap();
    (outcome, sent)
}

#[tokio::test]
async fn a_conversation() {
    let (outcome, sent) = conversation("redis://me:x@h/2", "+OK\r\n+OK\r\n$4\r\na:1\n\r\n").await;
    assert_eq!(outcome.as_deref(), Ok("a:1\n"));
    let expected = "*3\r\n$4\r\nAUTH\r\n$2\r\nme\r\n$1\r\nx\r\n*2\r\n$6\r\nSELECT\r\n$1\r\n2\r\n*1\r\n$4\r\nINFO\r\n";
    assert_eq!(sent, expected);
    let (outcome, sent) = conversation("redis://:x@h", "-WRONGPASS no\r\n").await;
    assert_eq!(outcome.unwrap_err(), "the server refuses AUTH: WRONGPASS no");
    assert_eq!(sent, "*2\r\n$4\r\nAUTH\r\n$1\r\nx\r\n");
}

#[tokio::test]
async fn what_is_no_reply_is_refused() {
    for (replies, expected) in [
        ("", RedisError::Ended.to_string()),
        ("$4\r\nab", RedisError::Ended.to_string()),
        ("$-1\r\n", "this is no reply of Redis: '$-1'".to_owned()),
        ("HTTP/1.1 400 Bad Request\r\n", "this is no reply of Redis: 'HTTP/1.1 400 Bad Request'".to_owned()),
        ("no\n", "this is no reply of Redis: 'no\n'".to_owned()),
        ("$99999999\r\n", RedisError::TooLong.to_string()),
    ] {
        let (outcome, _) = conversation("redis://h", replies).await;
        assert_eq!(outcome, Err(expected), "{replies:?}");
    }
}

/// Pieces of replies in any order, and other bytes.
fn pieces() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let known = prop::sample::select(vec![
        "+OK\r\n",
        "-ERR x\r\n",
        "$3\r\nabc\r\n",
        "$18446744073709551615\r\n",
        "$-1\r\n",
        "\r\n",
        "*1\r\n",
    ]);
    let piece = prop_oneof![known.prop_map(|text| text.as_bytes().to_vec()), prop::collection::vec(any::<u8>(), 0..8)];
    prop::collection::vec(piece, 0..12)
}

proptest! {
    #[test]
    fn any_bytes_are_a_reply_or_an_error(pieces in pieces()) {
        let bytes = pieces.concat();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        if runtime.block_on(reply(&mut bytes.as_slice())).is_ok() {
            prop_assert!(matches!(bytes.first(), Some(b'+' | b'-' | b'$')));
        }
    }
}
