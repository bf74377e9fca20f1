//! Old files of a log: which there are, which are too old or too many, and which is compressed next ([`super::compression`] has
//! the formats).
//!
//! The names of old files change only here and in [`super::rotation`] and [`super::schedule`], all on the scribe's thread; so
//! compression goes on step by step between two batches, and a rotation in the meantime does it no harm.

use super::compression::{Encoder, Format, names, plain_name};
use super::failpoint::{self, Failpoint};
use super::journal::Identity;
use super::rotation::Rotation;
use jiff::Timestamp;
use std::ffi::OsString;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Bytes compressed at once: about a millisecond, so that no log waits longer for it.
const STEP: usize = 64 << 10;

/// What is kept of old files, besides their number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Retention {
    /// Since their last change; `None`: for ever.
    pub(super) max_age: Option<Duration>,
    /// Of all old files together; `None`: any number.
    pub(super) max_total_bytes: Option<u64>,
    /// How old files are compressed; `None`: not at all.
    pub(super) compress: Option<Format>,
}

/// One old file.
#[derive(Debug)]
struct Old {
    path: PathBuf,
    compressed: bool,
    size: u64,
    modified: SystemTime,
    identity: Identity,
}

/// `path` with something appended to its name.
pub(super) fn with(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

/// The old files of `path`, the youngest first.
fn old_files(path: &Path, rotation: &Rotation) -> std::io::Result<Vec<Old>> {
    let (Some(name), Some(directory)) = (path.file_name(), path.parent()) else {
        return Ok(Vec::new());
    };
    let prefix = format!("{}.", name.to_string_lossy());
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(suffix) = name.strip_prefix(&prefix) else {
            continue;
        };
        let (plain, format) = plain_name(suffix);
        let Some(order) = rotation.order(plain) else {
            continue;
        };
        let metadata = entry.metadata()?;
        if metadata.is_file() {
            let identity = Identity { device: metadata.dev(), inode: metadata.ino() };
            let (size, modified) = (metadata.len(), metadata.modified()?);
            let path = entry.path();
            found.push((order, Old { path, compressed: format.is_some(), size, modified, identity }));
        }
    }
    found.sort_by(|(one, _), (other, _)| other.cmp(one));
    Ok(found.into_iter().map(|(_, old)| old).collect())
}

/// Removes what is too old or too much, and what a killed circusd has left of a compression.
pub(super) fn clean(path: &Path, rotation: &Rotation, retention: &Retention, now: Timestamp) -> std::io::Result<()> {
    if *retention == Retention::default() {
        return Ok(());
    }
    let now = SystemTime::from(now);
    let mut total = 0_u64;
    for old in old_files(path, rotation)? {
        total = total.saturating_add(old.size);
        let age = now.duration_since(old.modified).unwrap_or_default();
        let too_old = retention.max_age.is_some_and(|max| age > max);
        let too_much = retention.max_total_bytes.is_some_and(|max| total > max);
        // A complete compressed file beside its plain one: killed between the two last steps.
        let twice = !old.compressed && names(&old.path).skip(1).any(|name| name.exists());
        if too_old || too_much || twice {
            std::fs::remove_file(&old.path)?;
        }
    }
    Ok(())
}

/// A compression under way.
#[derive(Debug)]
pub(super) struct Compressing {
    path: PathBuf,
    source: File,
    identity: Identity,
    format: Format,
    encoder: Encoder,
    modified: SystemTime,
}

impl Compressing {
    /// Begins with the oldest old file of `path` that is not compressed yet; `None`: there is none.
    pub(super) fn begin(path: &Path, rotation: &Rotation, format: Format) -> std::io::Result<Option<Self>> {
        let Some(old) = old_files(path, rotation)?.into_iter().rfind(|old| !old.compressed) else {
            return Ok(None);
        };
        let source = File::open(&old.path)?;
        // What a killed circusd has left, maybe with another setting.
        for left in Format::ALL {
            match std::fs::remove_file(left.unfinished(path)) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        let target = File::options().write(true).create_new(true).open(format.unfinished(path))?;
        let metadata = source.metadata()?;
        // As root: the owner is that of the plain file, too. Others cannot give files away, and need not.
        let _ = std::os::unix::fs::fchown(&target, Some(metadata.uid()), Some(metadata.gid()));
        target.set_permissions(std::fs::Permissions::from_mode(metadata.mode() & 0o777))?;
        let encoder = Encoder::new(format, target)?;
        let (identity, modified) = (old.identity, old.modified);
        Ok(Some(Self { path: path.to_owned(), source, identity, format, encoder, modified }))
    }

    /// Goes on; `false`: it is done, and the plain file is replaced.
    pub(super) fn step(&mut self, rotation: &Rotation) -> std::io::Result<bool> {
        let mut buffer = vec![0; STEP];
        let count = self.source.read(&mut buffer)?;
        failpoint::hit(Failpoint::Compress);
        if count > 0 {
            self.encoder.write_all(buffer.get(..count).unwrap_or_default())?;
            return Ok(true);
        }
        let target = self.encoder.finish()?;
        target.set_modified(self.modified)?;
        target.sync_data()?;
        let files = old_files(&self.path, rotation)?;
        match files.into_iter().find(|old| old.identity == self.identity) {
            Some(old) => {
                std::fs::rename(self.format.unfinished(&self.path), self.format.name(&old.path))?;
                failpoint::hit(Failpoint::Compressed);
                std::fs::remove_file(&old.path)?;
            }
            // Dropped by a rotation meanwhile.
            None => std::fs::remove_file(self.format.unfinished(&self.path))?,
        }
        Ok(false)
    }
}
