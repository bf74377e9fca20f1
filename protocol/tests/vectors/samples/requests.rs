//! Requests.

use super::ext;
use ringmaster_protocol::message::{
    Ack, ExitIfIdle, Ext, Forget, GetValue, Hello, Lifetime, List, ListValues, Listen, OpenProcess, OpenSocket,
    Overflow, ProcessId, PutLease, RemoveSocket, RemoveValue, Request, Rlimit, Role, SetLifetime, SetValue, Signal,
    SocketAddress, SocketType, Sockets, Spawn, Status, Stdin, Stdout, StopPlan, TakeLease, Target, Upgrade, Watch,
};
use ringmaster_protocol::ring::Stream;

/// An acknowledgement, which is a cast in life.
pub fn ack(stream: Stream) -> Ack {
    Ack { process: ProcessId(7), stream, offset: 70_000 }
}

/// All requests.
pub fn all() -> Vec<Request> {
    let mut all = session_requests();
    all.extend(process_requests());
    all.extend(socket_requests());
    all.extend(value_requests());
    all
}

fn session_requests() -> Vec<Request> {
    vec![
        Hello { oldest: 1, newest: 2, build: "circusd 0.1.0".into(), role: Role::Manager, ext: ext() }.into(),
        Hello { oldest: 1, newest: 1, build: String::new(), role: Role::Tool, ext: Ext::new() }.into(),
        Status { ext: ext() }.into(),
        Watch { prefix: "circus.".into(), ext: ext() }.into(),
        TakeLease { holder: "circusd 0.1.0, /etc/circus.ini".into(), grace_ms: 30_000, ext: ext() }.into(),
        PutLease { ext: ext() }.into(),
        Upgrade { program: Some(b"/usr/bin/papa".to_vec()), ext: ext() }.into(),
        Upgrade { program: None, ext: Vec::new() }.into(),
        ExitIfIdle { ext: ext() }.into(),
    ]
}

fn spawn() -> Spawn {
    Spawn {
        name: "circus.web.1".into(),
        token: 0x1122_3344_5566_7788,
        lifetime: Lifetime::Persistent,
        stop: StopPlan { signal: 15, grace_ms: 30_000 },
        argv: vec![b"/bin/sleep".to_vec(), b"3600".to_vec()],
        env: vec![(b"PATH".to_vec(), b"/bin:/usr/bin".to_vec()), (b"X".to_vec(), vec![0xff])],
        cwd: Some(b"/srv".to_vec()),
        uid: Some(65_534),
        gid: Some(65_533),
        groups: Some(vec![4, 27]),
        rlimits: vec![Rlimit { resource: 7, soft: 1024, hard: u64::MAX }],
        umask: Some(0o027),
        stdin: Stdin::Socket("web".into()),
        stdout: Stdout::Captured,
        stderr: Stdout::Merged,
        sockets: vec!["web".into(), "admin".into()],
        ring: 2 << 20,
        overflow: Overflow::Block,
        note: vec![1, 2, 3],
        ext: ext(),
    }
}

fn process_requests() -> Vec<Request> {
    let plain = Spawn {
        lifetime: Lifetime::Leased,
        cwd: None,
        uid: None,
        gid: None,
        groups: None,
        umask: None,
        stdin: Stdin::Null,
        stdout: Stdout::Passed(1),
        stderr: Stdout::Null,
        overflow: Overflow::DropOldest,
        ext: Ext::new(),
        ..spawn()
    };
    let passed = Spawn { stdin: Stdin::Passed(2), ..plain.clone() };
    let signal = |target| -> Request { Signal { process: ProcessId(7), signal: 15, target, ext: ext() }.into() };
    vec![
        spawn().into(),
        plain.into(),
        passed.into(),
        signal(Target::Main),
        signal(Target::Children),
        signal(Target::Descendants),
        signal(Target::Tree),
        signal(Target::Descendant(4242)),
        List { after: ProcessId(6), prefix: "circus.".into(), ext: ext() }.into(),
        ack(Stream::Stdout).into(),
        Forget { process: ProcessId(7), ext: ext() }.into(),
        OpenProcess { process: ProcessId(300), ext: ext() }.into(),
        SetLifetime { process: ProcessId(7), lifetime: Lifetime::Persistent, ext: ext() }.into(),
        SetLifetime { process: ProcessId(300), lifetime: Lifetime::Leased, ext: Ext::new() }.into(),
    ]
}

fn listen(address: SocketAddress, kind: SocketType) -> Listen {
    Listen {
        name: "web".into(),
        address,
        kind,
        backlog: 2048,
        umask: Some(0o007),
        replace: true,
        interface: Some("eth0".into()),
        reuse_port: false,
        blocking: true,
        persistent: true,
        ext: ext(),
    }
}

fn socket_requests() -> Vec<Request> {
    let inet = || SocketAddress::Inet("127.0.0.1:8080".parse().unwrap());
    let inet6 = SocketAddress::Inet("[::1]:0".parse().unwrap());
    let unix = SocketAddress::Unix(b"/run/web.sock".to_vec());
    let bare = Listen { umask: None, interface: None, reuse_port: true, ..listen(inet(), SocketType::Stream) };
    vec![
        listen(inet(), SocketType::Stream).into(),
        listen(inet6, SocketType::Datagram).into(),
        listen(unix, SocketType::SeqPacket).into(),
        bare.into(),
        OpenSocket { name: "web".into(), ext: ext() }.into(),
        Sockets { ext: ext() }.into(),
        RemoveSocket { name: "web".into(), ext: ext() }.into(),
    ]
}

fn value_requests() -> Vec<Request> {
    vec![
        SetValue { name: "circus.numprocesses.web".into(), value: vec![0, 0xff, 1], ext: ext() }.into(),
        GetValue { name: "circus.numprocesses.web".into(), ext: ext() }.into(),
        ListValues { after: "circus.a".into(), prefix: "circus.".into(), ext: ext() }.into(),
        RemoveValue { name: "circus.numprocesses.web".into(), ext: ext() }.into(),
    ]
}
