//! `circusd-stats`: what the processes of all watchers use, published once a second (spec e).
//!
//! A process of its own beside circusd: it asks who there is (`roster`), follows the events, looks into `/proc` once a tick for
//! all (`sampling`, whose files stay open: `files`), and publishes (`frames`) on an endpoint that it binds itself. What waits on listening sockets
//! comes from `backlog`. It changes nothing and keeps nothing on disk.

mod arguments;
mod backlog;
mod endpoint;
mod files;
mod frames;
mod roster;

pub use arguments::Arguments;
pub use roster::canonical;

use crate::client::{CallError, Caller, Events, Heard};
use crate::endpoints::{PublisherHandle, serve_publisher};
use crate::print;
use crate::sampling::Sampler;
use backlog::Backlog;
use frames::Frame;
use ringmaster_protocol::circus::to_json;
use roster::Roster;
use serde_json::json;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};

/// Between two publications (spec e).
const TICK: Duration = Duration::from_secs(1);

/// Processes whose files in /proc stay open, so that a look at one is two system calls.
const PROCESSES_KEPT: usize = 8192;

/// The whole program.
pub fn main() -> ExitCode {
    let arguments: Arguments = match print::arguments() {
        Ok(arguments) => arguments,
        Err(status) => return status,
    };
    let outcome = if arguments.attendant.version {
        print::show(&format!("{}\n", crate::cli::Arguments::version_text())).map_err(Into::into)
    } else {
        start(&arguments)
    };
    print::status_of("circusd-stats", outcome)
}

fn start(arguments: &Arguments) -> Result<(), Box<dyn std::error::Error>> {
    arguments.attendant.begin()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(run(arguments))
}

async fn run(arguments: &Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let listening = endpoint::bind(&arguments.statspoint)?;
    let publisher = serve_publisher(listening)?;
    let mut streamer = Streamer {
        caller: Caller::new(&arguments.attendant.endpoint),
        roster: Roster::default(),
        sampler: Sampler::keeping(files::allow(PROCESSES_KEPT)),
        backlog: Backlog::default(),
        publisher,
    };
    let mut events = Events::new(&arguments.attendant.pubsub);
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            heard = events.next() => streamer.hear(heard).await,
            _ = ticks.tick() => streamer.publish(),
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    tracing::info!("Stats streamer stopped");
    Ok(())
}

/// Everything that a tick needs.
struct Streamer {
    caller: Caller,
    roster: Roster,
    sampler: Sampler,
    backlog: Backlog,
    publisher: PublisherHandle,
}

impl Streamer {
    async fn hear(&mut self, heard: Heard) {
        match heard {
            Heard::Event(event) => self.roster.follow(&event),
            Heard::Connected => {
                if let Err(error) = self.ask().await {
                    tracing::warn!("{error}");
                }
            }
        }
    }

    /// Who there is, at the beginning and whenever events may have been missed.
    async fn ask(&mut self) -> Result<(), CallError> {
        let daemon = self.caller.call("dstats", json!({})).await?;
        self.roster = Roster::with_daemon(&daemon, std::process::id());
        let list = self.caller.call("list", json!({})).await?;
        for name in roster::names(&list) {
            // A watcher that was removed in between is none.
            if let Ok(reply) = self.caller.call("list", json!({ "name": name })).await {
                self.roster.set(name, roster::pids(&reply));
            }
        }
        self.backlog.follow(&self.caller.call("listsockets", json!({})).await?);
        Ok(())
    }

    fn publish(&mut self) {
        let reads = self.backlog.take();
        let begin = Instant::now();
        if self.publisher.subscribers() > 0 {
            let frames = frames::sockets(&reads).into_iter().chain(self.processes());
            let events: Vec<_> = frames.map(|(topic, payload)| (topic, to_json(&payload))).collect();
            self.publisher.publish_all(&events);
        }
        // Who has ended, and all when nobody subscribes.
        self.sampler.forget_unseen(begin);
    }

    fn processes(&mut self) -> Vec<Frame> {
        let mut all = Vec::new();
        for (watcher, members) in self.roster.watchers() {
            let look = |member: &roster::Member| Some((member.clone(), self.sampler.alone(member.pid).ok()?));
            let seen: Vec<_> = members.iter().filter_map(look).collect();
            all.extend(frames::watcher(watcher, &seen));
        }
        all
    }
}
