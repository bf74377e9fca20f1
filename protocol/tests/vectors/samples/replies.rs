//! Replies and notices.

use super::ext;
use ringmaster_protocol::message::{
    Done, Exit, ExitStatus, Exited, Exiting, Guarantee, LeaseInfo, LeaseLost, Leased, Lifetime, Listening, Listing,
    Notice, Output, ProcessFile, ProcessId, ProcessInfo, Reply, Rusage, Signalled, SocketAddress, SocketInfo,
    SocketList, SocketType, Spawned, StatusReply, StreamEnd, StreamState, Upgrading, Value, ValueNames, Welcome,
};
use ringmaster_protocol::ring::Stream;

fn exit(status: ExitStatus) -> Exit {
    Exit {
        status,
        realtime_ns: 1_795_186_751_157_148_900,
        rusage: Rusage { user_us: 1_000, system_us: 2_000, max_rss_kib: 3_000 },
        heads: [70_000, 5],
    }
}

fn process(exit: Option<Exit>) -> ProcessInfo {
    ProcessInfo {
        id: ProcessId(7),
        name: "circus.web.1".into(),
        pid: 4242,
        started_ns: 1_795_186_751_000_000_001,
        lifetime: Lifetime::Persistent,
        note: vec![1, 2, 3],
        streams: [
            StreamState { captured: true, open: true, low: 1, head: 70_000, first_record: 2, records: 30, lost: 4 },
            StreamState::default(),
        ],
        exit,
    }
}

fn socket() -> SocketInfo {
    SocketInfo {
        name: "web".into(),
        address: SocketAddress::Inet("127.0.0.1:8080".parse().unwrap()),
        kind: SocketType::Stream,
        backlog: 2048,
        reuse_port: false,
        persistent: true,
        number: 100,
    }
}

/// All replies.
pub fn all() -> Vec<Reply> {
    vec![
        Welcome {
            protocol: 1,
            build: "papa 0.1.0".into(),
            instance_id: 0x0102_0304_0506_0708,
            keeper_pid: 100,
            kernel_pid: 101,
            ext: ext(),
        }
        .into(),
        status(Some(LeaseInfo { pid: 4000, holder: "circusd".into(), epoch: 3 })).into(),
        status(None).into(),
        Spawned { process: process(None), ext: ext() }.into(),
        Signalled { pids: vec![4242, 4243], ext: ext() }.into(),
        Listing { processes: vec![process(Some(exit(ExitStatus::Code(3))))], more: true, ext: ext() }.into(),
        Done { ext: ext() }.into(),
        Leased { epoch: 3, ext: ext() }.into(),
        Listening { socket: socket(), created: true, ext: ext() }.into(),
        SocketList { sockets: vec![socket()], ext: ext() }.into(),
        Value { value: Some(vec![0, 0xff]), ext: ext() }.into(),
        Value { value: None, ext: ext() }.into(),
        ValueNames { names: vec!["circus.a".into(), "circus.b".into()], more: false, ext: ext() }.into(),
        ProcessFile { process: process(None), ext: ext() }.into(),
        Upgrading { version: "0.2.0 (3 processes)".into(), ext: ext() }.into(),
        Exiting { exits: true, ext: ext() }.into(),
    ]
}

fn status(lease: Option<LeaseInfo>) -> StatusReply {
    StatusReply {
        version: "0.1.0".into(),
        keeper_pid: 100,
        kernel_pid: 101,
        started_ns: 1_795_186_751_000_000_001,
        uptime_ms: 5_000,
        processes: 1,
        sockets: 2,
        values: 3,
        clients: 4,
        buffered_bytes: 70_000,
        lost_bytes: 6,
        lease,
        guarantees: vec![Guarantee {
            name: "exit-status-after-core-death".into(),
            holds: false,
            reason: "the system is older than Linux 6.15".into(),
        }],
        ext: ext(),
    }
}

/// All notices.
pub fn notices() -> Vec<Notice> {
    let exited = |status| Notice::from(Exited { process: ProcessId(7), exit: exit(status) });
    vec![
        Output { process: ProcessId(7), stream: Stream::Stdout, head: 70_000, records: 30 }.into(),
        exited(ExitStatus::Code(3)),
        exited(ExitStatus::Signal(9)),
        exited(ExitStatus::Unknown),
        StreamEnd { process: ProcessId(7), stream: Stream::Stderr, head: 70_000, records: 30 }.into(),
        LeaseLost { epoch: 4, ext: ext() }.into(),
    ]
}
