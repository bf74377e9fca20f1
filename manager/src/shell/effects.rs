//! Carrying out effects. Nothing here waits.

use super::door::Inside;
use super::doorbells::Doorbells;
use super::identity;
use super::journal::Journal;
use super::leave::{Departure, leave};
use super::metrics::Shown;
use super::outbox::{Outbox, Outgoing, Purpose};
use super::output::{Output, OutputReport};
use super::sampler::{Question, SamplerThread};
use super::{sockets, upgrade};
use crate::arbiter::{AfterSignal, Effect, Ending, Event, SocketChange, SpawnFailure};
use crate::config::{self, Config, Problem, Severity};
use crate::daemon::LogFile;
use crate::endpoints::{ControlServer, EventPublisher};
use crate::hooks::HookService;
use crate::kernel_link::KernelLink;
use crate::metrics::Snapshot;
use crate::options::Signal;
use crate::process::{Inherited, Launch};
use crate::program::Program;
use ringmaster_protocol::message::{ProcessId, Request, Target};
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Everything that effects are carried out with.
#[derive(Debug)]
pub struct Hands {
    link: KernelLink,
    events: mpsc::Sender<Event>,
    outbox: Outbox,
    doorbells: Doorbells,
    sampler: Option<SamplerThread>,
    /// Where figures go that were asked for.
    shown: Option<mpsc::Sender<Shown>>,
    hooks: HookService,
    /// The output of children.
    pub output: Output,
    journal: Journal,
    log: LogFile,
    /// Calls of the program that circusd is a part of.
    pub(super) inside: Inside,
    home: Arc<Home>,
    ending: Option<Ending>,
}

/// Where circusd runs and what it runs from.
#[derive(Debug)]
pub struct Home {
    /// The main configuration file.
    pub config: PathBuf,
    /// circusd's working directory.
    pub working_dir: PathBuf,
    /// circusd's environment.
    pub environment: BTreeMap<String, String>,
    /// How circusd was started; `None`: it is part of another program.
    pub program: Option<Program>,
}

impl Hands {
    /// Ready to work.
    pub fn new(
        link: KernelLink,
        events: mpsc::Sender<Event>,
        output: Output,
        (journal, log): (Journal, LogFile),
        home: Arc<Home>,
    ) -> Self {
        let outbox = Outbox::new(link.clone(), events.clone());
        let doorbells = Doorbells::new(link.clone(), events.clone());
        let hooks = HookService::new(events.clone());
        let (sampler, shown, ending, inside) = (None, None, None, Inside::default());
        Self { link, events, outbox, doorbells, sampler, shown, hooks, output, journal, log, inside, home, ending }
    }

    /// Figures that are asked for go here from now on.
    pub fn show_to(&mut self, shown: mpsc::Sender<Shown>) {
        self.shown = Some(shown);
    }

    /// How it ends, when the arbiter has said so.
    pub fn ending(&self) -> Option<Ending> {
        self.ending
    }

    /// One answer of the core has been taken.
    pub fn answered(&mut self) {
        self.outbox.answered();
    }

    /// The core is another one now.
    pub fn reattach(&mut self, link: KernelLink) {
        self.outbox.reattach(link.clone());
        self.doorbells.reattach(link.clone());
        self.link = link;
    }

    /// Carries out all of them, in order.
    pub fn carry_out(&mut self, effects: Vec<Effect>, control: &impl ControlServer, publisher: &impl EventPublisher) {
        for effect in effects {
            match effect {
                Effect::Reply { client, payload, .. } => match (client.hook(), client.program()) {
                    (Some(serial), _) => self.hooks.reply(serial, payload),
                    (None, Some(serial)) => self.inside.reply(serial, payload),
                    (None, None) => drop(control.reply(client, payload)),
                },
                Effect::Publish { topic, payload, .. } => {
                    publisher.publish(&topic, &payload);
                    self.inside.announce(&topic, &payload);
                }
                Effect::Journal(write) => self.journal.write(write),
                Effect::Spawn(launch) => self.spawn(*launch),
                Effect::Signal { process, signal, target, then } => self.signal(process, signal, target, then),
                Effect::Forget(process) => self.forget(process),
                Effect::LeaveAlone(process) => self.outbox.leave_alone(process),
                Effect::Attach { process, wid, watcher } => self.output.attach(&self.link, process, wid, watcher),
                Effect::OpenStreams { watcher, name, stdout, stderr, python } => {
                    self.output.open((watcher, &name), stdout, stderr, python)
                }
                Effect::CloseStreams(watcher) => self.output.close(watcher),
                Effect::ReopenLogs => {
                    self.log.reopen();
                    self.output.reopen();
                }
                Effect::Sample(asker, sample, extension) => self.sample((asker, sample, extension)),
                Effect::Show(snapshot) => self.show(snapshot),
                Effect::RunHook(call) => self.hooks.run(*call),
                Effect::Identify { client, payload, uid, gid, arrived } => {
                    let found = identity::resolve(uid.as_ref(), gid.as_ref());
                    let result = found.map(drop).map_err(|error| error.to_string());
                    self.report(Event::Identified { client, payload, result, arrived });
                }
                Effect::ReadConfig => self.read_config(),
                Effect::AwaitConnections(sockets) => self.doorbells.watch(&sockets),
                Effect::Rebind(change) => self.rebind(*change),
                Effect::TryUpgrade => self.try_upgrade(),
                Effect::Keep(write) => self.outbox.keep(write),
                Effect::Finish(ending) => self.ending = Some(ending),
            }
        }
    }

    fn spawn(&mut self, launch: Launch) {
        let Launch { ticket, mut spawn, uid, gid, inherited } = launch;
        let failed = |text: String| Event::Spawned { ticket, result: Err(SpawnFailure(text)) };
        // A look-up in /etc/passwd takes microseconds; a host that asks a directory service for its users caches them.
        let credentials = match identity::resolve(uid.as_ref(), gid.as_ref()) {
            Ok(credentials) => credentials,
            Err(error) => return self.tell(failed(error.to_string())),
        };
        spawn.uid = credentials.uid;
        spawn.gid = credentials.gid;
        spawn.groups = credentials.groups;
        match inherited.into_iter().map(copy).collect() {
            Ok(fds) => {
                let asks_more = spawn.keeping().is_some();
                let purpose = if asks_more { Purpose::SpawnKeeping(ticket) } else { Purpose::Spawn(ticket) };
                self.outbox.send(Outgoing { request: Request::Spawn(spawn), fds, purpose })
            }
            Err(error) => self.tell(failed(format!("cannot pass a descriptor on: {error}"))),
        }
    }

    /// An event that comes back at once. It counts as an answer of the core, so it must have been under way.
    fn tell(&mut self, event: Event) {
        self.outbox.reserve();
        let events = self.events.clone();
        tokio::spawn(async move {
            let _ = events.send(event).await;
        });
    }

    fn signal(&mut self, process: ProcessId, signal: Option<Signal>, target: Target, then: AfterSignal) {
        let signal = signal.map_or(0, Signal::number);
        let request = ringmaster_protocol::message::Signal { process, signal, target, ext: Vec::new() };
        self.outbox.send(Outgoing { request: request.into(), fds: Vec::new(), purpose: Purpose::Signal(then) });
    }

    fn forget(&mut self, process: ProcessId) {
        self.output.detach(process);
        self.outbox.forget(process);
    }

    fn sample(&mut self, question: Question) {
        if self.sampler.is_none() {
            match SamplerThread::start(self.events.clone()) {
                Ok(thread) => self.sampler = Some(thread),
                Err(error) => tracing::error!("cannot start the sampler: {error}"),
            }
        }
        let refused = match &self.sampler {
            Some(thread) => thread.ask(question).err(),
            None => Some(question.0),
        };
        if let Some(asker) = refused {
            let result = Err("too many statistics are being asked for".to_owned());
            let event = Event::Sampled { asker, result, extension: None };
            let events = self.events.clone();
            tokio::spawn(async move {
                let _ = events.send(event).await;
            });
        }
    }

    /// Whoever asked and is not waiting any more asks again.
    fn show(&self, snapshot: Box<Snapshot>) {
        if let Some(shown) = &self.shown {
            let (buffered, status) = (self.output.buffered(), self.link.status());
            let status = Box::pin(async { status.await.ok() });
            drop(shown.try_send(Shown { snapshot, buffered, status }));
        }
    }

    /// An event that comes back at once.
    fn report(&self, event: Event) {
        let events = self.events.clone();
        tokio::spawn(async move {
            let _ = events.send(event).await;
        });
    }

    /// Beside the loop: a file may be long, or on a disk that is asleep.
    fn read_config(&self) {
        let (home, events) = (self.home.clone(), self.events.clone());
        tokio::spawn(async move {
            let read = tokio::task::spawn_blocking(move || reread(&home)).await;
            let result = read.unwrap_or_else(|error| Err(error.to_string()));
            let _ = events.send(Event::ConfigRead(result)).await;
        });
    }

    fn try_upgrade(&self) {
        let (home, events) = (self.home.clone(), self.events.clone());
        tokio::spawn(async move {
            let tried = tokio::task::spawn_blocking(move || match &home.program {
                Some(program) => upgrade::try_out(program),
                None => Err("it is part of another program, which nobody else replaces".to_owned()),
            })
            .await;
            let result = tried.unwrap_or_else(|error| Err(error.to_string()));
            let _ = events.send(Event::Tried(result)).await;
        });
    }

    fn rebind(&self, change: SocketChange) {
        let (link, home, events) = (self.link.clone(), self.home.clone(), self.events.clone());
        tokio::spawn(async move {
            let rebound = sockets::rebind(&link, &home.working_dir, change).await;
            let _ = events.send(Event::Rebound(rebound)).await;
        });
    }

    /// What the output thread says: acknowledges, and gives what the arbiter has to know.
    pub fn output_report(&mut self, report: OutputReport) -> Option<Event> {
        self.output.take(report, &self.link)
    }

    /// Writes what there is, gives the lease back, and lets an idle core end. `told`: see [`Output::finish`].
    pub async fn take_down(
        mut self,
        departure: Departure,
        told: BTreeSet<ProcessId>,
        reports: &mut mpsc::Receiver<OutputReport>,
    ) {
        drop(self.doorbells);
        self.hooks.finish().await;
        self.outbox.send_rest();
        self.output.finish(&self.link, reports, told).await;
        if departure.ending == Ending::Upgrade {
            // Everything stays at the core for the program that follows at once.
            return;
        }
        self.journal.remove();
        if let Err(error) = leave(&self.link, departure).await {
            tracing::warn!("leaving the core: {error}");
        }
    }
}

/// The file as it is now. A section that would be left out is an error here: a slip of the pen must not stop a service.
fn reread(home: &Home) -> Result<Box<Config>, String> {
    let config = config::load(&home.config, &home.environment).map_err(|errors| errors.to_string())?;
    let left_out = |problem: &&Problem| problem.severity == Severity::LeftOut;
    let mut errors: Vec<String> = config.problems.iter().filter(left_out).map(ToString::to_string).collect();
    if errors.is_empty() {
        let failing = config.failing_classes(&BTreeSet::new()).into_iter().filter(|(_, error)| error.is_final());
        errors = failing.map(|(class, error)| class.problem(error, Severity::LeftOut).to_string()).collect();
    }
    if !errors.is_empty() {
        return Err(errors.join("\n"));
    }
    for problem in &config.problems {
        tracing::warn!("{problem}");
    }
    Ok(Box::new(config))
}

/// A copy of one of our own descriptors, for a child.
fn copy(which: Inherited) -> Result<OwnedFd, std::io::Error> {
    let (stdin, stdout, stderr) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    let fd: BorrowedFd<'_> = match which {
        Inherited::Stdin => stdin.as_fd(),
        Inherited::Stdout => stdout.as_fd(),
        Inherited::Stderr => stderr.as_fd(),
    };
    fd.try_clone_to_owned()
}
