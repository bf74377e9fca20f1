//! What is done for a file besides writing it: old files are removed or compressed, written ones put on the disk.

use super::{Fsync, Kind, Nature, Sink};
use crate::streams::compression::Format;
use crate::streams::moment::Moment;
use crate::streams::retention::{Compressing, clean};
use jiff::Timestamp;
use std::fs::File;
use std::time::{Duration, Instant};

/// How long [`Fsync::Interval`] lets written bytes wait: what the death of the machine may cost.
const SYNC_AFTER: Duration = Duration::from_secs(1);

impl Sink {
    /// Looks after old files; at the start and after each rotation.
    pub(in crate::streams) fn tidy(&mut self, now: Timestamp) {
        let Kind::File { path, upkeep } = &self.kind else {
            return;
        };
        if self.file.is_some() && self.nature == Nature::Other {
            return;
        }
        if let Err(error) = clean(path, &upkeep.rotation, &upkeep.retention, now) {
            self.rotated = Some(Err(error));
        }
        self.to_compress = upkeep.retention.compress.is_some();
    }

    /// Whether [`Self::compress`] has something to do. Not while the rest of a batch is owed: its beginning may be in a file that was
    /// moved away, and whoever comes after a kill looks for that very file.
    pub(in crate::streams) fn wants_compression(&self) -> bool {
        self.to_compress && self.owed.is_none()
    }

    /// One step of the compression of old files.
    pub(in crate::streams) fn compress(&mut self) {
        let (Kind::File { path, upkeep }, Some(format)) = (&self.kind, self.format()) else {
            (self.compressing, self.to_compress) = (None, false);
            return;
        };
        let rotation = &upkeep.rotation;
        let stepped = match &mut self.compressing {
            Some(compressing) => {
                compressing.step(rotation).map(|more| if more { self.compressing.take() } else { None })
            }
            None => Compressing::begin(path, rotation, format).inspect(|begun| self.to_compress = begun.is_some()),
        };
        match stepped {
            Ok(compressing) => self.compressing = compressing,
            Err(error) => {
                // Tried again after the next rotation.
                (self.compressing, self.to_compress) = (None, false);
                self.rotated = Some(Err(error));
            }
        }
    }

    /// How its old files are compressed.
    fn format(&self) -> Option<Format> {
        match &self.kind {
            Kind::File { upkeep, .. } => upkeep.retention.compress,
            Kind::Inherited { .. } | Kind::Socket { .. } | Kind::Python { .. } | Kind::Gone => None,
        }
    }

    /// Something was written.
    pub(in crate::streams) fn note_write(&mut self, now: Moment) {
        if let Kind::File { upkeep, .. } = &self.kind
            && upkeep.fsync == Fsync::Interval
        {
            self.dirty_since.get_or_insert(now.steady);
        }
    }

    /// When written bytes are to be put on the disk.
    pub(in crate::streams) fn sync_at(&self) -> Option<Instant> {
        self.dirty_since.map(|since| since + SYNC_AFTER)
    }

    /// Puts what is written on the disk; an error is given once.
    pub(in crate::streams) fn sync(&mut self) -> std::io::Result<()> {
        self.dirty_since = None;
        let synced = self.file.as_ref().map_or(Ok(()), File::sync_data);
        let told = std::mem::replace(&mut self.told_of.sync, synced.is_err());
        if told { Ok(()) } else { synced }
    }

    /// The file is about to be moved away: it and the names in its directory.
    pub(super) fn sync_before_rotation(&self) -> std::io::Result<()> {
        let Kind::File { path, upkeep } = &self.kind else {
            return Ok(());
        };
        if upkeep.fsync == Fsync::Never {
            return Ok(());
        }
        self.file.as_ref().map_or(Ok(()), File::sync_data)?;
        path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
    }
}
