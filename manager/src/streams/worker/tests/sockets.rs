//! Streams whose lines are messages on a socket, against real sockets of this host.

use super::*;
use std::os::unix::net::UnixDatagram;

fn one_of(rig: &mut Rig, class: &str, more: &[(&str, &str)]) {
    let settings = more.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let options = StreamOptions { class: StreamClass::BuiltIn(class.to_owned()), settings };
    rig.streams(Some(options.clone()), Some(options));
}

fn received(socket: &UnixDatagram) -> Vec<Vec<u8>> {
    socket.set_nonblocking(true).unwrap();
    let mut buffer = vec![0; 100_000];
    std::iter::from_fn(|| socket.recv(&mut buffer).ok().map(|length| buffer[..length].to_vec())).collect()
}

fn texts(messages: Vec<Vec<u8>>) -> Vec<String> {
    messages.into_iter().map(|message| String::from_utf8(message).unwrap()).collect()
}

#[test]
fn syslog_on_this_host() {
    let mut rig = Rig::new();
    let path = rig.path("devlog");
    let daemon = UnixDatagram::bind(&path).unwrap();
    one_of(&mut rig, "SyslogStream", &[("address", path.to_str().unwrap()), ("facility", "local3"), ("level", "err")]);
    let mut process = FakeProcess::with_ring(1, 64 << 10);
    rig.orders([process.attach()]);
    rig.write(&mut process, Stdout, 90, b"one\ntwo");
    rig.write(&mut process, Stdout, 91, b" more\n\n");
    rig.write(&mut process, Stderr, 92, &[b"x".repeat(9000), b"\n".to_vec()].concat());
    let mut messages = texts(received(&daemon));
    assert_eq!(messages.pop().unwrap().len(), "<155>Jan  1 00:01:32 w[42]: ".len() + 9000 - 8192);
    assert_eq!(messages.pop().unwrap().len(), "<155>Jan  1 00:01:32 w[42]: ".len() + 8192);
    assert_eq!(
        messages,
        ["<155>Jan  1 00:01:30 w[42]: one", "<155>Jan  1 00:01:30 w[42]: two more", "<155>Jan  1 00:01:31 w[42]: "]
    );
}

#[test]
fn syslog_over_the_network() {
    let mut rig = Rig::new();
    let daemon = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = format!("udp://{}", daemon.local_addr().unwrap());
    one_of(&mut rig, "SyslogStream", &[("address", &address), ("tag", "shop")]);
    let mut process = FakeProcess::new(1);
    rig.orders([process.attach()]);
    rig.write(&mut process, Stdout, 90, b"hello\n");
    let mut buffer = [0; 1000];
    daemon.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let length = daemon.recv(&mut buffer).unwrap();
    let text = std::str::from_utf8(&buffer[..length]).unwrap();
    assert!(text.starts_with("<30>1 1970-01-01T00:01:30.000000+00:00 "), "{text}");
    assert!(text.ends_with(" shop 42 - - hello"), "{text}");
}

/// The daemon is restarted: what comes meanwhile waits in the core.
#[test]
fn a_daemon_that_is_away_is_waited_for() {
    let mut rig = Rig::new();
    let path = rig.path("devlog");
    one_of(&mut rig, "SyslogStream", &[("address", path.to_str().unwrap())]);
    let mut process = FakeProcess::new(1);
    rig.orders([process.attach()]);
    rig.write(&mut process, Stdout, 90, b"one\n");
    assert!(matches!(rig.settle(&mut process)[..], [ScribeReport::Trouble(_)]));
    let daemon = UnixDatagram::bind(&path).unwrap();
    rig.pass(Duration::from_secs(2));
    assert_eq!(received(&daemon).len(), 1);
    drop(daemon);
    fs::remove_file(&path).unwrap();
    rig.write(&mut process, Stdout, 91, b"two\nthree\n");
    let daemon = UnixDatagram::bind(&path).unwrap();
    rig.pass(Duration::from_secs(2));
    assert_eq!(received(&daemon).len(), 2);
    assert_eq!(process_is_empty(&mut rig, &mut process), CAPACITY);
}

fn process_is_empty(rig: &mut Rig, process: &mut FakeProcess) -> u64 {
    rig.settle(process);
    process.room(Stdout)
}

#[test]
fn a_daemon_that_is_slow_gets_everything_in_the_end() {
    let mut rig = Rig::new();
    let path = rig.path("devlog");
    let daemon = UnixDatagram::bind(&path).unwrap();
    one_of(&mut rig, "SyslogStream", &[("address", path.to_str().unwrap())]);
    let mut process = FakeProcess::with_ring(1, 1 << 20);
    let text: Vec<u8> = (0..5_000).flat_map(|n| format!("line {n}\n").into_bytes()).collect();
    process.write(Stdout, 1, &text);
    rig.orders([process.attach(), process.ended()]);
    let mut messages = texts(received(&daemon));
    while messages.len() < 5_000 {
        rig.pass(Duration::from_secs(1));
        let more = texts(received(&daemon));
        assert!(!more.is_empty(), "nothing comes after {}", messages.len());
        messages.extend(more);
    }
    for (number, message) in messages.iter().enumerate() {
        assert!(message.ends_with(&format!(": line {number}")), "{message}");
    }
}

#[test]
fn entries_of_the_journal_of_systemd() {
    let mut rig = Rig::new();
    let path = rig.path("journal");
    let daemon = UnixDatagram::bind(&path).unwrap();
    one_of(&mut rig, "JournaldStream", &[("address", path.to_str().unwrap()), ("level", "notice")]);
    let mut process = FakeProcess::new(1);
    rig.orders([process.attach()]);
    rig.write(&mut process, Stderr, 90, b"a\0b\xff\n");
    let expected = [
        b"PRIORITY=5\nSYSLOG_IDENTIFIER=w\nCIRCUS_WATCHER=w\nCIRCUS_WID=1\nCIRCUS_PID=42\nCIRCUS_STREAM=stderr\n\
          CIRCUS_TIME=90000000\nMESSAGE\n"
            .as_slice(),
        &4_u64.to_le_bytes(),
        b"a\0b\xff\n",
    ];
    assert_eq!(received(&daemon), [expected.concat()]);
}
