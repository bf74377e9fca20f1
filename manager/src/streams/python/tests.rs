//! Frames, and what people are told; with real workers it is in `worker/tests/objects.rs`.

use super::wire::first_frame;
use super::*;
use crate::python::ImportFailure;
use ringmaster_protocol::ring::Record;

#[test]
fn frames_follow_one_another() {
    let mut frames = Vec::new();
    let record = Record { realtime_ns: 0x0102, ..Record::default() };
    call(b"one\n", record, -1, Stream::Stderr, &mut frames);
    let first = [&b"\x04\0\0\0\xff\xff\xff\xff\x01\x02\x01\0\0\0\0\0\0"[..], b"one\n"].concat();
    assert_eq!(frames, first);
    call(b"", record, 7, Stream::Stdout, &mut frames);
    assert_eq!(first_frame(&frames), Some(first.len()));
    assert_eq!(first_frame(&frames[first.len()..]), Some(17));
    assert_eq!(first_frame(&frames[..first.len() - 1]), None);
    assert_eq!(first_frame(&[]), None);
}

#[test]
fn what_people_are_told_names_watcher_stream_class_and_reason() {
    let report = |word| {
        let (watcher, class) = (WatcherKey::new("Web"), "my.Stream".to_owned());
        ClassReport { watcher, stream: Stream::Stderr, class, word }.to_string()
    };
    let failure = ImportFailure {
        target: "my.Stream".to_owned(),
        message: "ModuleNotFoundError: No module named 'my'".to_owned(),
        path: vec!["/a".to_owned(), String::new(), "/b".to_owned()],
        traceback: "Traceback\n".to_owned(),
    };
    assert_eq!(
        report(ClassWord::Trouble(failure.into())),
        "watcher web: stderr_stream.class = my.Stream: cannot import 'my.Stream': ModuleNotFoundError: No module named 'my'; \
         searched: /a, ., /b; output waits in the core, it will be tried again\nTraceback"
    );
    assert_eq!(
        report(ClassWord::Trouble(PythonError::TimedOut { limit: Duration::from_millis(1500) })),
        "watcher web: stderr_stream.class = my.Stream: it has not returned within 1.5 s (hooks_timeout); output waits in the \
         core, it will be tried again"
    );
    let raised = |calls| ClassWord::Raised { calls, message: "ValueError: x".to_owned(), traceback: "T".to_owned() };
    assert_eq!(
        report(raised(1)),
        "watcher web: stderr_stream.class = my.Stream: a call raised, what it was given counts as taken: ValueError: x\nT"
    );
    assert_eq!(
        report(raised(20)),
        "watcher web: stderr_stream.class = my.Stream: 20 calls raised, what they were given counts as taken: ValueError: x\nT"
    );
    assert_eq!(report(ClassWord::Works), "watcher web: stderr_stream.class = my.Stream: works again");
}
