//! The rim around the arbiter: it turns bytes, notices, timers and signals into events, and carries out effects.
//!
//! [`run`] is one life of circusd: it reaches the core, binds the endpoints, hands the arbiter one event after another,
//! and takes everything down. Nothing here decides anything about watchers.

mod attach;
mod classes;
mod door;
mod doorbells;
mod effects;
mod from_core;
mod identity;
mod inputs;
mod journal;
mod leave;
mod metrics;
mod outbox;
mod output;
mod present;
mod recall;
mod sampler;
mod signals;
mod sockets;
mod upgrade;

pub use attach::StartError;
pub use door::{Announcement, Door, Knock};
pub use leave::Ended;
pub use present::present_watchers;
pub use signals::Signals;
pub use upgrade::{TRIAL, trial};

use crate::arbiter::{Arbiter, Effect, Ending, Event, JournalWrite, Roster, SocketTable, restore};
use crate::clock::Now;
use crate::config::Config;
use crate::daemon::LogFile;
use crate::endpoints::{
    ControlHandle, Discovery, Listening, MetricsHandle, Names, PublisherHandle, Site, serve_control, serve_metrics,
    serve_publisher,
};
use crate::kernel_link::{CoreAddress, KernelEvent};
use crate::metrics::Detail;
use crate::options::{CircusOptions, MetricsPlace};
use crate::process::Heritage;
use crate::program::Program;
use crate::replace::{holds_signals_back, listen_to_signals};
use crate::watcher::{World, respawn_limit};
use attach::Attached;
use door::Inside;
use effects::{Hands, Home};
use from_core::FromCore;
use inputs::{Inputs, Woken};
use journal::Journal;
use leave::Departure;
use metrics::{Gatherer, Shown, WAITING_ASKS};
use output::OutputReport;
use recall::Recall;
use ringmaster_protocol::message::{Exited, LeaseLost, Notice, ProcessInfo};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc;

/// Requests of clients that may wait for the arbiter, which takes microseconds for each.
const WAITING_REQUESTS: usize = 256;

/// Answers, facts and reports that may wait for the arbiter. More than the outbox lets be under way, so that nobody who
/// reports ever waits.
const WAITING_EVENTS: usize = 2 * outbox::UNDER_WAY;

/// How long replies may take to reach their clients after the last one was given.
const FLUSH: Duration = Duration::from_secs(1);

/// The same when another circusd takes over at once, for which everybody waits.
const SHORT_FLUSH: Duration = Duration::from_millis(200);

/// Before the second attempt to reach a core that is away: one half of it takes about so long to replace the other.
const REACH_SOON: Duration = Duration::from_millis(10);

/// Between two attempts in the long run; each pause before is twice the last.
const REACH_AGAIN: Duration = Duration::from_millis(200);

/// Reports, notices and answers that are taken in a row before all others are looked at again: microseconds for each.
const AT_HAND: usize = 64;

/// How long a core that is being started may take to be told that nobody needs it: a signal to circusd does not wait for longer.
const LAST_MOMENT: Duration = Duration::from_secs(5);

/// What one life of circusd starts from.
#[derive(Debug)]
pub struct Plan {
    /// The configuration.
    pub config: Config,
    /// circusd's environment.
    pub environment: BTreeMap<String, String>,
    /// circusd's working directory.
    pub working_dir: PathBuf,
    /// What children inherit of circusd.
    pub heritage: Heritage,
    /// circusd's own log.
    pub log: LogFile,
    /// How circusd was started; `None`: it is part of another program.
    pub program: Option<Program>,
}

fn core_address(circus: &CircusOptions) -> Result<CoreAddress, StartError> {
    let (instance, papa) = (circus.instance.as_deref(), circus.papa_path.as_deref());
    Ok(CoreAddress::new(instance, &circus.endpoint, circus.papa_endpoint.as_deref(), papa)?)
}

/// One life of circusd. `signals` is `None` in the first; kept from one to the next, it misses none in between. `door`: the way
/// of the program that it is a part of.
pub async fn run(
    mut plan: Plan,
    signals: &mut Option<Signals>,
    mut door: Option<&mut Door>,
) -> Result<Ended, StartError> {
    let circus = plan.config.circus.clone();
    let address = core_address(&circus)?;
    tracing::info!("Starting master on pid {}", std::process::id());
    let signals = match signals {
        Some(signals) => signals,
        None => signals.insert(Signals::new().map_err(StartError::Signals)?),
    };
    if door.is_none() {
        if holds_signals_back() {
            signals.wait_for_life();
        }
        listen_to_signals();
    }
    let attached = reach(&address, &plan.config.path, signals).await?;
    let bound = signals.interrupt(async {
        classes::try_out(&mut plan.config, &attached.processes).await;
        sockets::bind(&attached.link, &plan).await
    });
    let bound = match bound.await {
        Ok(Ok(bound)) => bound,
        Ok(Err(error)) | Err(error) => {
            leave::give_up(&attached.link).await;
            return Err(error);
        }
    };
    if !plan.config.sockets.is_empty() {
        tracing::info!("sockets started");
    }
    let publisher = serve_publisher(bound.pubsub).map_err(StartError::Endpoint)?;
    let (request_sender, requests) = mpsc::channel(WAITING_REQUESTS);
    let control = serve_control(bound.control, request_sender).map_err(StartError::Endpoint)?;
    let _discovery = discover(&circus);
    tracing::info!("Arbiter now waiting for commands");
    let (events, incoming) = mpsc::channel(WAITING_EVENTS);
    let (metrics, shown) = match bound.metrics {
        Some(listening) => metrics(listening, &circus, events.clone())?.unzip(),
        None => (None, None),
    };
    let (reports, output) = mpsc::channel(WAITING_EVENTS);
    let (journal, chronicle) = Journal::open(&address.directory());
    let home = Arc::new(Home {
        config: plan.config.path.clone(),
        working_dir: plan.working_dir.clone(),
        environment: plan.environment.clone(),
        program: plan.program,
    });
    let mut hands = Hands::new(
        attached.link.clone(),
        events,
        output::Output::start(address.directory(), hooks_timeout(&circus), reports).map_err(StartError::Thread)?,
        (journal, plan.log.clone()),
        home,
    );
    if let Some(door) = &mut door {
        hands.inside = Inside::new(std::mem::take(&mut door.subscribers));
    }
    if let Some(shown) = shown {
        hands.show_to(shown);
    }
    let noted = attach::noted(&attached.link).await?;
    let watchers = plan.config.watchers_to_run();
    // Whoever runs this life keeps the whole.
    drop(std::mem::take(&mut plan.config.watchers));
    let mut world = world(plan.working_dir, &circus, plan.heritage, plan.environment);
    world.sockets = bound.table;
    let Config { path: config, sockets, .. } = plan.config;
    let roster = Roster { seeds: restore(watchers, &noted.changes, &world), sockets, left: noted.left, chronicle };
    let arbiter = Arbiter::new(circus, world, roster);
    let mut inputs = Inputs { requests, incoming, output, kernel: FromCore::new(attached.events) };
    let mut life = Life { started: Instant::now(), arbiter, hands, control, publisher, metrics, address, config };
    life.attached(attached.processes);
    if let Some(open) = door.as_mut().and_then(|door| door.open.take()) {
        // There is room for one, and nobody has told before.
        let _ = open.try_send(());
    }
    let ending = life.turn(&mut inputs, signals, &mut door).await?;
    if let Some(door) = door {
        door.subscribers = life.hands.inside.take_subscribers();
    }
    Ok(life.take_down(ending, &mut inputs, signals).await)
}

/// Reaches the core, which may have to be started for it. A signal ends that, but no core is left behind that nobody wants.
async fn reach(address: &CoreAddress, config: &Path, signals: &mut Signals) -> Result<Attached, StartError> {
    let attaching = attach::attach(address, config);
    tokio::pin!(attaching);
    match signals.interrupt(&mut attaching).await {
        Ok(attached) => attached,
        Err(interrupted) => {
            if let Ok(Ok(attached)) = tokio::time::timeout(LAST_MOMENT, attaching).await {
                leave::give_up(&attached.link).await;
            }
            Err(interrupted)
        }
    }
}

/// Answers who looks for this circusd; goes on without when that cannot be (spec l).
fn discover(circus: &CircusOptions) -> Option<Discovery> {
    let endpoint = circus.multicast_endpoint.as_deref()?;
    let answer = ringmaster_protocol::circus::to_json(&serde_json::json!({ "endpoint": circus.endpoint }));
    Discovery::start(endpoint, answer).inspect_err(|error| tracing::warn!("{error}")).ok()
}

/// Serves figures. Gives the server, and where the loop puts its numbers when it is asked for them.
fn metrics(
    listening: Listening,
    circus: &CircusOptions,
    events: mpsc::Sender<Event>,
) -> Result<Option<(MetricsHandle, mpsc::Sender<Shown>)>, StartError> {
    let Some(endpoint) = &circus.metrics_endpoint else {
        return Ok(None);
    };
    let names = match endpoint.place() {
        MetricsPlace::Tcp(_) if !circus.metrics_remote => Names::Local,
        MetricsPlace::Tcp(_) | MetricsPlace::Unix(_) => Names::Any,
    };
    let detail = if circus.metrics_per_process { Detail::Processes } else { Detail::Watchers };
    let (asks, asked) = mpsc::channel(WAITING_ASKS);
    let (show, shown) = mpsc::channel(1);
    let site = Site { path: endpoint.path().to_owned(), names };
    let server = serve_metrics(listening, site, asks).map_err(StartError::Endpoint)?;
    // Ends when the server does, with the last connection.
    tokio::spawn(Gatherer::new(events, shown, detail).serve(asked));
    Ok(Some((server, show)))
}

/// What watchers share, but for the sockets.
fn world(
    working_dir: PathBuf,
    circus: &CircusOptions,
    heritage: Heritage,
    environment: BTreeMap<String, String>,
) -> World {
    World {
        sockets: SocketTable::default(),
        working_dir,
        check_delay: respawn_limit(circus.check_delay),
        hooks_timeout: hooks_timeout(circus),
        session: session(),
        heritage,
        environment,
    }
}

/// How long hooks may take where their watcher says nothing.
fn hooks_timeout(circus: &CircusOptions) -> Duration {
    let said = circus.hooks_timeout.duration();
    if said.is_zero() { crate::hooks::DEFAULT_TIMEOUT } else { said }
}

/// A number that no other circusd of this instance has used lately.
fn session() -> u32 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mixed = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), (now, std::process::id()));
    u32::try_from(mixed & 0xffff_ffff).unwrap_or(1)
}

/// Everything that lives between start and end.
struct Life {
    started: Instant,
    arbiter: Arbiter,
    hands: Hands,
    control: ControlHandle,
    publisher: PublisherHandle,
    metrics: Option<MetricsHandle>,
    address: CoreAddress,
    config: PathBuf,
}

impl Life {
    fn now(&self) -> Now {
        now(self.started)
    }

    /// One event after another, until the arbiter says how it ends.
    async fn turn(
        &mut self,
        inputs: &mut Inputs,
        signals: &mut Signals,
        door: &mut Option<&mut Door>,
    ) -> Result<Ending, StartError> {
        loop {
            if let Some(ending) = self.hands.ending() {
                return Ok(ending);
            }
            let deadline = self.arbiter.deadline();
            let woken = tokio::select! {
                Some(request) = inputs.requests.recv() => Woken::Event(Inputs::event(&request, self.started)),
                Some(event) = inputs.incoming.recv() => Woken::Event(event),
                Some(report) = inputs.output.recv() => Woken::Output(report),
                told = inputs.kernel.next() => told,
                signal = signals.next() => Woken::Event(Event::Signal(signal)),
                knock = Door::next(door) => Woken::Knock(knock),
                () = sleep_until(self.started, deadline) => Woken::Event(Event::Wake),
            };
            let mut taken = woken.count();
            self.take(woken, inputs, signals).await?;
            while taken < AT_HAND && self.hands.ending().is_none() {
                let Some(woken) = inputs.at_hand() else {
                    break;
                };
                taken += woken.count();
                self.take(woken, inputs, signals).await?;
            }
        }
    }

    /// The program that circusd is a part of wants something.
    fn knock(&mut self, knock: Knock) {
        match knock {
            Knock::Call { payload, answer } => {
                let client = self.hands.inside.admit(answer);
                let arrived = Some(self.now().mono);
                self.act(Event::Request { client, payload, arrived });
            }
            Knock::Subscribe { prefix, events } => self.hands.inside.subscribe(prefix, events),
        }
    }

    async fn take(&mut self, woken: Woken, inputs: &mut Inputs, signals: &mut Signals) -> Result<(), StartError> {
        match woken {
            Woken::Event(event) => self.act(event),
            Woken::Output(report) => self.output(report),
            Woken::Knock(knock) => self.knock(knock),
            Woken::Ends(ends) => self.ends(ends),
            Woken::Kernel(KernelEvent::Notice(notice)) => self.notice(notice)?,
            Woken::Kernel(KernelEvent::Lost(reason)) => {
                tracing::error!("the core is away: {reason}");
                self.act(Event::Detached);
                let attached = signals.interrupt(self.reach_again()).await?;
                inputs.kernel = FromCore::new(attached.events);
                self.hands.reattach(attached.link);
                self.attached(attached.processes);
            }
        }
        Ok(())
    }

    /// Hands the arbiter one event and carries out what it wants.
    fn act(&mut self, event: Event) {
        if let Event::Spawned { .. } | Event::Signalled { .. } | Event::Stored { .. } = &event {
            self.hands.answered();
        }
        let effects = self.arbiter.handle(self.now(), event);
        self.hands.carry_out(effects, &self.control, &self.publisher);
    }

    /// What is noted about processes that the core does not have is forgotten first.
    fn attached(&mut self, processes: Vec<ProcessInfo>) {
        self.hands.output.known(&processes);
        self.act(Event::Attached(processes));
    }

    fn output(&mut self, report: OutputReport) {
        if let Some(event) = self.hands.output_report(report) {
            self.act(event);
        }
    }

    /// The journal of many ends is written at once, before anything that follows from them is done.
    fn ends(&mut self, ends: Vec<Exited>) {
        let (mut journal, mut rest) = (None, Vec::new());
        for exited in ends {
            self.hands.output.ended(exited.process, exited.exit.heads);
            for effect in self.arbiter.handle(self.now(), Event::Exited(exited)) {
                if let Effect::Journal(write) = effect {
                    journal = Some(JournalWrite::after(journal, write));
                } else {
                    rest.push(effect);
                }
            }
        }
        rest.splice(0..0, journal.map(Effect::Journal));
        self.hands.carry_out(rest, &self.control, &self.publisher);
    }

    fn notice(&mut self, notice: Notice) -> Result<(), StartError> {
        match notice {
            Notice::Output(output) => {
                self.hands.output.advance(output.process, output.stream, output.head, output.records)
            }
            Notice::StreamEnd(end) => self.hands.output.stream_ended(&end),
            Notice::Exited(exited) => self.ends(vec![exited]),
            Notice::LeaseLost(LeaseLost { epoch, .. }) => return Err(StartError::Superseded { epoch }),
        }
        Ok(())
    }

    /// Until the core is back. Clients wait meanwhile; nothing of theirs is lost.
    async fn reach_again(&self) -> Attached {
        let (mut told, mut pause) = (false, REACH_SOON);
        loop {
            match attach::attach(&self.address, &self.config).await {
                Ok(attached) => {
                    tracing::info!("the core is back");
                    return attached;
                }
                Err(error) if told => tracing::debug!("the core cannot be reached: {error}"),
                Err(error) => {
                    tracing::error!("the core cannot be reached: {error}; trying again");
                    told = true;
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(REACH_AGAIN);
        }
    }

    /// Takes everything down, in the order in which others depend on it.
    async fn take_down(self, ending: Ending, inputs: &mut Inputs, signals: &mut Signals) -> Ended {
        let departure = Departure { ending, left: self.arbiter.left_alone() };
        let told = self.arbiter.announced();
        let Self { hands, control, publisher, metrics, arbiter, started, .. } = self;
        let Inputs { requests, output, .. } = inputs;
        let mut recall = Recall { arbiter, started };
        let down = hands.take_down(departure, told, output);
        if ending == Ending::Upgrade {
            recall.watch(down, &control, requests, signals).await;
        } else {
            down.await;
        }
        let flush = if ending == Ending::Upgrade { SHORT_FLUSH } else { FLUSH };
        let deadline = tokio::time::Instant::now() + flush;
        publisher.flush_and_close(deadline).await;
        control.flush_and_close(deadline).await;
        if let Some(metrics) = metrics {
            metrics.flush_and_close(deadline).await;
        }
        if ending == Ending::Upgrade {
            recall.last(requests);
        }
        let ending = if recall.arbiter.is_called_off() { Ending::CalledOff } else { ending };
        Ended { ending, file: recall.arbiter.take_file() }
    }
}

/// The time in a life that began then.
fn now(started: Instant) -> Now {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Now { mono: started.elapsed(), wall: wall.as_secs_f64() }
}

/// Sleeps until a moment of our monotonic clock; for ever without one.
async fn sleep_until(started: Instant, deadline: Option<Duration>) {
    match deadline.and_then(|deadline| started.checked_add(deadline)) {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
