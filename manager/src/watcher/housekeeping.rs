//! What an active watcher does by itself when no operation is under way: replace processes that ended or grew too old,
//! stop surplus ones, and stop altogether when nothing is left and nothing is to be replaced (spec f.5).

use super::{Status, Turn, Watcher};
use crate::process::{Cause, Wid};
use std::time::Duration;

impl Watcher {
    pub(super) fn keep_house(&mut self, turn: &mut Turn<'_>) {
        if self.status != Status::Active {
            return;
        }
        self.expire(turn);
        if self.processes.wanted_count() > usize::try_from(self.options.numprocesses).unwrap_or(usize::MAX) {
            self.stop_surplus(turn);
        }
        if self.options.on_demand && self.processes.is_empty() {
            self.wait_again(turn);
        } else if self.options.respawn {
            self.respawn(turn);
        } else if self.processes.is_empty() {
            self.enqueue(super::Operation::Stop, None);
        }
    }

    /// Replaces what has ended, at once or after its pause. Those that are being stopped are replaced when they are gone.
    fn respawn(&mut self, turn: &mut Turn<'_>) {
        while self.vacancies() > 0 && self.processes.may_ask() && self.processes.pause(turn.now.mono).is_none() {
            if !self.retries_left() {
                self.give_up();
                return;
            }
            self.spawn_one(Cause::Replacement, turn);
        }
    }

    fn vacancies(&self) -> usize {
        usize::try_from(self.options.numprocesses).unwrap_or(usize::MAX).saturating_sub(self.processes.len())
    }

    /// `max_retry` spawns in a row have failed: the watcher stops, as Circus's does.
    fn give_up(&mut self) {
        tracing::error!("{} cannot be started again", self.options.name);
        self.processes.forgive();
        self.enqueue(super::Operation::Stop, None);
    }

    fn expire(&mut self, turn: &mut Turn<'_>) {
        let due = |expires: Option<Duration>| expires.is_some_and(|at| at <= turn.now.mono);
        let old: Vec<Wid> = self
            .processes
            .all
            .aging()
            .filter(|process| process.running().is_some_and(|started| due(started.expires)))
            .map(|process| process.wid)
            .collect();
        for wid in old {
            self.stop_process(wid, turn);
        }
    }

    pub(super) fn housekeeping_deadline(&self) -> Option<Duration> {
        if self.status != Status::Active {
            return None;
        }
        let expiry = self
            .processes
            .all
            .aging()
            .filter_map(|process| process.running().and_then(|started| started.expires))
            .min();
        // While as many are asked for as may be, it is an answer that is waited for.
        let waits = self.options.respawn && self.vacancies() > 0 && self.processes.may_ask();
        let respawn = if waits { self.processes.pause(Duration::ZERO) } else { None };
        [expiry, respawn].into_iter().flatten().min()
    }
}
