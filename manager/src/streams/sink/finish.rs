//! A batch that an earlier circusd may not have finished: how much of it is in its file?

use super::{Kind, Sink, identity};
use crate::streams::journal::{Identity, Unfinished};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Bytes compared at once.
const PIECE: usize = 64 << 10;

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::streams) enum Found {
    /// So many bytes of the batch are written, the rest is not.
    Written(usize),
    /// It cannot be told, because somebody else has changed the file at the same time; so many bytes certainly are. The
    /// rest may be in the file already.
    Unclear(usize),
}

impl Sink {
    /// Looks for a batch in its file, wherever that lies after a rotation. The file at the path is open.
    pub(in crate::streams) fn inspect(
        &mut self,
        unfinished: &Unfinished,
        deadline: Option<i64>,
    ) -> std::io::Result<Found> {
        let Kind::File { path, .. } = &self.kind else {
            return Ok(Found::Unclear(0));
        };
        let skipped = usize::try_from(unfinished.place.skipped).unwrap_or(0);
        let wanted = unfinished.bytes.get(skipped..).unwrap_or_default();
        if self.identity == Some(unfinished.place.file) {
            let found = self.file.as_ref().map(|file| written_of(file, unfinished.place.position, wanted));
            self.take_up_deadline(deadline);
            return found.unwrap_or(Ok(Found::Unclear(0))).map(|found| found.plus(skipped));
        }
        match moved_to(path, unfinished.place.file)? {
            Some(file) => Ok(written_of(&file, unfinished.place.position, wanted)?.plus(skipped)),
            // The file is gone with all that was in it.
            None => Ok(Found::Written(skipped)),
        }
    }
}

impl Found {
    fn plus(self, skipped: usize) -> Self {
        match self {
            Self::Written(bytes) => Self::Written(bytes + skipped),
            Self::Unclear(bytes) => Self::Unclear(bytes + skipped),
        }
    }
}

/// How much of `wanted` is in `file` from `position` on.
fn written_of(file: &File, position: u64, wanted: &[u8]) -> std::io::Result<Found> {
    let size = file.metadata()?.len();
    let Some(grown) = size.checked_sub(position) else {
        // Truncated since.
        return Ok(Found::Unclear(0));
    };
    let length = usize::try_from(grown).unwrap_or(usize::MAX).min(wanted.len());
    if equal(file, position, wanted.get(..length).unwrap_or(wanted))? {
        return Ok(Found::Written(length));
    }
    // Somebody else's bytes may have come between the look at the file and the write.
    let from_end = u64::try_from(wanted.len()).ok().and_then(|length| size.checked_sub(length));
    match from_end.filter(|at| *at >= position) {
        Some(at) if equal(file, at, wanted)? => Ok(Found::Written(wanted.len())),
        Some(_) | None => Ok(Found::Unclear(0)),
    }
}

fn equal(file: &File, position: u64, wanted: &[u8]) -> std::io::Result<bool> {
    let mut buffer = vec![0; PIECE.min(wanted.len())];
    let mut at = position;
    for piece in wanted.chunks(PIECE) {
        let read = buffer.get_mut(..piece.len()).unwrap_or_default();
        file.read_exact_at(read, at)?;
        if read != piece {
            return Ok(false);
        }
        at += u64::try_from(piece.len()).unwrap_or(0);
    }
    Ok(true)
}

/// The file `wanted` under a name that a rotation has given it: beside `path`, beginning with its name.
fn moved_to(path: &Path, wanted: Identity) -> std::io::Result<Option<File>> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Ok(None);
    };
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let ours = entry.file_name().as_encoded_bytes().starts_with(name.as_encoded_bytes());
        if ours && std::fs::metadata(entry.path()).is_ok_and(|found| identity(&found) == wanted) {
            return File::open(entry.path()).map(Some);
        }
    }
    Ok(None)
}
