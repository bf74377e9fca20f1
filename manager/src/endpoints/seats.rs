//! The places of an endpoint's connections: so many and no more. A newcomer takes the place of the one that has been idle the
//! longest, and when none is idle of the one that has been at its request the longest.
//!
//! A connection's task lives exactly as long as its place. The lock guards the table only and is never held across an await.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Nothing has come yet.
    Fresh,
    /// Everything is answered.
    Idle,
    /// A request is coming, or being answered.
    Asking,
}

/// All places.
#[derive(Debug)]
pub(super) struct Seats {
    limit: usize,
    table: Mutex<Table>,
    left: Notify,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    /// Counts changes of stages, so that it is known which is the longest ago.
    turn: u64,
    closing: bool,
    taken: BTreeMap<u64, Seat>,
}

#[derive(Debug)]
struct Seat {
    task: AbortHandle,
    stage: Stage,
    since: u64,
}

/// Held by a connection's task; its end gives the place back.
#[derive(Debug)]
pub(super) struct Place {
    seats: Arc<Seats>,
    number: u64,
}

impl Seats {
    /// All free.
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, table: Mutex::default(), left: Notify::new() })
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many are taken.
    pub(super) fn taken(&self) -> usize {
        self.lock().taken.len()
    }

    /// Seats a connection; `start` spawns its task, which must hold the place.
    pub(super) fn enter(self: &Arc<Self>, start: impl FnOnce(Place) -> AbortHandle) {
        // Under the lock: a task that ends at once waits for it, and so finds the seat that it has to give back.
        let mut table = self.lock();
        if table.taken.len() >= self.limit {
            table.cut_longest();
        }
        let (number, since) = (table.next, table.turn());
        table.next = table.next.wrapping_add(1);
        let task = start(Place { seats: Arc::clone(self), number });
        table.taken.insert(number, Seat { task, stage: Stage::Fresh, since });
    }

    /// Ends connections now that have had their answers; the others end with their first or next one.
    pub(super) fn close_idle(&self) {
        let mut table = self.lock();
        table.closing = true;
        let idle = table.taken.extract_if(.., |_, seat| seat.stage == Stage::Idle);
        idle.for_each(|(_, seat)| seat.task.abort());
    }

    /// Ends all connections now.
    pub(super) fn cut_all(&self) {
        let taken = std::mem::take(&mut self.lock().taken);
        taken.into_values().for_each(|seat| seat.task.abort());
    }

    /// Waits until all places are free.
    pub(super) async fn emptied(&self) {
        loop {
            // Before the look, so that nobody leaves unnoticed in between.
            let left = self.left.notified();
            if self.taken() == 0 {
                return;
            }
            left.await;
        }
    }
}

impl Table {
    fn turn(&mut self) -> u64 {
        self.turn = self.turn.wrapping_add(1);
        self.turn
    }

    fn cut_longest(&mut self) {
        let longest = self
            .taken
            .iter()
            .min_by_key(|(_, seat)| (seat.stage == Stage::Asking, seat.since))
            .map(|(number, _)| *number);
        if let Some(seat) = longest.and_then(|number| self.taken.remove(&number)) {
            seat.task.abort();
        }
    }
}

impl Place {
    /// Notes what the connection is doing now.
    pub(super) fn stage(&self, stage: Stage) {
        let mut table = self.seats.lock();
        let since = table.turn();
        if let Some(seat) = table.taken.get_mut(&self.number) {
            (seat.stage, seat.since) = (stage, since);
        }
    }

    /// Whether the endpoint takes no further requests.
    pub(super) fn is_closing(&self) -> bool {
        self.seats.lock().closing
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.seats.lock().taken.remove(&self.number);
        self.seats.left.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    /// Seats one more connection; its place comes over the channel and its task never ends by itself.
    async fn seat(seats: &Arc<Seats>) -> (Arc<Place>, tokio::task::AbortHandle) {
        let (sender, places) = mpsc::channel();
        let mut task = None;
        seats.enter(|place| {
            let place = Arc::new(place);
            sender.send(Arc::clone(&place)).unwrap();
            let handle = tokio::spawn(std::future::pending::<()>()).abort_handle();
            task = Some(handle.clone());
            handle
        });
        (places.recv().unwrap(), task.unwrap())
    }

    #[tokio::test]
    async fn a_newcomer_takes_the_place_of_the_longest_idle() {
        let seats = Seats::new(3);
        let (asking, at_work) = seat(&seats).await;
        asking.stage(Stage::Asking);
        let (_second, idle) = seat(&seats).await;
        let (third, later) = seat(&seats).await;
        third.stage(Stage::Idle);
        let (fourth, _) = seat(&seats).await;
        tokio::task::yield_now().await;
        assert!(idle.is_finished() && !at_work.is_finished() && !later.is_finished());
        assert_eq!(seats.taken(), 3);
        seats.close_idle();
        // The one at its request, and the one that has not said yet what it wants.
        assert_eq!((seats.taken(), fourth.is_closing()), (2, true));
        drop((asking, fourth));
        seats.emptied().await;
    }
}
