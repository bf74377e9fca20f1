//! Requests to the core, in order, a bounded number of them under way.
//!
//! What waits here is bounded by the arbiter's own state: a process has at most one spawn and a few signals. The core answers in
//! order, so one task takes all answers; a task for each request would cost more than the answer.

use crate::arbiter::{AfterSignal, Event, SpawnFailure, Stored, Write};
use crate::kernel_link::{KernelLink, LinkError, PendingReply};
use crate::process::SpawnTicket;
use ringmaster_protocol::message::{
    Forget, Keeping, Lifetime, ProcessId, Refusal, RemoveValue, Reply, Request, SetLifetime, SetValue, SpawnStep,
};
use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Once};
use tokio::sync::mpsc;

/// Requests under way at the same time: half of what the link takes, so that it never refuses one.
pub const UNDER_WAY: usize = 512;

/// Requests without an answer in a row. The next one is answered, whether or not anybody waits for that: the core takes requests in
/// their order, so its answer tells that those before have left the link.
const UNANSWERED: usize = 64;

/// Said once in the life of a circusd, however many processes it concerns.
const OLD_CORE: &str = "this core knows neither overflow = drop-newest nor spill: it keeps ring_size of each stream in memory \
     and drops the oldest output; `papa upgrade` or a new start of the core helps";
static TELL_OLD_CORE: Once = Once::new();

/// What becomes of an answer.
#[derive(Debug)]
pub enum Purpose {
    /// `Event::Spawned`.
    Spawn(SpawnTicket),
    /// The same, of a process with `overflow = drop-newest` or `spill`, of which an old core knows nothing.
    SpawnKeeping(SpawnTicket),
    /// `Event::Signalled`.
    Signal(AfterSignal),
    /// Nobody waits for it.
    LeaveAlone,
    /// `Event::Stored`.
    Keep {
        /// The value's name.
        name: String,
        /// Which write of it.
        number: u64,
    },
}

/// A request that waits for its turn.
#[derive(Debug)]
pub struct Outgoing {
    /// What is asked.
    pub request: Request,
    /// Descriptors beside it.
    pub fds: Vec<OwnedFd>,
    /// What becomes of the answer.
    pub purpose: Purpose,
}

/// The queue.
#[derive(Debug)]
pub struct Outbox {
    link: KernelLink,
    /// To the task that takes answers: at most as many as are under way.
    asked: mpsc::Sender<Asked>,
    waiting: VecDeque<Outgoing>,
    under_way: usize,
    /// Sent without an answer since the last request that has one.
    unanswered: usize,
    /// All that were sent without an answer, and of which no later answer has told yet.
    casts: Arc<AtomicUsize>,
}

impl Outbox {
    /// An empty one. Must be called within the runtime.
    pub fn new(link: KernelLink, events: mpsc::Sender<Event>) -> Self {
        let (asked, answers) = mpsc::channel(UNDER_WAY);
        tokio::spawn(report_all(answers, events));
        Self { link, asked, waiting: VecDeque::new(), under_way: 0, unanswered: 0, casts: Arc::default() }
    }

    /// Sends now or later, never out of order.
    pub fn send(&mut self, outgoing: Outgoing) {
        self.waiting.push_back(outgoing);
        self.pump();
    }

    /// Nobody takes answers any more: sends what waits, before whatever is asked next over the same link.
    pub fn send_rest(&mut self) {
        for Outgoing { request, fds, .. } in self.waiting.drain(..) {
            drop(self.link.submit(request, fds));
        }
    }

    /// One answer has been taken.
    pub fn answered(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
        self.pump();
    }

    /// The core is another one now: what waited for the old one is void, because the arbiter has forgotten it.
    pub fn reattach(&mut self, link: KernelLink) {
        self.link = link;
        self.waiting.clear();
        self.unanswered = 0;
        self.casts = Arc::default();
    }

    /// An answer that does not come from the core will be counted as one.
    pub fn reserve(&mut self) {
        self.under_way += 1;
    }

    /// After what was sent before it: the core forgets a process. Nobody waits for that.
    pub fn forget(&mut self, process: ProcessId) {
        let request = Forget { process, ext: Vec::new() }.into();
        self.send(Outgoing { request, fds: Vec::new(), purpose: Purpose::Signal(AfterSignal::Ignore) });
    }

    /// A process outlives every circusd from now on.
    pub fn leave_alone(&mut self, process: ProcessId) {
        let request = SetLifetime { process, lifetime: Lifetime::Persistent, ext: Vec::new() }.into();
        self.send(Outgoing { request, fds: Vec::new(), purpose: Purpose::LeaveAlone });
    }

    /// Has the core keep a value for the next circusd, or forget it.
    pub fn keep(&mut self, write: Write) {
        let Write { name, value, number } = write;
        let (purpose, ext) = (Purpose::Keep { name: name.clone(), number }, Vec::new());
        let request = match value {
            Some(value) => SetValue { name, value, ext }.into(),
            None => RemoveValue { name, ext }.into(),
        };
        self.send(Outgoing { request, fds: Vec::new(), purpose });
    }

    fn pump(&mut self) {
        while self.under_way + self.casts.load(Ordering::Relaxed) < UNDER_WAY {
            let Some(Outgoing { request, fds, purpose }) = self.waiting.pop_front() else {
                return;
            };
            if purpose.is_nothing() && self.unanswered < UNANSWERED {
                self.cast(request);
                continue;
            }
            self.under_way += 1;
            let (casts, before) = (Arc::clone(&self.casts), std::mem::take(&mut self.unanswered));
            let asked = Asked { pending: self.link.submit(request, fds), purpose, casts, before };
            // There is room, because each that is under way is counted; and who takes them is there as long as the loop.
            let _ = self.asked.try_send(asked);
        }
    }

    /// Nobody waits for an answer, so there is none. When the link is gone, so is the process that it concerns.
    fn cast(&mut self, request: Request) {
        if let Err(reason) = self.link.cast(request) {
            tracing::debug!("{reason}");
            return;
        }
        self.unanswered += 1;
        self.casts.fetch_add(1, Ordering::Relaxed);
    }
}

impl Purpose {
    /// Whether nothing becomes of the answer.
    fn is_nothing(&self) -> bool {
        matches!(self, Self::Signal(AfterSignal::Ignore))
    }
}

/// A request under way.
struct Asked {
    pending: PendingReply,
    purpose: Purpose,
    /// [`Outbox::casts`] of its link.
    casts: Arc<AtomicUsize>,
    /// Those among them that were sent just before it.
    before: usize,
}

/// Waits for each answer and tells the loop. The loop outlives its tasks or ends with them, so a failing send is the end.
async fn report_all(mut answers: mpsc::Receiver<Asked>, events: mpsc::Sender<Event>) {
    while let Some(Asked { pending, purpose, casts, before }) = answers.recv().await {
        let answer = pending.await;
        casts.fetch_sub(before, Ordering::Relaxed);
        if events.send(event(answer, purpose)).await.is_err() {
            return;
        }
    }
}

/// What an answer is to the loop.
fn event(answer: Answer, purpose: Purpose) -> Event {
    match purpose {
        Purpose::Spawn(ticket) => Event::Spawned { ticket, result: spawned(answer) },
        Purpose::SpawnKeeping(ticket) => {
            if let Ok((Reply::Spawned(spawned), _)) = &answer
                && !Keeping::is_known(spawned)
            {
                TELL_OLD_CORE.call_once(|| tracing::warn!("{OLD_CORE}"));
            }
            Event::Spawned { ticket, result: spawned(answer) }
        }
        Purpose::Signal(then) => Event::Signalled { then, result: signalled(answer) },
        Purpose::LeaveAlone => {
            if let Err(reason) = signalled(answer) {
                tracing::warn!("a process that is left alone may be stopped a day after circusd is gone: {reason}");
            }
            Event::Signalled { then: AfterSignal::Ignore, result: Ok(Vec::new()) }
        }
        Purpose::Keep { name, number } => Event::Stored { outcome: stored(&name, answer), name, number },
    }
}

/// A value that the core refuses costs only its survival: the change itself is made.
fn stored(name: &str, answer: Answer) -> Stored {
    match answer {
        Ok(_) => Stored::Settled,
        Err(LinkError::Gone { .. }) => Stored::Lost,
        Err(reason) => {
            tracing::warn!("{name}: a change at run time will not outlive this circusd: {reason}");
            Stored::Settled
        }
    }
}

type Answer = Result<(Reply, Vec<OwnedFd>), LinkError>;

fn spawned(answer: Answer) -> Result<Box<ringmaster_protocol::message::ProcessInfo>, SpawnFailure> {
    match answer {
        Ok((Reply::Spawned(spawned), _)) => Ok(Box::new(spawned.process)),
        Ok((other, _)) => Err(SpawnFailure(format!("the core answered with message {}", other.number()))),
        Err(LinkError::Refused(Refusal::SpawnFailed { step, subject, errno })) => {
            Err(SpawnFailure(spawn_failure(step, &subject, errno)))
        }
        Err(error) => Err(SpawnFailure(error.to_string())),
    }
}

/// In the words of Python's OSError, which people know from Circus's log; other steps than those that Circus has are named.
fn spawn_failure(step: SpawnStep, subject: &str, errno: i32) -> String {
    let text = std::io::Error::from_raw_os_error(errno).to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    match step {
        SpawnStep::Exec | SpawnStep::WorkingDirectory => format!("[Errno {errno}] {text}: '{subject}'"),
        SpawnStep::Prepare
        | SpawnStep::Clone
        | SpawnStep::Descriptors
        | SpawnStep::Session
        | SpawnStep::Rlimit
        | SpawnStep::Groups
        | SpawnStep::Gid
        | SpawnStep::Uid => format!("[Errno {errno}] {text}: {step} ({subject})"),
    }
}

fn signalled(answer: Answer) -> Result<Vec<i32>, String> {
    match answer {
        Ok((Reply::Signalled(signalled), _)) => Ok(signalled.pids),
        Ok((Reply::Done(_), _)) => Ok(Vec::new()),
        Ok((other, _)) => Err(format!("the core answered with message {}", other.number())),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel_link::fake_core::{pair, run};
    use tokio::runtime::Handle;

    #[test]
    fn what_nobody_waits_for_is_not_answered_but_once_in_a_while() {
        run(async {
            let (link, _notices, mut core) = pair().await;
            let (events, mut told) = mpsc::channel(2 * UNDER_WAY);
            let mut outbox = Outbox::new(link, events);
            let all = 2 * UNDER_WAY;
            (0..all).for_each(|number| outbox.forget(ProcessId(u64::try_from(number).unwrap())));
            assert!(outbox.under_way + outbox.casts.load(Ordering::Relaxed) == UNDER_WAY && !outbox.waiting.is_empty());
            for number in 0..all {
                let (id, answered) = core.forgets(u64::try_from(number).unwrap()).await;
                assert_eq!(answered, number % (UNANSWERED + 1) == UNANSWERED, "{number}");
                if answered {
                    core.done(id).await;
                    assert!(told.recv().await.is_some());
                    outbox.answered();
                }
            }
            assert!(outbox.waiting.is_empty() && outbox.casts.load(Ordering::Relaxed) <= UNANSWERED);
        });
    }

    #[test]
    fn one_task_takes_all_answers_in_their_order() {
        const COUNT: usize = UNDER_WAY + 100;
        run(async {
            let (link, _notices, mut core) = pair().await;
            let (events, mut told) = mpsc::channel(2 * UNDER_WAY);
            let mut outbox = Outbox::new(link, events);
            let tasks = Handle::current().metrics().num_alive_tasks();
            for number in 0..u64::try_from(COUNT).unwrap() {
                outbox.keep(Write { name: "n".to_owned(), value: None, number });
            }
            assert_eq!(Handle::current().metrics().num_alive_tasks(), tasks, "a task for a request");
            assert_eq!((outbox.under_way, outbox.waiting.len()), (UNDER_WAY, 100));
            for expected in 0..u64::try_from(COUNT).unwrap() {
                let (id, _) = core.request().await;
                core.done(id).await;
                let Some(Event::Stored { number, .. }) = told.recv().await else { panic!("no answer") };
                assert_eq!(number, expected);
                outbox.answered();
            }
            assert_eq!((outbox.under_way, outbox.waiting.len()), (0, 0));
        });
    }
}
