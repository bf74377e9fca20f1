//! The state machine against recorded libzmq bytes, and against arbitrary bytes cut in arbitrary places.

use proptest::prelude::*;

use super::super::frame::encode_header;
use super::*;
use crate::endpoints::limits::{CONTROL_MESSAGES, PUBLISHER_MESSAGES};

/// A libzmq 4.3.5 DEALER with a 16-byte identity, up to its first request.
const LIBZMQ_DEALER: &[&[u8]] = &[
    b"\xff\0\0\0\0\0\0\0\x11\x7f",
    b"\x03\x01NULL\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
    b"\x04\x39\x05READY\x0bSocket-Type\0\0\0\x06DEALER\x08Identity\0\0\0\x100123456789abcdef",
    b"\x00\x13{\"command\": \"list\"}",
];

/// Its heartbeat with `ZMQ_HEARTBEAT_TTL` 1000.
const LIBZMQ_PING: &[u8] = b"\x04\x07\x04PING\x00\x0a";

/// A libzmq 4.3.5 SUB that subscribes to `watcher.` and takes it back, towards a 3.1 peer.
const LIBZMQ_SUB_3_1: &[&[u8]] = &[
    LIBZMQ_DEALER[0],
    LIBZMQ_DEALER[1],
    b"\x04\x19\x05READY\x0bSocket-Type\0\0\0\x03SUB",
    b"\x04\x12\x09SUBSCRIBEwatcher.",
    b"\x04\x0f\x06CANCELwatcher.",
];

/// The same towards a 3.0 peer.
const LIBZMQ_SUB_3_0: &[&[u8]] =
    &[LIBZMQ_DEALER[0], LIBZMQ_DEALER[1], LIBZMQ_SUB_3_1[2], b"\x00\x09\x01watcher.", b"\x00\x09\x00watcher."];

const SMALL: MessageLimits = MessageLimits { message_bytes: 300, parts: 3, command_bytes: 64 };

fn feed(connection: &mut Connection, chunks: &[&[u8]]) -> Vec<Action> {
    let mut actions = Vec::new();
    for chunk in chunks {
        connection.input().extend_from_slice(chunk);
        actions.extend(std::iter::from_fn(|| connection.next_action()));
    }
    actions
}

fn run(role: Role, limits: MessageLimits, chunks: &[&[u8]]) -> Vec<Action> {
    feed(&mut Connection::new(role, limits), chunks)
}

/// A connection past its handshake.
fn ready(role: Role) -> Connection {
    let mut connection = Connection::new(role, SMALL);
    let handshake = match role {
        Role::Router => &LIBZMQ_DEALER[..3],
        Role::Publisher => &LIBZMQ_SUB_3_1[..3],
    };
    let actions = feed(&mut connection, handshake);
    assert!(matches!(actions.last(), Some(Action::Ready(_))), "{actions:?}");
    connection
}

fn closed(actions: &[Action]) -> &CloseReason {
    match actions.last() {
        Some(Action::Close(reason)) => reason,
        other => panic!("expected a close, got {other:?}"),
    }
}

fn greeting() -> Action {
    Action::Send(Bytes::copy_from_slice(&greeting::encode(Mechanism::Null)))
}

#[test]
fn a_libzmq_dealer() {
    let list = Message { first: Bytes::from_static(b"{\"command\": \"list\"}"), rest: Vec::new() };
    let expected = [
        greeting(),
        Action::Send(command::encode_ready("ROUTER").into()),
        Action::Ready(Revision::V3_1),
        Action::Message(list),
    ];
    assert_eq!(run(Role::Router, CONTROL_MESSAGES, LIBZMQ_DEALER), expected);
    assert_eq!(run(Role::Router, CONTROL_MESSAGES, &[&LIBZMQ_DEALER.concat()]), expected);
}

#[test]
fn a_libzmq_subscriber_in_both_revisions() {
    let expected = [
        greeting(),
        Action::Send(command::encode_ready("PUB").into()),
        Action::Ready(Revision::V3_1),
        Action::Subscribe(Bytes::from_static(b"watcher.")),
        Action::Cancel(Bytes::from_static(b"watcher.")),
    ];
    assert_eq!(run(Role::Publisher, PUBLISHER_MESSAGES, LIBZMQ_SUB_3_1), expected);
    assert_eq!(run(Role::Publisher, PUBLISHER_MESSAGES, LIBZMQ_SUB_3_0), expected);
}

#[test]
fn heartbeats_are_answered() {
    let mut connection = ready(Role::Router);
    assert_eq!(feed(&mut connection, &[LIBZMQ_PING]), [Action::Send(Bytes::from_static(b"\x04\x05\x04PONG"))]);
    assert_eq!(
        feed(&mut connection, &[b"\x04\x0a\x04PING\0\0abc"]),
        [Action::Send(Bytes::from_static(b"\x04\x08\x04PONGabc"))]
    );
}

#[test]
fn lengths_are_refused_from_the_header_alone() {
    for exponent in 10..63 {
        let length = (1u64 << exponent).to_be_bytes();
        for flags in [2, 3, 6] {
            let header = [&[flags], &length[..]].concat();
            closed(&feed(&mut ready(Role::Router), &[&header]));
            let early = [LIBZMQ_DEALER[0], LIBZMQ_DEALER[1], &header];
            closed(&run(Role::Router, SMALL, &early));
        }
    }
}

#[test]
fn a_message_is_bounded_in_bytes_and_frames() {
    let part = [&b"\x01\x64"[..], &[b'x'; 100]].concat();
    let mut connection = ready(Role::Router);
    let actions = feed(&mut connection, &[&part, &part, b"\x01\x65"]);
    assert_eq!(*closed(&actions), CloseReason::MessageTooLong { announced: 301, limit: 300 });
    let mut connection = ready(Role::Router);
    let actions = feed(&mut connection, &[b"\x01\x00\x01\x00\x01\x00\x01\x00"]);
    assert_eq!(*closed(&actions), CloseReason::TooManyParts { limit: 3 });
    let mut connection = ready(Role::Router);
    let message = Message { first: Bytes::from_static(b"a"), rest: vec![Bytes::new(), Bytes::from_static(b"c")] };
    assert_eq!(feed(&mut connection, &[b"\x01\x01a\x01\x00\x00\x01c"]), [Action::Message(message)]);
    assert_eq!(connection.buffered(), 0);
}

#[test]
fn a_wrong_socket_type_is_told_so() {
    let actions = run(Role::Publisher, PUBLISHER_MESSAGES, &LIBZMQ_DEALER[..3]);
    let text = "socket type \"DEALER\" cannot talk to PUB";
    assert_eq!(actions[2], Action::Send(command::encode_error(text).into()));
    assert_eq!(closed(&actions).to_string(), text);
}

#[test]
fn the_handshake_is_ready_and_nothing_else() {
    let start = [LIBZMQ_DEALER[0], LIBZMQ_DEALER[1]];
    for other in [&b"\x00\x01a"[..], LIBZMQ_PING, b"\x04\x02\x01x", b"\x04\x0a\x09SUBSCRIBE"] {
        let actions = run(Role::Router, CONTROL_MESSAGES, &[start[0], start[1], other]);
        assert_eq!(*closed(&actions), CloseReason::ExpectedReady, "{other:?}");
    }
    let actions = feed(&mut ready(Role::Router), &[LIBZMQ_SUB_3_1[2]]);
    assert_eq!(*closed(&actions), CloseReason::UnexpectedReady);
    let actions = feed(&mut ready(Role::Router), &[b"\x04\x09\x05ERROR\x02no"]);
    assert_eq!(*closed(&actions), CloseReason::PeerError("no".to_owned()));
}

#[test]
fn what_a_publisher_does_not_understand_is_ignored() {
    let mut connection = ready(Role::Publisher);
    assert_eq!(
        feed(&mut connection, &[b"\x00\x00", b"\x00\x02\x02x", b"\x01\x02\x01a\x00\x01b", b"\x04\x02\x01x"]),
        []
    );
    let mut connection = ready(Role::Router);
    assert_eq!(feed(&mut connection, &[LIBZMQ_SUB_3_1[3], b"\x04\x05\x04PONG"]), []);
}

#[test]
fn a_large_message_does_not_keep_its_memory_after_it_is_taken() {
    let mut connection = Connection::new(Role::Router, CONTROL_MESSAGES);
    feed(&mut connection, &LIBZMQ_DEALER[..3]);
    let mut large = Vec::new();
    encode_header(FrameKind::Message(Continuation::Last), 10 << 20, &mut large);
    large.resize(large.len() + (10 << 20), b'x');
    large.extend_from_slice(b"\x00\x02a");
    let actions = feed(&mut connection, &[&large]);
    assert_eq!(actions.len(), 1);
    assert_eq!(connection.buffered(), 3);
    assert!(connection.input().capacity() < 4096, "{}", connection.input().capacity());
}

/// Bytes that get past the handshake often enough to be interesting.
fn peer_bytes() -> impl Strategy<Value = Vec<u8>> {
    let frame = (prop::sample::select(vec![0u8, 1, 0, 1, 2, 4, 6, 8]), prop::collection::vec(any::<u8>(), 0..120))
        .prop_map(|(flags, body)| {
            let length = body.len();
            let header = if flags & 2 == 0 {
                vec![flags, u8::try_from(length).unwrap()]
            } else {
                [&[flags], &u64::try_from(length).unwrap().to_be_bytes()[..]].concat()
            };
            [header, body].concat()
        });
    let known = prop::sample::select(vec![
        LIBZMQ_PING.to_vec(),
        LIBZMQ_SUB_3_1[3].to_vec(),
        LIBZMQ_SUB_3_0[4].to_vec(),
        b"\x04\x05\x04PONG".to_vec(),
    ]);
    let frames = prop::collection::vec(
        prop_oneof![3 => known, 3 => frame, 1 => prop::collection::vec(any::<u8>(), 0..40)],
        0..12,
    );
    let start = prop_oneof![
        8 => Just(LIBZMQ_DEALER[..3].concat()),
        8 => Just(LIBZMQ_SUB_3_1[..3].concat()),
        1 => prop::collection::vec(any::<u8>(), 0..80),
    ];
    (start, frames).prop_map(|(start, frames)| [start, frames.concat()].concat())
}

proptest! {
    #[test]
    fn the_same_bytes_give_the_same_actions_however_they_are_cut(
        bytes in peer_bytes(),
        cuts in prop::collection::vec(1usize..50, 1..40),
        publisher in any::<bool>(),
    ) {
        let role = if publisher { Role::Publisher } else { Role::Router };
        let whole = run(role, SMALL, &[&bytes]);
        let mut connection = Connection::new(role, SMALL);
        let mut actions = feed(&mut connection, &[b""]);
        let mut rest = &bytes[..];
        let mut cuts = cuts.iter().cycle();
        while !rest.is_empty() {
            let (chunk, left) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
            rest = left;
            connection.input().extend_from_slice(chunk);
            actions.extend(std::iter::from_fn(|| connection.next_action()));
            if let Some(Action::Close(_)) = actions.last() {
                break;
            }
            // What is left over is less than one frame and the parts of one message.
            prop_assert!(connection.buffered() <= SMALL.message_bytes + GREETING_LEN + 9 + 50);
        }
        prop_assert_eq!(actions, whole);
    }

    #[test]
    fn nothing_follows_a_close(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut connection = Connection::new(Role::Router, SMALL);
        let actions = feed(&mut connection, &[&bytes]);
        if let Some(at) = actions.iter().position(|action| matches!(action, Action::Close(_))) {
            prop_assert_eq!(at + 1, actions.len());
            prop_assert_eq!(feed(&mut connection, &[LIBZMQ_DEALER[0]]), []);
        }
    }
}
