//! The other end of a connection in tests: reads and writes whole frames, decides nothing. Tests of the link follow.

use super::wire::{Incoming, Outgoing, Received};
use super::*;
use ringmaster_protocol::frame::{Frame, Kind, PREFACE};
use ringmaster_protocol::message::{
    Done, Exit, ExitStatus, Exited, Notice, Output, ProcessFile, ProcessId, ProcessInfo, Refusal, Reply, Request, Role,
    Rusage, StreamState, Welcome,
};
use ringmaster_protocol::ring::Stream;
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::time::Duration;
use tokio::io::{AsyncReadExt, Interest};
use tokio::net::UnixStream;
use tokio::sync::mpsc;

/// A test waits no longer than this for anything.
const LIMIT: Duration = Duration::from_secs(20);

pub(crate) struct FakeCore {
    socket: UnixStream,
    incoming: Incoming,
}

impl FakeCore {
    async fn accept(mut socket: UnixStream) -> Self {
        let mut preface = [0; PREFACE.len()];
        socket.read_exact(&mut preface).await.unwrap();
        assert_eq!(preface, PREFACE);
        Self { socket, incoming: Incoming::new() }
    }

    async fn next(&mut self) -> Frame {
        loop {
            if let Some(frame) = self.incoming.next_frame().unwrap() {
                return frame;
            }
            let (socket, incoming) = (&self.socket, &mut self.incoming);
            let received = socket.async_io(Interest::READABLE, || incoming.receive(socket)).await;
            assert_eq!(received.unwrap(), Received::Bytes, "the link closed");
        }
    }

    pub(crate) async fn request(&mut self) -> (u32, Request) {
        let frame = self.next().await;
        assert_eq!(frame.kind, Kind::Request);
        (frame.request, Request::decode(frame.message, &frame.body).unwrap())
    }

    async fn send(&mut self, frame: Frame, fds: Vec<OwnedFd>) {
        let mut outgoing = Outgoing::default();
        assert!(outgoing.push(&frame, fds));
        let socket = &self.socket;
        socket.async_io(Interest::WRITABLE, || outgoing.send(socket)).await.unwrap();
    }

    /// `Forget` of that process, and whether it wants an answer.
    pub(crate) async fn forgets(&mut self, process: u64) -> (u32, bool) {
        let frame = self.next().await;
        let Request::Forget(forget) = Request::decode(frame.message, &frame.body).unwrap() else { panic!("{frame:?}") };
        assert_eq!(forget.process, ProcessId(process));
        (frame.request, frame.kind == Kind::Request)
    }

    pub(crate) async fn done(&mut self, request: u32) {
        self.send(Reply::Done(Done::default()).frame(request), Vec::new()).await;
    }
}

fn welcome(protocol: u16) -> Reply {
    Reply::Welcome(Welcome {
        protocol,
        build: "fake".to_owned(),
        instance_id: 7,
        keeper_pid: 1,
        kernel_pid: 2,
        ext: Vec::new(),
    })
}

fn process(id: u64) -> ProcessInfo {
    ProcessInfo {
        id: ProcessId(id),
        name: format!("circus.w.{id}"),
        pid: 1,
        started_ns: 0,
        lifetime: ringmaster_protocol::message::Lifetime::Leased,
        note: Vec::new(),
        streams: [StreamState::default(); 2],
        exit: None,
    }
}

fn output(head: u64) -> Notice {
    Notice::Output(Output { process: ProcessId(1), stream: Stream::Stdout, head, records: 1 })
}

pub(crate) async fn pair() -> (KernelLink, mpsc::Receiver<KernelEvent>, FakeCore) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let core = async {
        let mut core = FakeCore::accept(theirs).await;
        let (id, hello) = core.request().await;
        assert!(matches!(hello, Request::Hello(_)));
        core.send(welcome(1).frame(id), Vec::new()).await;
        core
    };
    let (link, core) = tokio::join!(establish(ours, "test".to_owned(), Role::Manager), core);
    let (link, welcome, events) = link.unwrap();
    assert_eq!(welcome.instance_id, 7);
    (link, events, core)
}

pub(crate) fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(LIMIT, test).await.expect("the test hangs") });
}

#[test]
fn answers_out_of_order_find_their_requests() {
    run(async {
        let (link, _events, mut core) = pair().await;
        let first = link.set_value("a".to_owned(), vec![1]);
        let second = link.get_value("a".to_owned());
        let (first_id, request) = core.request().await;
        assert!(matches!(request, Request::SetValue(_)));
        let (second_id, request) = core.request().await;
        assert!(matches!(request, Request::GetValue(_)));
        let value = ringmaster_protocol::message::Value { value: Some(vec![1]), ext: Vec::new() };
        core.send(Reply::Value(value).frame(second_id), Vec::new()).await;
        core.done(first_id).await;
        assert_eq!(second.await.unwrap().value, Some(vec![1]));
        assert_eq!(first.await, Ok(Done::default()));
    });
}

#[test]
fn requests_and_casts_leave_in_the_order_of_submission_even_unawaited() {
    run(async {
        let (link, _events, mut core) = pair().await;
        let _first = link.status();
        link.ack(ProcessId(3), Stream::Stderr, 99).unwrap();
        let _third = link.put_lease();
        let mut seen = Vec::new();
        for _ in 0..3 {
            let frame = core.next().await;
            seen.push((frame.kind, frame.message));
        }
        assert_eq!(seen, [(Kind::Request, 2), (Kind::Cast, 7), (Kind::Request, 10)]);
    });
}

#[test]
fn a_refusal_is_the_answer_of_its_request_only() {
    run(async {
        let (link, _events, mut core) = pair().await;
        let refused = link.put_lease();
        let granted = link.watch("circus.");
        let (first, request) = core.request().await;
        let (second, _) = core.request().await;
        core.send(Refusal::NoLease.frame(request.number(), first), Vec::new()).await;
        core.done(second).await;
        assert_eq!(refused.await, Err(LinkError::Refused(Refusal::NoLease)));
        assert_eq!(granted.await, Ok(Done::default()));
    });
}

#[test]
fn descriptors_pass_both_ways_with_their_own_frames() {
    run(async {
        let (link, _events, mut core) = pair().await;
        let mut files: Vec<File> = Vec::new();
        for text in ["zero", "one"] {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(text.as_bytes()).unwrap();
            files.push(file);
        }
        let fds: Vec<OwnedFd> = files.into_iter().map(OwnedFd::from).collect();
        let _plain = link.status();
        let _with = link.submit(Request::Status(ringmaster_protocol::message::Status::default()), fds);
        let one = link.open_process(ProcessId(1));
        let two = link.open_process(ProcessId(2));
        for _ in 0..2 {
            core.next().await;
        }
        let mut texts = Vec::new();
        let mut received = core.incoming.take_fds(16);
        for fd in &received {
            let mut file = File::from(fd.try_clone().unwrap());
            file.rewind().unwrap();
            let mut text = String::new();
            file.read_to_string(&mut text).unwrap();
            texts.push(text);
        }
        assert_eq!(texts, ["zero", "one"]);
        for id in [1, 2] {
            let (request, _) = core.request().await;
            let file = ProcessFile { process: process(id), ext: Vec::new() };
            let fd = received.remove(0);
            core.send(Reply::ProcessFile(file).frame(request), vec![fd]).await;
        }
        for (opened, expected) in [(one.await.unwrap(), "zero"), (two.await.unwrap(), "one")] {
            let mut file = File::from(opened.file);
            file.rewind().unwrap();
            let mut text = String::new();
            file.read_to_string(&mut text).unwrap();
            assert_eq!(text, expected);
        }
    });
}

#[test]
fn an_answer_without_its_descriptor_is_an_error_of_that_call() {
    run(async {
        let (link, _events, mut core) = pair().await;
        let call = link.open_process(ProcessId(1));
        let (request, _) = core.request().await;
        let file = ProcessFile { process: process(1), ext: Vec::new() };
        core.send(Reply::ProcessFile(file).frame(request), Vec::new()).await;
        let error = call.await.unwrap_err();
        assert_eq!(error, LinkError::NoDescriptor { request: "OpenProcess" });
    });
}

#[test]
fn an_answer_of_another_kind_is_an_error_of_that_call() {
    run(async {
        let (link, _events, mut core) = pair().await;
        let call = link.status();
        let (request, _) = core.request().await;
        core.done(request).await;
        let (request, message) = ("Status", 6);
        assert_eq!(call.await.unwrap_err(), LinkError::Unexpected { request, message });
    });
}

#[test]
fn a_core_that_dies_answers_every_request_with_gone_and_tells_the_loss() {
    run(async {
        let (link, mut events, core) = pair().await;
        let pending = link.status();
        drop(core);
        let error = pending.await.unwrap_err();
        assert!(matches!(error, LinkError::Gone { .. }), "{error}");
        assert_eq!(events.recv().await, Some(KernelEvent::Lost(LossReason::Closed)));
        assert_eq!(events.recv().await, None);
        let later = link.status().await.unwrap_err();
        let (request, reason) = ("Status", LossReason::Closed);
        assert_eq!(later, LinkError::Gone { request, reason });
        assert!(link.ack(ProcessId(1), Stream::Stdout, 1).is_err());
    });
}

#[test]
fn what_is_not_the_protocol_ends_the_connection() {
    run(async {
        let (_link, mut events, mut core) = pair().await;
        let answer_to_nothing = Reply::Done(Done::default()).frame(4711);
        core.send(answer_to_nothing, Vec::new()).await;
        let event = events.recv().await;
        assert!(
            matches!(&event, Some(KernelEvent::Lost(LossReason::Protocol(text))) if text.contains("4711")),
            "{event:?}"
        );
    });
}

#[test]
fn a_version_that_was_not_offered_is_refused() {
    run(async {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let core = async {
            let mut core = FakeCore::accept(theirs).await;
            let (id, _) = core.request().await;
            core.send(welcome(9).frame(id), Vec::new()).await;
            core
        };
        let (link, _core) = tokio::join!(establish(ours, "test".to_owned(), Role::Manager), core);
        assert!(matches!(link.unwrap_err(), LinkError::Version { chosen: 9, .. }));
    });
}

/// Nobody takes notices, thousands come, and still a call is answered; what is taken then is the latest state.
#[test]
fn a_flood_of_notices_neither_blocks_calls_nor_piles_up() {
    run(async {
        let (link, mut events, mut core) = pair().await;
        let call = link.status();
        let (request, _) = core.request().await;
        for head in 1..=5000 {
            core.send(output(head).frame(), Vec::new()).await;
        }
        let exited = Notice::Exited(Exited {
            process: ProcessId(1),
            exit: Exit { status: ExitStatus::Code(0), realtime_ns: 1, rusage: Rusage::default(), heads: [5000, 0] },
        });
        core.send(exited.frame(), Vec::new()).await;
        core.done(request).await;
        let error = call.await.unwrap_err();
        assert!(matches!(error, LinkError::Unexpected { .. }));
        let mut last = 0;
        let mut taken = 0;
        loop {
            let event = events.recv().await;
            taken += 1;
            match event {
                Some(KernelEvent::Notice(Notice::Output(output))) => last = output.head,
                Some(KernelEvent::Notice(Notice::Exited(_))) => break,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(last, 5000);
        assert!(taken < 200, "{taken} events were kept");
    });
}

#[test]
fn a_notice_of_a_newer_core_is_passed_over() {
    run(async {
        let (_link, mut events, mut core) = pair().await;
        let unknown = Frame { kind: Kind::Notice, message: 999, request: 0, body: vec![1, 2, 3] };
        core.send(unknown, Vec::new()).await;
        core.send(output(1).frame(), Vec::new()).await;
        assert_eq!(events.recv().await, Some(KernelEvent::Notice(output(1))));
    });
}

#[test]
fn a_listing_is_asked_for_page_by_page() {
    run(async {
        let (link, _events, mut core) = pair().await;
        let core = async {
            let mut afters = Vec::new();
            for (ids, more) in [(1..=2, true), (3..=3, false)] {
                let (request, list) = core.request().await;
                let Request::List(list) = list else { panic!("{list:?}") };
                afters.push(list.after.0);
                let listing = ringmaster_protocol::message::Listing {
                    processes: ids.map(process).collect(),
                    more,
                    ext: Vec::new(),
                };
                core.send(Reply::Listing(listing).frame(request), Vec::new()).await;
            }
            afters
        };
        let (all, afters) = tokio::join!(link.list_all("circus."), core);
        let ids: Vec<u64> = all.unwrap().iter().map(|process| process.id.0).collect();
        assert_eq!((ids, afters), (vec![1, 2, 3], vec![0, 2]));
    });
}

#[test]
fn releasing_the_link_sends_what_was_submitted_first() {
    run(async {
        let (link, _events, mut core) = pair().await;
        link.ack(ProcessId(1), Stream::Stdout, 10).unwrap();
        drop(link);
        assert_eq!(core.next().await.kind, Kind::Cast);
        let (socket, incoming) = (&core.socket, &mut core.incoming);
        let end = socket.async_io(Interest::READABLE, || incoming.receive(socket)).await;
        assert!(
            matches!(&end, Ok(Received::End)) || end.as_ref().is_err_and(|e| e.kind() == ErrorKind::ConnectionReset),
            "{end:?}"
        );
    });
}

#[test]
fn requests_beyond_the_limit_are_refused_here() {
    run(async {
        let (link, _events, _core) = pair().await;
        let pending: Vec<_> = (0..=connection::MAX_WAITING).map(|_| link.status()).collect();
        let last = pending.into_iter().next_back().unwrap().await.unwrap_err();
        assert!(matches!(last, LinkError::Busy { .. }), "{last}");
        let fds = (0..17).map(|_| OwnedFd::from(tempfile::tempfile().unwrap())).collect();
        let error = link.call(Request::Status(ringmaster_protocol::message::Status::default()), fds).await;
        assert!(matches!(error.unwrap_err(), LinkError::TooLarge { size: 17, .. }));
    });
}

#[test]
fn an_answer_still_comes_after_the_link_is_released() {
    run(async {
        let (link, mut events, mut core) = pair().await;
        let call = link.put_lease();
        drop(link);
        let (request, _) = core.request().await;
        core.done(request).await;
        assert_eq!(call.await, Ok(Done::default()));
        assert_eq!(events.recv().await, Some(KernelEvent::Lost(LossReason::Released)));
    });
}
