//! Appending a batch: rotation where it is due, and an entry in the journal before the first byte of each file.

use super::{Failure, Kind, Nature, Sink, is_full};
use crate::streams::compose::Commit;
use crate::streams::failpoint::{self, Failpoint};
use crate::streams::journal::{Batch, Journal, Place};
use crate::streams::report::Action;
use crate::streams::rotation::{Rotation, cut, finish_line, shift};
use crate::streams::schedule::{keep, move_away};
use jiff::Timestamp;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::{Error, ErrorKind, Write};

/// What the journal has to know of a batch.
#[derive(Debug)]
pub(in crate::streams) struct Ledger<'a> {
    pub(in crate::streams) journal: &'a mut Journal,
    pub(in crate::streams) commit: &'a Commit,
    pub(in crate::streams) batch: &'a mut Batch,
    /// Bytes of the batch that are written already.
    pub(in crate::streams) done: u64,
}

impl Sink {
    /// Appends all of `bytes`, the rest of the batch of `ledger`, rotating where it is due.
    pub(in crate::streams) fn append(
        &mut self,
        bytes: &[u8],
        ledger: &mut Ledger<'_>,
        now: Timestamp,
    ) -> Result<(), Failure> {
        if self.is_gone() {
            return Ok(());
        }
        let mut written = 0;
        let mut may_rotate = true;
        let mut placed = None;
        while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
            self.open().map_err(|failure| Failure { written, ..failure })?;
            let length = self.next_length(rest, may_rotate, now);
            if length == 0 {
                may_rotate = self.rotate(now);
                continue;
            }
            if self.is_exact() && placed != self.identity {
                failpoint::hit(Failpoint::AfterOpen);
                let noted = self.note(ledger, written, now);
                noted.map_err(|error| Failure { written, action: Action::Note, error })?;
                placed = self.identity;
            }
            let piece = rest.get(..length).unwrap_or(rest);
            let length = if self.is_exact() { failpoint::shorten(length) } else { length };
            let piece = piece.get(..length).unwrap_or(piece);
            match self.write_once(piece) {
                Ok(taken) => {
                    failpoint::hit(Failpoint::AfterWrite);
                    written += taken;
                    self.size += u64::try_from(taken).unwrap_or(0);
                    self.line_start = taken.checked_sub(1).and_then(|last| piece.get(last)) == Some(&b'\n');
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    if matches!(self.kind, Kind::Inherited { .. }) && !is_full(&error) {
                        self.kind = Kind::Gone;
                    }
                    return Err(Failure { written, action: Action::Write, error });
                }
            }
        }
        Ok(())
    }

    /// Tells the journal where the rest of a batch will lie.
    fn note(&self, ledger: &mut Ledger<'_>, written: usize, now: Timestamp) -> std::io::Result<()> {
        let place = Place {
            file: self.identity.unwrap_or_default(),
            position: self.size,
            skipped: ledger.done + u64::try_from(written).unwrap_or(0),
        };
        let deadline = self.deadline.map(Timestamp::as_second);
        let at_ns = u64::try_from(now.as_nanosecond()).unwrap_or(0);
        ledger.journal.place(ledger.batch, ledger.commit, place, (deadline, at_ns))
    }

    /// How many bytes of `rest` go out next; 0: rotate first.
    fn next_length(&mut self, rest: &[u8], may_rotate: bool, now: Timestamp) -> usize {
        let rotation = match &self.kind {
            // A device, a pipe, or what /dev calls our stdout is not ours to move away.
            Kind::File { upkeep, .. } if may_rotate && self.nature == Nature::Regular => &upkeep.rotation,
            Kind::File { .. }
            | Kind::Socket { .. }
            | Kind::Inherited { piece: None }
            | Kind::Python { .. }
            | Kind::Gone => return rest.len(),
            Kind::Inherited { piece: Some(piece) } => return rest.len().min(*piece),
        };
        match rotation {
            Rotation::Never => rest.len(),
            Rotation::BySize { max_bytes, backup_count: 0 } => {
                let length = u64::try_from(rest.len()).unwrap_or(u64::MAX);
                if self.size.saturating_add(length) >= *max_bytes { 0 } else { rest.len() }
            }
            Rotation::BySize { max_bytes, .. } => cut(rest, self.size, *max_bytes, self.line_start),
            Rotation::ByTime(schedule) => {
                // An empty file holds nothing of its interval: that begins now.
                let deadline = self.deadline.filter(|at| self.size > 0 || *at > now);
                let deadline = *self.deadline.insert(deadline.unwrap_or_else(|| schedule.deadline(now)));
                if now < deadline { rest.len() } else { finish_line(rest, self.line_start) }
            }
        }
    }

    /// Moves the file away, to be opened anew. `false`: not once more in this append, because nothing was moved.
    fn rotate(&mut self, now: Timestamp) -> bool {
        let Kind::File { path, upkeep } = &self.kind else {
            return false;
        };
        let synced = self.sync_before_rotation();
        let outcome = match &upkeep.rotation {
            Rotation::Never | Rotation::BySize { backup_count: 0, .. } => {
                self.file = None;
                return false;
            }
            Rotation::BySize { backup_count, .. } => shift(path, *backup_count),
            Rotation::ByTime(schedule) => {
                let stamp = self.deadline.map(|deadline| schedule.stamp(deadline));
                move_away(path, &stamp.unwrap_or_default())
            }
        };
        let moved = outcome.is_ok();
        self.rotated = Some(outcome.and(synced));
        if moved {
            self.rotations = self.rotations.saturating_add(1);
            if let Rotation::ByTime(schedule) = &upkeep.rotation
                && let Err(error) = keep(path, schedule)
            {
                self.rotated = Some(Err(error));
            }
            (self.file, self.deadline) = (None, None);
            self.tidy(now);
        }
        moved
    }

    fn write_once(&self, piece: &[u8]) -> std::io::Result<usize> {
        if let Kind::Socket { socket: Some(socket), .. } = &self.kind {
            return socket.send_first(piece);
        }
        #[cfg(test)]
        let piece =
            match self.full_at.map(|limit| usize::try_from(limit.saturating_sub(self.size)).unwrap_or(usize::MAX)) {
                Some(0) => return Err(rustix::io::Errno::NOSPC.into()),
                Some(room) => piece.get(..room).unwrap_or(piece),
                None => piece,
            };
        let Some(mut file) = self.file.as_ref() else {
            return Err(Error::from(ErrorKind::NotFound));
        };
        if let Kind::Inherited { piece: Some(_) } = self.kind {
            let mut waiting = [PollFd::new(file, PollFlags::OUT)];
            if poll(&mut waiting, Some(&Timespec::default()))? == 0 {
                return Err(Error::from(ErrorKind::WouldBlock));
            }
        }
        match file.write(piece) {
            Ok(0) => Err(Error::from(ErrorKind::WriteZero)),
            outcome => outcome,
        }
    }
}
