//! Kinds of listening sockets.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::wildcard_enum_match_arm,
    clippy::too_many_lines,
    reason = "a test ends by panicking"
)]

mod rig;

use rig::{Rig, shell, text};
use ringmaster_protocol::message::*;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};

fn listen(name: &str, address: SocketAddress, kind: SocketType) -> Listen {
    Listen {
        name: name.into(),
        address,
        kind,
        backlog: 16,
        umask: None,
        replace: false,
        interface: None,
        reuse_port: false,
        blocking: false,
        persistent: true,
        ext: vec![],
    }
}

fn inet(address: &str) -> SocketAddress {
    SocketAddress::Inet(address.parse().unwrap())
}

fn bound(reply: Reply) -> SocketInfo {
    match reply {
        Reply::Listening(listening) => listening.socket,
        other => panic!("{other:?}"),
    }
}

fn address(info: &SocketInfo) -> SocketAddr {
    match &info.address {
        SocketAddress::Inet(address) => *address,
        other => panic!("{other:?}"),
    }
}

#[test]
fn datagrams_reach_a_child_on_its_standard_input() {
    let rig = Rig::new();
    let mut client = rig.manager();
    let info = bound(client.ok(listen("udp", inet("127.0.0.1:0"), SocketType::Datagram)));
    let script = "import socket; s = socket.socket(fileno=0); s.setblocking(True); print(s.type == socket.SOCK_DGRAM, s.recv(100), flush=True)";
    let mut spawn = rig::program("reader", &["python3", "-I", "-S", "-c", script]);
    spawn.stdin = Stdin::Socket("udp".into());
    let process = client.spawn(spawn);
    UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"hello", address(&info)).unwrap();
    let (out, err, _) = client.read_all(process.id);
    assert_eq!(text(&out), "True b'hello'\n", "{}", text(&err));
}

#[test]
fn a_packet_socket_listens_at_its_path_and_goes_with_it() {
    use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketType as Kind};
    let rig = Rig::new();
    let mut client = rig.manager();
    let path = rig.run.path().join("packets");
    let place = SocketAddress::Unix(path.to_str().unwrap().into());
    client.ok(listen("packets", place, SocketType::SeqPacket));
    let listener = client.take_fd().unwrap();
    let peer = rustix::net::socket(AddressFamily::UNIX, Kind::SEQPACKET, None).unwrap();
    rustix::net::connect(&peer, &SocketAddrUnix::new(&path).unwrap()).unwrap();
    rustix::net::send(&peer, b"one packet", SendFlags::empty()).unwrap();
    let accepted = rustix::net::accept(&listener).unwrap();
    let mut bytes = [0; 100];
    let (_, count) = rustix::net::recv(&accepted, &mut bytes, RecvFlags::empty()).unwrap();
    assert_eq!(&bytes[..count], b"one packet");
    client.ok(RemoveSocket { name: "packets".into(), ext: vec![] });
    assert!(!path.exists());
}

#[test]
fn the_newer_internet_protocol_is_served_too() {
    if TcpListener::bind("[::1]:0").is_err() {
        eprintln!("skipped: this host has no IPv6");
        return;
    }
    let mut rig = Rig::new();
    let mut client = rig.manager();
    let info = bound(client.ok(listen("six", inet("[::1]:0"), SocketType::Stream)));
    let place = address(&info);
    assert!(place.is_ipv6() && place.port() != 0);
    TcpStream::connect(place).unwrap();
    client.spawn(Spawn { sockets: vec!["six".into()], ..shell("holder", "exec sleep 1000") });
    rig.kill();
    let waiting = TcpStream::connect(place).unwrap();
    rig.start();
    let mut client = rig.manager();
    client.ok(listen("six", inet("[::1]:0"), SocketType::Stream));
    let listener = TcpListener::from(client.take_fd().unwrap());
    let peers = [listener.accept().unwrap().1, listener.accept().unwrap().1];
    assert!(peers.contains(&waiting.local_addr().unwrap()), "{peers:?}");
}

#[test]
fn a_device_that_is_not_there_is_refused_by_name() {
    let rig = Rig::new();
    let mut client = rig.manager();
    let wanted =
        Listen { interface: Some("no-such-device".into()), ..listen("bound", inet("127.0.0.1:0"), SocketType::Stream) };
    match client.request(wanted).unwrap_err() {
        Refusal::System { action, errno } => {
            assert_eq!(action, "binding 127.0.0.1:0 to the device no-such-device");
            assert!([libc::ENODEV, libc::EPERM].contains(&errno), "{errno}");
        }
        other => panic!("{other:?}"),
    }
    let Reply::SocketList(list) = client.ok(Sockets::default()) else { panic!() };
    assert!(list.sockets.is_empty());
}

#[test]
fn a_child_may_have_more_sockets_than_fit_on_the_stage() {
    let rig = Rig::new();
    let mut client = rig.manager();
    let names: Vec<String> = (0..40).map(|n| format!("s{n:02}")).collect();
    for name in &names {
        client.ok(listen(name, inet("127.0.0.1:0"), SocketType::Stream));
    }
    let list = |names: &[String], count: usize| Spawn {
        sockets: names.to_vec(),
        ..shell(&format!("lists {count}"), "ls /proc/self/fd | sort -n | tr '\\n' ' '")
    };
    let numbers = |numbers: &mut dyn Iterator<Item = usize>| numbers.map(|n| format!("{n} ")).collect::<String>();
    // `ls` has one more, the folder: the lowest free number.
    for (names, expected) in [
        (&names[..], numbers(&mut (0..44))),
        (&names[..5], numbers(&mut (0..9))),
        (&names[35..], numbers(&mut (0..4).chain(38..43))),
    ] {
        let process = client.spawn(list(names, expected.len()));
        let (out, err, _) = client.read_all(process.id);
        assert_eq!(text(&out), expected, "{}", text(&err));
    }
}
