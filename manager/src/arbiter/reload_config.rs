//! `reloadconfig`: the file is read again, and only what differs is done (spec f.9, with the faults of n.2 mended).
//!
//! Stages: the shell reads the file; watchers whose sockets change are stopped; the shell binds the sockets; then every
//! watcher is brought to the file, in the order of priority, by the same machinery that starts them. Nothing changes
//! before the file has been read without errors and its sockets are bound.

use super::difference::{SocketChange, Verdict, circus_differences, verdict};
use super::kept::drop_kept;
use super::{Arbiter, Asker, BoundSocket, Effect, Exclusive, Phase, ReplyShape, refuse};
use crate::clock::Now;
use crate::config::{Config, substituted_env};
use crate::options::WatcherOptions;
use crate::watcher::{BatchId, Operation, Seed, Status, WatcherId, respawn_limit};
use ringmaster_protocol::circus::{self, Errno};
use std::collections::{BTreeMap, BTreeSet};

/// What Circus answers when something fails in the background (spec c.3, errno 6); the reasons are in the log.
const SERVER_ERROR: &str = "server error";

/// A `reloadconfig` under way.
#[derive(Debug)]
pub(super) struct Reconfiguring {
    asker: Asker,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// The shell reads.
    Reading,
    /// Watchers stop, because they hold sockets that change.
    Freeing(Box<Reread>),
    /// The shell binds.
    Binding(Box<Reread>),
    /// Watchers are brought to the file.
    Applying(BatchId),
}

/// The file as it is now.
#[derive(Debug)]
struct Reread {
    config: Config,
    sockets: SocketChange,
    /// Watchers that were stopped for their sockets.
    freed: BTreeSet<WatcherId>,
}

/// What became of the sockets.
#[derive(Debug)]
pub struct Rebound {
    /// Those that are bound now, of those that were to change.
    pub bound: Vec<BoundSocket>,
    /// Why it failed; what was there before is bound again then, as far as possible.
    pub failure: Option<String>,
}

/// What was done, for the log.
#[derive(Debug, Default)]
struct Account {
    unchanged: usize,
    lists: BTreeMap<&'static str, Vec<String>>,
}

impl Account {
    fn note(&mut self, what: &'static str, name: &str) {
        self.lists.entry(what).or_default().push(name.to_owned());
    }
}

impl std::fmt::Display for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} watchers unchanged", self.unchanged)?;
        for (what, names) in &self.lists {
            write!(f, "; {what}: {}", names.join(", "))?;
        }
        Ok(())
    }
}

impl Arbiter {
    /// Whether the file is being read or its sockets are being bound.
    pub(super) fn is_reading(&self) -> bool {
        match self.reconfiguring.as_ref().map(|reconfiguring| &reconfiguring.stage) {
            Some(Stage::Reading | Stage::Freeing(_) | Stage::Binding(_)) => true,
            Some(Stage::Applying(_)) | None => false,
        }
    }

    /// Whether sockets are being bound.
    pub(super) fn is_binding(&self) -> bool {
        matches!(&self.reconfiguring, Some(Reconfiguring { stage: Stage::Binding(_), .. }))
    }

    /// Begins. An earlier one that is still being applied excludes it.
    ///
    /// # Errors
    /// What excludes it.
    pub fn reload_config(&mut self, asker: Asker, effects: &mut Vec<Effect>) -> Result<(), Exclusive> {
        if let Some(exclusive) = self.exclusive() {
            return Err(exclusive);
        }
        if let Some(Reconfiguring { stage: Stage::Applying(batch), .. }) = &self.reconfiguring
            && self.batches.is_open(*batch)
        {
            return Err(Exclusive::Reconfiguring);
        }
        self.reconfiguring = Some(Reconfiguring { asker, stage: Stage::Reading });
        effects.push(Effect::ReadConfig);
        Ok(())
    }

    /// circusd ends: whoever waits is told.
    pub(super) fn drop_reconfiguring(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if self.is_reading()
            && let Some(Reconfiguring { asker, .. }) = self.reconfiguring.take()
        {
            refuse(&asker, now, &Exclusive::Stopping.to_string(), effects);
        }
    }

    /// The shell has read the file.
    pub(super) fn config_read(
        &mut self,
        result: Result<Box<Config>, String>,
        now: Now,
        effects: &mut Vec<Effect>,
        touched: &mut BTreeSet<WatcherId>,
    ) {
        if let Some(restarting) = self.restarting.take() {
            return self.restart_with(restarting, result, now, effects, touched);
        }
        let Some(Reconfiguring { asker, stage: Stage::Reading }) =
            self.reconfiguring.take_if(|reconfiguring| matches!(reconfiguring.stage, Stage::Reading))
        else {
            return;
        };
        let config = match result {
            Ok(config) => config,
            Err(errors) => {
                tracing::error!("reloadconfig changes nothing, because the file has errors:\n{errors}");
                fail(&asker, now, effects);
                return;
            }
        };
        let sockets = SocketChange::between(&self.sockets, &config);
        let freed = self.holders(&sockets);
        for id in &freed {
            if let Some(watcher) = self.watchers.get_mut(id) {
                tracing::info!("{} stops, because its sockets change", watcher.options.name);
                watcher.enqueue(Operation::Stop, None);
                touched.insert(*id);
            }
        }
        let reread = Box::new(Reread { config: *config, sockets, freed });
        self.reconfiguring = Some(Reconfiguring { asker, stage: Stage::Freeing(reread) });
        self.free_sockets(now, effects, touched);
    }

    /// Watchers with processes that hold a socket which changes or goes.
    fn holders(&self, sockets: &SocketChange) -> BTreeSet<WatcherId> {
        let running = self.watchers.values().filter(|watcher| watcher.status != Status::Stopped || watcher.busy());
        let holders = running.filter(|watcher| sockets.disturb(&watcher.options));
        holders.map(|watcher| watcher.id).collect()
    }

    /// Goes on when the watchers that had to stop have stopped.
    pub(super) fn free_sockets(&mut self, now: Now, effects: &mut Vec<Effect>, touched: &mut BTreeSet<WatcherId>) {
        let Some(Reconfiguring { stage: Stage::Freeing(reread), .. }) = &self.reconfiguring else {
            return;
        };
        let stopped = |id: &WatcherId| {
            self.watchers.get(id).is_none_or(|watcher| !watcher.busy() && watcher.processes.is_empty())
        };
        if !reread.freed.iter().all(stopped) {
            return;
        }
        let Some(Reconfiguring { asker, stage: Stage::Freeing(reread) }) = self.reconfiguring.take() else {
            return;
        };
        if reread.sockets.is_empty() {
            self.apply(asker, *reread, now, effects, touched);
            return;
        }
        effects.push(Effect::AwaitConnections(BTreeSet::new()));
        self.awaited.forget_told();
        effects.push(Effect::Rebind(Box::new(reread.sockets.clone())));
        self.reconfiguring = Some(Reconfiguring { asker, stage: Stage::Binding(reread) });
    }

    /// The shell has bound the sockets, or has failed to.
    pub(super) fn rebound(
        &mut self,
        rebound: Rebound,
        now: Now,
        effects: &mut Vec<Effect>,
        touched: &mut BTreeSet<WatcherId>,
    ) {
        let Some(Reconfiguring { asker, stage: Stage::Binding(reread) }) = self.reconfiguring.take() else {
            return;
        };
        self.world.sockets.replace(&reread.sockets.names(), rebound.bound);
        // Those that wait may wait for other sockets now.
        touched.extend(self.watchers.values().filter(|watcher| watcher.options.on_demand).map(|watcher| watcher.id));
        let Some(failure) = rebound.failure else {
            self.sockets.clone_from(&reread.config.sockets);
            self.apply(asker, *reread, now, effects, touched);
            return;
        };
        tracing::error!("reloadconfig changes nothing: {failure}");
        for id in &reread.freed {
            if let Some(watcher) = self.watchers.get_mut(id) {
                watcher.enqueue(Operation::Start, None);
                touched.insert(*id);
            }
        }
        fail(&asker, now, effects);
    }

    /// Brings everything to the file.
    fn apply(
        &mut self,
        asker: Asker,
        reread: Reread,
        now: Now,
        effects: &mut Vec<Effect>,
        touched: &mut BTreeSet<WatcherId>,
    ) {
        let Reread { config, sockets, freed } = reread;
        let mut account = Account::default();
        sockets.describe(|what, name| account.note(what, name));
        self.apply_circus(&config);
        let gone = self.not_in(&config);
        let mut steps = Vec::new();
        for mut options in config.watchers_to_run() {
            options.env = substituted_env(&options, &self.world.environment);
            if let Some((id, operation)) = self.step(options, &freed, &mut account, effects) {
                steps.push((id, operation));
            }
        }
        let priority = |id: &WatcherId| self.watchers.get(id).map(|watcher| watcher.options.priority);
        steps.sort_by_key(|(id, _)| std::cmp::Reverse(priority(id)));
        let batch = self.batches.open(asker, ReplyShape::Plain, gone.len() + steps.len() + 1);
        for id in gone {
            if let Some(watcher) = self.take_out(id, now, effects) {
                account.note("removed", &watcher.options.name);
                effects.push(drop_kept(&watcher.options.name));
                self.depart(watcher, Some(batch), touched);
            }
        }
        self.roll_out(steps, batch);
        self.file = Some(Box::new(config));
        tracing::info!("reloadconfig: {account}");
        self.reconfiguring = Some(Reconfiguring { asker: Asker::nobody(), stage: Stage::Applying(batch) });
        // The one beyond the steps, so that a reload of nothing ends, too.
        self.batches.finish(batch, crate::watcher::Outcome::Done, now, effects);
    }

    /// `[circus]`: what can be changed is, the rest is named.
    fn apply_circus(&mut self, config: &Config) {
        self.options.check_delay = config.circus.check_delay;
        self.options.warmup_delay = config.circus.warmup_delay;
        self.world.check_delay = respawn_limit(config.circus.check_delay);
        for name in circus_differences(&self.options, &config.circus) {
            tracing::warn!("[circus] {name} has changed; that takes effect when circusd starts again");
        }
    }

    /// Watchers that the file does not have, last to start first.
    fn not_in(&self, config: &Config) -> Vec<WatcherId> {
        let names: BTreeSet<String> =
            config.watchers_to_run().iter().map(|options| options.name.to_lowercase()).collect();
        let mut gone = self.by_priority();
        gone.retain(|id| {
            self.watchers.get(id).is_some_and(|watcher| !names.contains(&watcher.options.name.to_lowercase()))
        });
        gone.reverse();
        gone
    }

    /// What has to happen with one watcher of the file.
    fn step(
        &mut self,
        options: WatcherOptions,
        freed: &BTreeSet<WatcherId>,
        account: &mut Account,
        effects: &mut Vec<Effect>,
    ) -> Option<(WatcherId, Operation)> {
        let name = options.name.clone();
        let Some(id) = self.names.get(&name.to_lowercase()).copied() else {
            account.note("new", &name);
            effects.push(drop_kept(&name));
            let autostart = options.autostart;
            let id = self.add(Seed::from_file(options));
            return autostart.then_some((id, Operation::Start));
        };
        let watcher = self.watchers.get_mut(&id)?;
        let verdict = verdict(watcher, &options);
        if !watcher.changes.is_empty() {
            tracing::info!("{name}: back to the file: {}", watcher.changes.keys());
        }
        let running = watcher.status != Status::Stopped || watcher.busy();
        let autostart = options.autostart;
        let (what, operation) = match verdict {
            _ if freed.contains(&id) => ("restarted", Some(Operation::Start)),
            Verdict::Same => {
                account.unchanged += 1;
                watcher.redefine(options, effects);
                return None;
            }
            Verdict::Adjust => ("adjusted", Some(Operation::Resize)),
            Verdict::Refresh => ("reloaded", Some(Operation::Refresh)),
            // The old processes are stopped as the old options say.
            Verdict::Restart if running => {
                account.note("restarted", &name);
                return Some((id, Operation::Redefine(Box::new(options))));
            }
            Verdict::Restart => ("changed", autostart.then_some(Operation::Start)),
        };
        account.note(what, &name);
        watcher.redefine(options, effects);
        operation.map(|operation| (id, operation))
    }

    /// Queues the steps behind what is starting already.
    fn roll_out(&mut self, steps: Vec<(WatcherId, Operation)>, batch: BatchId) {
        match &mut self.phase {
            Phase::Booting(boot) => boot.extend(steps, batch),
            Phase::Serving => {
                let mut boot = super::boot::Boot::default();
                boot.extend(steps, batch);
                self.phase = Phase::Booting(boot);
            }
            Phase::Ending(_) | Phase::Ended(_) => {}
        }
    }
}

fn fail(asker: &Asker, now: Now, effects: &mut Vec<Effect>) {
    if let Some(client) = asker.client {
        let payload = circus::error(&asker.id, now.wall, Errno::BadMessageData, SERVER_ERROR, None);
        effects.push(Effect::Reply { client, payload, timing: asker.timing });
    }
}
