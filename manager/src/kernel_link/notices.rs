//! Notices that wait to be taken: one for each subject, however many come.
//!
//! Every notice tells a present state, so a newer one replaces an older one about the same subject that nobody has
//! taken yet. It keeps the older one's place: it tells more, never less. Thus the reader of the connection never has to
//! wait for the taker of the notices, and a call that is awaited while notices flood in is still answered.
//!
//! Bound: five entries a process that the core knows, and one.

use ringmaster_protocol::message::{Notice, ProcessId};
use ringmaster_protocol::ring::Stream;
use std::collections::{HashMap, VecDeque};

/// What a notice is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Subject {
    Output(ProcessId, Stream),
    StreamEnd(ProcessId, Stream),
    Exited(ProcessId),
    LeaseLost,
}

impl Subject {
    fn of(notice: &Notice) -> Self {
        match notice {
            Notice::Output(output) => Self::Output(output.process, output.stream),
            Notice::StreamEnd(end) => Self::StreamEnd(end.process, end.stream),
            Notice::Exited(exited) => Self::Exited(exited.process),
            Notice::LeaseLost(_) => Self::LeaseLost,
        }
    }
}

/// The waiting notices, first come first.
#[derive(Debug, Default)]
pub(super) struct NoticeQueue {
    order: VecDeque<Subject>,
    latest: HashMap<Subject, Notice>,
}

impl NoticeQueue {
    /// Takes in a notice.
    pub(super) fn push(&mut self, notice: Notice) {
        let subject = Subject::of(&notice);
        if self.latest.insert(subject, notice).is_none() {
            self.order.push_back(subject);
        }
    }

    /// Gives out the one that waits longest.
    pub(super) fn pop(&mut self) -> Option<Notice> {
        let subject = self.order.pop_front()?;
        self.latest.remove(&subject)
    }

    /// Whether none waits.
    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringmaster_protocol::message::{Exit, ExitStatus, Exited, Output, Rusage};

    fn output(process: u64, head: u64) -> Notice {
        Notice::Output(Output { process: ProcessId(process), stream: Stream::Stdout, head, records: head })
    }

    #[test]
    fn a_newer_state_takes_the_place_of_an_older_one() {
        let mut queue = NoticeQueue::default();
        queue.push(output(1, 10));
        queue.push(output(2, 5));
        queue.push(output(1, 30));
        assert_eq!(queue.pop(), Some(output(1, 30)));
        assert_eq!(queue.pop(), Some(output(2, 5)));
        assert_eq!(queue.pop(), None);
        assert!(queue.is_empty());
    }

    #[test]
    fn a_notice_that_was_taken_is_told_anew() {
        let mut queue = NoticeQueue::default();
        queue.push(output(1, 10));
        assert!(queue.pop().is_some());
        queue.push(output(1, 11));
        assert_eq!(queue.pop(), Some(output(1, 11)));
    }

    #[test]
    fn output_and_end_of_one_process_stay_apart_and_in_order() {
        let mut queue = NoticeQueue::default();
        let exited = Notice::Exited(Exited {
            process: ProcessId(1),
            exit: Exit { status: ExitStatus::Code(0), realtime_ns: 0, rusage: Rusage::default(), heads: [7, 0] },
        });
        queue.push(output(1, 3));
        queue.push(exited.clone());
        queue.push(output(1, 7));
        assert_eq!(queue.pop(), Some(output(1, 7)));
        assert_eq!(queue.pop(), Some(exited));
    }
}
