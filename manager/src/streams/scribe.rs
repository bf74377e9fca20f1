//! The scribe's thread and the handle that the loop holds.

use super::mailbox::{Mailbox, Order, Patience};
use super::report::ScribeReport;
use super::worker::Worker;
use jiff::tz::TimeZone;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

/// The handle of the running scribe. Dropping it orders [`Order::Stop`] without waiting for the thread.
#[derive(Debug)]
pub struct Scribe {
    mailbox: Arc<Mailbox>,
    thread: Option<JoinHandle<()>>,
}

impl Scribe {
    /// Starts the thread. `report` is called on it; it may wait for room in a bounded channel.
    pub fn start(report: impl Fn(ScribeReport) + Send + 'static) -> std::io::Result<Self> {
        let mailbox = Arc::new(Mailbox::default());
        let inbox = Arc::clone(&mailbox);
        let thread = std::thread::Builder::new()
            .name("scribe".to_owned())
            .spawn(move || run(&inbox, report))?;
        Ok(Self {
            mailbox,
            thread: Some(thread),
        })
    }

    /// Hands in an order. Never waits.
    pub fn order(&self, order: Order) {
        self.mailbox.put(order);
    }

    /// Orders the end and waits for it; that lasts as long as a write that is under way.
    pub fn stop(mut self) {
        self.mailbox.put(Order::Stop);
        if let Some(thread) = self.thread.take() {
            // A panic was told as `Stopped { by_panic: true }`.
            let _ = thread.join();
        }
    }
}

impl Drop for Scribe {
    fn drop(&mut self) {
        self.mailbox.put(Order::Stop);
    }
}

/// Tells of the end however it comes.
struct Farewell<'a, R: Fn(ScribeReport)>(&'a R);

impl<R: Fn(ScribeReport)> Drop for Farewell<'_, R> {
    fn drop(&mut self) {
        let by_panic = std::thread::panicking();
        (self.0)(ScribeReport::Stopped { by_panic });
    }
}

fn run(mailbox: &Mailbox, report: impl Fn(ScribeReport)) {
    let _farewell = Farewell(&report);
    let mut worker = Worker::new(&report, TimeZone::system());
    loop {
        let patience = if worker.has_work() {
            Patience::None
        } else {
            worker.next_deadline().map_or(Patience::Endless, Patience::Until)
        };
        let wanted = mailbox.take(patience);
        if wanted.stop {
            return;
        }
        let now = Instant::now();
        worker.apply(wanted, now);
        worker.expire(now);
        worker.work(now);
    }
}
