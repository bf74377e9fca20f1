//! One connection to the ZMTP server (`manager/src/endpoints/zmtp`), without its socket.

use super::bytes::Bytes;
use ringmaster_manager::endpoints::limits::MessageLimits;
use ringmaster_manager::endpoints::zmtp::{Action, Connection, Role, SubscriptionSet};

/// Small, so that a short input reaches them.
const LIMITS: MessageLimits = MessageLimits { message_bytes: 600, parts: 4, command_bytes: 200 };

/// The longest header of a frame.
const HEADER: usize = 9;

/// However the bytes are cut, the same is to be done; what is held stays within the limits. First bytes: the role, where to
/// cut, and whether a good greeting goes before.
pub fn zmtp(input: &[u8]) {
    let mut input = Bytes::new(input);
    let (choice, cut) = (input.u8(), usize::from(input.u8()).max(1));
    let role = if choice & 1 == 0 { Role::Router } else { Role::Publisher };
    let mut stream = Vec::new();
    if choice & 2 != 0 {
        stream.extend(greeting());
    }
    if choice & 4 != 0 {
        let peer = if choice & 1 == 0 { "DEALER" } else { "XSUB" };
        stream.extend(
            [&b"\x04"[..], &[22 + u8::try_from(peer.len()).unwrap_or(0)], b"\x05READY\x0bSocket-Type\0\0\0"].concat(),
        );
        stream.push(u8::try_from(peer.len()).unwrap_or(0));
        stream.extend(peer.as_bytes());
    }
    stream.extend(input.rest());
    let whole = serve(role, &stream, stream.len().max(1));
    assert_eq!(whole, serve(role, &stream, cut), "in pieces of {cut}");
    follow(&whole);
}

fn greeting() -> Vec<u8> {
    let mut greeting = vec![0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 1];
    greeting.extend(b"NULL");
    greeting.resize(64, 0);
    greeting
}

fn serve(role: Role, stream: &[u8], cut: usize) -> Vec<Action> {
    let mut connection = Connection::new(role, LIMITS);
    let mut actions = Vec::new();
    for piece in stream.chunks(cut) {
        connection.input().extend_from_slice(piece);
        actions.extend(std::iter::from_fn(|| connection.next_action()));
        let most = LIMITS.message_bytes + LIMITS.parts * HEADER + HEADER;
        assert!(connection.buffered() <= most.max(64), "{} bytes wait", connection.buffered());
        assert!(connection.missing() <= most);
        if matches!(actions.last(), Some(Action::Close(_))) {
            break;
        }
    }
    assert!(actions.iter().rev().skip(1).all(|action| !matches!(action, Action::Close(_))), "it goes on after its end");
    actions
}

/// What a publisher makes of it: the set of prefixes agrees with a plain list.
fn follow(actions: &[Action]) {
    let (mut set, mut list) = (SubscriptionSet::default(), Vec::new());
    for action in actions {
        match action {
            Action::Subscribe(prefix) => {
                if set.subscribe(prefix).is_ok() {
                    list.push(prefix.clone());
                }
            }
            Action::Cancel(prefix) => {
                set.cancel(prefix);
                if let Some(at) = list.iter().position(|known| known == prefix) {
                    list.swap_remove(at);
                }
            }
            Action::Message(message) => {
                let bytes = message.first.len() + message.rest.iter().map(|part| part.len()).sum::<usize>();
                assert!(bytes <= LIMITS.message_bytes && message.rest.len() < LIMITS.parts);
                let expected = list.iter().any(|prefix| message.first.starts_with(prefix));
                assert_eq!(set.matches(&message.first), expected);
            }
            Action::Close(reason) => assert!(!reason.to_string().is_empty()),
            Action::Send(_) | Action::Ready(_) => {}
        }
        for topic in list.iter().take(4) {
            assert!(set.matches(topic));
        }
    }
}
