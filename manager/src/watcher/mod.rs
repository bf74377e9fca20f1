//! One watcher: its options, its processes, its status, and the operations that wait for their turn.
//!
//! Nothing here waits or does: events change state, [`Watcher::settle`] drives the present operation as far as it
//! goes and pushes effects. Operations on one watcher run one after another, on different watchers side by side.

mod change;
mod demand;
mod hooks;
mod housekeeping;
mod members;
mod operation;
mod origin;
mod processes;
mod reload;
mod resize;
mod start;
mod stop;
mod tally;

pub use change::{is_stream, set_option};
pub use hooks::Hooks;
pub use operation::{BatchId, Operation, Outcome};
pub use origin::{Changes, Origin, Seed};
pub use processes::{Backoff, Processes};
#[cfg(test)]
pub(crate) use start::ASKED_AT_ONCE;
pub use tally::Tally;

use crate::arbiter::{About, Effect, HookTickets, SocketTable, Standing};
use crate::clock::Now;
use crate::options::WatcherOptions;
use crate::process::{Heritage, Making, SpawnTicket};
use demand::Demand;
use operation::{Current, Step};
use ringmaster_protocol::message::ProcessId;
use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

/// Names a watcher within one circusd.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WatcherId(pub u32);

/// Circus's watcher states (spec f).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// No process, none wanted.
    Stopped,
    /// The first processes are being started.
    Starting,
    /// Kept running.
    Active,
    /// The processes are being stopped.
    Stopping,
}

impl Status {
    /// As replies show it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Starting => "starting",
            Self::Active => "active",
            Self::Stopping => "stopping",
        }
    }
}

/// What all watchers share.
#[derive(Debug)]
pub struct World {
    /// The sockets.
    pub sockets: SocketTable,
    /// Directory for watchers that name none.
    pub working_dir: PathBuf,
    /// Upper bound of the respawn back-off.
    pub check_delay: Duration,
    /// How long hooks may take whose watcher does not say.
    pub hooks_timeout: Duration,
    /// Drawn at random by each circusd.
    pub session: u32,
    /// What children inherit of circusd.
    pub heritage: Heritage,
    /// circusd's own environment: for `copy_env`, and for `$NAME` in values of `env`.
    pub environment: BTreeMap<String, String>,
}

/// The upper bound of the respawn back-off: `check_delay`; without a periodic check its default.
pub fn respawn_limit(check_delay: f64) -> Duration {
    const DEFAULT: Duration = Duration::from_secs(5);
    Duration::try_from_secs_f64(check_delay).ok().filter(|limit| !limit.is_zero()).unwrap_or(DEFAULT)
}

/// One event's worth of work: when it is, what is shared, and what is to be done.
#[derive(Debug)]
pub struct Turn<'a> {
    /// Both clocks.
    pub now: Now,
    /// Shared facts.
    pub world: &'a World,
    /// Grows.
    pub effects: &'a mut Vec<Effect>,
    /// The next spawn's number.
    pub next_ticket: &'a mut u64,
    /// Which watcher asked for which spawn.
    pub tickets: &'a mut BTreeMap<SpawnTicket, WatcherId>,
    /// Calls of hooks under way.
    pub hooks: &'a mut HookTickets,
    /// Operations that ended in this turn, with those who wait for them.
    pub finished: &'a mut Vec<(BatchId, Outcome)>,
}

/// One watcher.
#[derive(Debug)]
pub struct Watcher {
    /// Its number.
    pub id: WatcherId,
    /// Its options, shared with [`Origin::File`] until a client changes them.
    pub options: Rc<WatcherOptions>,
    /// Who defined it.
    pub origin: Origin,
    /// What clients have changed since.
    pub changes: Changes,
    /// Its status.
    pub status: Status,
    /// Its processes.
    pub processes: Processes,
    /// Its hooks that are being asked.
    pub hooks: Hooks,
    /// What has happened to it.
    pub tally: Tally,
    /// What those processes were made of that were taken back and would be made otherwise now; some have ended since.
    pub outdated: BTreeMap<ProcessId, Making>,
    /// What its processes were last made of, and the options that this is of. Held, so that other options are never at their place.
    making: Option<(Rc<WatcherOptions>, Rc<Making>)>,
    current: Option<Current>,
    queue: VecDeque<Current>,
    demand: Demand,
}

/// Operations that may wait for one watcher. People and scripts queue a handful; a thousand is a runaway client.
const MAX_QUEUE: usize = 1000;

impl Watcher {
    /// A stopped watcher.
    pub fn new(id: WatcherId, seed: Seed) -> Self {
        let Seed { options, origin, changes } = seed;
        Self {
            id,
            options,
            origin,
            changes,
            status: Status::Stopped,
            processes: Processes::default(),
            hooks: Hooks::default(),
            tally: Tally::default(),
            outdated: BTreeMap::new(),
            making: None,
            current: None,
            queue: VecDeque::new(),
            demand: Demand::default(),
        }
    }

    /// The name as it appears in topics: lower case, spaces as `_` (spec d).
    pub fn topic_name(&self) -> String {
        self.options.name.to_lowercase().replace(' ', "_")
    }

    /// Queues an operation. `false`: too many are waiting already.
    pub fn enqueue(&mut self, operation: Operation, waiter: Option<BatchId>) -> bool {
        if self.queue.len() >= MAX_QUEUE {
            return false;
        }
        self.queue.push_back(Current::new(operation, waiter));
        true
    }

    /// Stops before anything else: a hook has said no.
    pub(super) fn stop_next(&mut self) {
        self.queue.push_front(Current::new(Operation::Stop, None));
    }

    /// Drops everything that is under way or waiting; gives those who waited for it.
    pub fn abandon(&mut self) -> Vec<BatchId> {
        self.hooks.forget_gates();
        let current = self.current.take();
        current.into_iter().chain(self.queue.drain(..)).filter_map(|operation| operation.waiter).collect()
    }

    /// Whether a stop waits for what is under way.
    pub(super) fn is_to_stop(&self) -> bool {
        self.queue.iter().any(Current::is_stop)
    }

    /// Whether an operation is under way or waits.
    pub fn busy(&self) -> bool {
        self.current.is_some() || !self.queue.is_empty()
    }

    /// Drives operations and housekeeping until nothing moves.
    pub fn settle(&mut self, turn: &mut Turn<'_>) {
        self.conclude_ended(turn);
        self.escalate(turn);
        loop {
            let Some(mut current) = self.current.take().or_else(|| self.queue.pop_front()) else {
                self.keep_house(turn);
                if self.queue.is_empty() {
                    return;
                }
                continue;
            };
            match current.advance(self, turn) {
                Step::Wait => {
                    self.current = Some(current);
                    return;
                }
                Step::Done(outcome) => {
                    if let Some(batch) = current.waiter {
                        turn.finished.push((batch, outcome));
                    }
                }
            }
        }
    }

    /// When [`Self::settle`] has to be called again without an event; `now` for what only comes later.
    pub fn deadline(&self, now: Now) -> Option<Duration> {
        let operation = self.current.as_ref().and_then(Current::deadline);
        let house = if self.current.is_none() { self.housekeeping_deadline() } else { None };
        let demand = self.demand_deadline().filter(|at| *at > now.mono);
        [operation, house, self.processes.deadline(), demand].into_iter().flatten().min()
    }

    /// Publishes one of this watcher's events (spec d).
    fn publish(&self, turn: &mut Turn<'_>, event: &str, fields: &[(&str, serde_json::Value)]) {
        self.publish_about(turn, event, fields, About::Nothing);
    }

    /// The same, when the next circusd has to know.
    fn publish_about(&self, turn: &mut Turn<'_>, event: &str, fields: &[(&str, serde_json::Value)], about: About) {
        publish(turn.effects, &self.topic_name(), event, fields, about);
    }

    /// What is to be remembered about this watcher.
    fn stands(&self, standing: Standing) -> About {
        About::Watcher(self.options.name.to_lowercase(), standing)
    }
}

/// Pushes `watcher.NAME.EVENT`.
pub fn publish(effects: &mut Vec<Effect>, name: &str, event: &str, fields: &[(&str, serde_json::Value)], about: About) {
    let object = fields.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
    let payload = ringmaster_protocol::circus::to_json(&serde_json::Value::Object(object));
    effects.push(Effect::Publish { topic: format!("watcher.{name}.{event}"), payload, about });
}
