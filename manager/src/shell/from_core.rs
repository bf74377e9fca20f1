//! What the core tells, in its order; processes that end together are told together.

use super::inputs::Woken;
use super::{AT_HAND, attach};
use crate::kernel_link::KernelEvent;
use ringmaster_protocol::message::Notice;
use tokio::sync::mpsc;

/// What the core tells.
#[derive(Debug)]
pub(super) struct FromCore {
    events: mpsc::Receiver<KernelEvent>,
    /// Taken from there, and comes next.
    put_back: Option<KernelEvent>,
}

impl FromCore {
    pub(super) fn new(events: mpsc::Receiver<KernelEvent>) -> Self {
        Self { events, put_back: None }
    }

    /// The next thing, when it comes.
    pub(super) async fn next(&mut self) -> Woken {
        let event = match self.put_back.take() {
            Some(event) => Some(event),
            None => self.events.recv().await,
        };
        self.with_others(event.unwrap_or_else(attach::silence))
    }

    /// The next thing that is there already.
    pub(super) fn at_hand(&mut self) -> Option<Woken> {
        self.take().map(|event| self.with_others(event))
    }

    fn take(&mut self) -> Option<KernelEvent> {
        self.put_back.take().or_else(|| self.events.try_recv().ok())
    }

    /// Ends that follow each other are taken together.
    fn with_others(&mut self, event: KernelEvent) -> Woken {
        let KernelEvent::Notice(Notice::Exited(first)) = event else {
            return Woken::Kernel(event);
        };
        let mut ends = vec![first];
        while ends.len() < AT_HAND {
            match self.take() {
                Some(KernelEvent::Notice(Notice::Exited(next))) => ends.push(next),
                other => {
                    self.put_back = other;
                    break;
                }
            }
        }
        Woken::Ends(ends)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringmaster_protocol::message::{Exit, ExitStatus, Exited, Output, ProcessId, Rusage};
    use ringmaster_protocol::ring::Stream;

    fn end(process: u64) -> KernelEvent {
        let exit = Exit { status: ExitStatus::Code(0), realtime_ns: 0, rusage: Rusage::default(), heads: [0, 0] };
        KernelEvent::Notice(Notice::Exited(Exited { process: ProcessId(process), exit }))
    }

    fn output(process: u64) -> KernelEvent {
        let (process, stream) = (ProcessId(process), Stream::Stdout);
        KernelEvent::Notice(Notice::Output(Output { process, stream, head: 1, records: 1 }))
    }

    #[test]
    fn ends_are_taken_together_and_nothing_is_lost_or_out_of_order() {
        let (sender, events) = mpsc::channel(256);
        let many = (10..10 + u64::try_from(AT_HAND).unwrap() + 1).map(end);
        [end(1), end(2), output(3), output(4), end(5)]
            .into_iter()
            .chain(many)
            .for_each(|event| sender.try_send(event).unwrap());
        let mut core = FromCore::new(events);
        let mut told = Vec::new();
        while let Some(woken) = core.at_hand() {
            told.push(match woken {
                Woken::Ends(ends) => ends.iter().map(|exited| exited.process.0).collect(),
                Woken::Kernel(KernelEvent::Notice(Notice::Output(output))) => vec![output.process.0],
                Woken::Kernel(_) | Woken::Event(_) | Woken::Output(_) | Woken::Knock(_) => vec![],
            });
        }
        assert_eq!(told.iter().map(Vec::len).collect::<Vec<_>>(), [2, 1, 1, AT_HAND, 2]);
        assert_eq!(told.concat(), [1, 2, 3, 4, 5].into_iter().chain(10..75).collect::<Vec<_>>());
    }
}
