//! The thread of one stream: it keeps a worker, gives it the calls of a batch, and watches their time.
//!
//! It waits in one place, [`Keeper::wait`]; everything else is done at once. No panic of it can lose output: a batch that is
//! never told as taken is read again from the core by the next circusd.

use super::desk::{Closing, Desk};
use super::running::Running;
use super::wire::{Answer, first_frame};
use super::{ClassWord, Pace, PythonError, PythonSpec};
use crate::pidfd;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::Read as _;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Before a worker is started again that came to nothing, doubled up to [`LAST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// Whoever has just mended the module waits no longer than this.
const LAST_PAUSE: Duration = Duration::from_secs(30);

/// A call that takes longer is not waited for when circusd ends: what it was given is given to the next circusd.
const SLOW: Duration = Duration::from_secs(1);

/// How long `close` of an object may take at the end, with the call that it is in.
const CLOSE: Duration = Duration::from_secs(5);

/// Between two words about calls that raise.
const QUIET: Duration = Duration::from_secs(60);

/// One batch.
#[derive(Debug)]
struct Job {
    frames: Vec<u8>,
    /// Bytes of the calls that have returned.
    done: usize,
    /// Bytes that the worker has been sent.
    sent: usize,
}

/// Calls that have raised.
#[derive(Debug, Default)]
struct Raised {
    /// Not told yet.
    calls: u64,
    message: String,
    traceback: String,
    /// When to tell; `None`: at once.
    tell_at: Option<Instant>,
}

/// The state of the thread.
#[derive(Debug)]
pub(super) struct Keeper {
    spec: Arc<PythonSpec>,
    desk: Arc<Desk>,
    ears: UnixStream,
    running: Option<Running>,
    job: Option<Job>,
    /// When the start or the call that is under way has taken too long.
    deadline: Option<Instant>,
    /// When the next worker starts, while there is none.
    start_at: Instant,
    pause: Duration,
    /// The scribe was told that what is under way takes long.
    slow: bool,
    /// This worker has taken something.
    progress: bool,
    /// A trouble was told.
    told: bool,
    raised: Raised,
    /// The end is wanted: when the worker is killed.
    closing: Option<Instant>,
}

impl Keeper {
    pub(super) fn new(spec: Arc<PythonSpec>, desk: Arc<Desk>, ears: UnixStream) -> Self {
        Self {
            spec,
            desk,
            ears,
            running: None,
            job: None,
            deadline: None,
            start_at: Instant::now(),
            pause: FIRST_PAUSE,
            slow: false,
            progress: false,
            told: false,
            raised: Raised::default(),
            closing: None,
        }
    }

    /// Until the end is wanted and the worker has ended.
    pub(super) fn run(mut self) {
        loop {
            let now = Instant::now();
            self.take_orders(now);
            match self.closing {
                Some(until) if self.running.is_none() || until <= now => break,
                Some(_) => {}
                None => self.keep_running(now),
            }
            self.send();
            self.wait(now);
            self.hear();
        }
        if let Some(running) = self.running.take() {
            running.end();
        }
        self.tell_raised(None);
    }

    fn take_orders(&mut self, now: Instant) {
        let (frames, closed) = self.desk.take();
        if let Some(frames) = frames {
            self.job = Some(Job { frames, done: 0, sent: 0 });
            self.deadline = self.deadline.or(Some(now + self.spec.limit()));
        }
        if let (Some(closing), None) = (closed, self.closing) {
            self.closing = Some(if self.slow && closing == Closing::AtTheEnd { now } else { now + CLOSE });
            self.job = None;
            self.running.iter().for_each(Running::finish);
        }
    }

    /// Starts a worker when there is none, and gives up on one that takes too long.
    fn keep_running(&mut self, now: Instant) {
        if self.raised.calls > 0 && self.raised.tell_at.is_none_or(|at| at <= now) {
            self.tell_raised(Some(now));
        }
        if !self.slow && self.slow_at().is_some_and(|at| at <= now) {
            self.slow = true;
            self.desk.pace(Pace::Slow);
        }
        let limit = self.spec.limit();
        match &self.running {
            None if self.start_at <= now => match Running::start(&self.spec) {
                Ok(running) => {
                    self.running = Some(running);
                    self.deadline = Some(now + limit);
                }
                Err(error) => self.fail(error),
            },
            Some(running) if self.deadline.is_some_and(|deadline| deadline <= now) => {
                let ready = running.ready;
                self.fail(if ready { PythonError::TimedOut { limit } } else { PythonError::SlowStart { limit } });
            }
            Some(_) | None => {}
        }
    }

    /// Sends as much of the batch as the worker takes now.
    fn send(&mut self) {
        if let (Some(running), Some(job)) = (self.running.as_mut().filter(|running| running.ready), &mut self.job) {
            job.sent += running.send(job.frames.get(job.sent..).unwrap_or_default());
        }
    }

    /// When the start or the call that is under way takes long.
    fn slow_at(&self) -> Option<Instant> {
        let since = self.deadline.filter(|_| self.job.is_some())?.checked_sub(self.spec.limit())?;
        Some(since + SLOW)
    }

    fn next_wake(&self) -> Option<Instant> {
        let start = self.running.is_none().then_some(self.start_at);
        let raised = self.raised.tell_at.filter(|_| self.raised.calls > 0);
        let deadline = self.deadline.filter(|_| self.running.is_some());
        let slow = self.slow_at().filter(|_| !self.slow && self.running.is_some());
        [start, raised, deadline, slow].into_iter().flatten().chain(self.closing).min()
    }

    /// Until there is something to do.
    fn wait(&mut self, now: Instant) {
        let timeout = self.next_wake().map(|at| at.saturating_duration_since(now));
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        let mut waiting = vec![PollFd::new(&self.ears, PollFlags::IN)];
        if let Some(running) = &self.running {
            let unsent = self.job.as_ref().is_some_and(|job| running.ready && job.sent < job.frames.len());
            let flags = if unsent { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
            waiting.push(PollFd::new(&running.socket, flags));
            waiting.push(PollFd::new(&running.pidfd, PollFlags::IN));
        }
        // Interrupted or out of memory: everything is looked at again.
        let _ = poll(&mut waiting, timeout.as_ref());
        drop(waiting);
        let mut rings = [0; 64];
        while matches!(self.ears.read(&mut rings), Ok(1..)) {}
    }

    /// Takes in what the worker says, and its end.
    fn hear(&mut self) {
        let Some(running) = &mut self.running else {
            return;
        };
        // In this order: what it said before it ended is there then.
        let ended = has_ended(running);
        let heard = match running.hear() {
            Ok(heard) => heard,
            Err(error) => return self.fail(error),
        };
        for answer in heard.answers {
            if let Err(error) = self.answer(answer) {
                return self.fail(error);
            }
        }
        if (ended || heard.over)
            && let Some(running) = self.running.take()
        {
            let status = running.end();
            if self.closing.is_none() {
                self.fail(PythonError::Ended(status));
            }
        }
    }

    fn answer(&mut self, answer: Answer) -> Result<(), PythonError> {
        match answer {
            Answer::Ready => {
                if let Some(running) = &mut self.running {
                    running.ready = true;
                }
                self.deadline = self.job.as_ref().map(|_| Instant::now() + self.spec.limit());
                if self.job.is_none() {
                    self.works();
                }
                Ok(())
            }
            Answer::Taken => self.returned(),
            Answer::Raised { message, traceback } => {
                self.raised = Raised { calls: self.raised.calls + 1, message, traceback, ..self.raised };
                self.returned()
            }
            Answer::NoImport(failure) => Err(failure.into()),
            Answer::NoObject { message, traceback } => Err(PythonError::NoObject { message, traceback }),
        }
    }

    /// A call has returned.
    fn returned(&mut self) -> Result<(), PythonError> {
        let Some(job) = &mut self.job else {
            // Closing: the batch is given up.
            return Ok(());
        };
        let frame = job.frames.get(job.done..job.sent).and_then(first_frame);
        job.done += frame.ok_or_else(|| PythonError::Nonsense("an answer to no call".to_owned()))?;
        (self.progress, self.pause) = (true, FIRST_PAUSE);
        if std::mem::take(&mut self.slow) {
            self.desk.pace(Pace::Going);
        }
        if job.done == job.frames.len() {
            (self.job, self.deadline) = (None, None);
            self.desk.taken();
        } else {
            self.deadline = Some(Instant::now() + self.spec.limit());
        }
        self.works();
        Ok(())
    }

    fn works(&mut self) {
        if std::mem::take(&mut self.told) {
            self.desk.say(ClassWord::Works);
        }
    }

    /// This worker is of no use any more. Another one takes its place: at once when this one has done something, after a pause when not.
    fn fail(&mut self, error: PythonError) {
        if let Some(running) = self.running.take() {
            running.end();
        }
        if let Some(job) = &mut self.job {
            job.sent = job.done;
        }
        self.deadline = None;
        let now = Instant::now();
        if std::mem::take(&mut self.progress) {
            self.start_at = now;
        } else {
            self.start_at = now + self.pause;
            self.pause = (self.pause * 2).min(LAST_PAUSE);
        }
        if !std::mem::replace(&mut self.told, true) {
            self.desk.say(ClassWord::Trouble(error));
        }
    }

    /// Tells what calls have raised, the first time at once, then once in a while with their number.
    fn tell_raised(&mut self, now: Option<Instant>) {
        let Raised { calls, message, traceback, .. } = std::mem::take(&mut self.raised);
        self.raised.tell_at = now.map(|now| now + QUIET);
        if calls > 0 {
            self.desk.say(ClassWord::Raised { calls, message, traceback });
        }
    }
}

fn has_ended(running: &Running) -> bool {
    pidfd::has_ended(&running.pidfd, Duration::ZERO).unwrap_or(false)
}
