//! `FileStream`: appends to a file, with rotation by size and an optional time prefix (spec h). The settings of a file are here
//! for all classes that write one.

use super::compression::Format;
use super::render::Look;
use super::retention::Retention;
use super::rotation::Rotation;
use super::settings::{SettingRow, Settings, StreamError};
use super::sink::{Fsync, Moves, Upkeep};
use super::time_format::TimeFormat;
use super::{StreamClassRow, StreamSetup, Target};
use std::path::PathBuf;
use std::time::Duration;

/// Seconds of a day.
const DAY: u64 = 24 * 60 * 60;

pub(super) const FILENAME: SettingRow = SettingRow {
    key: "filename",
    expected: "the path of a file",
    default: "a new file in the directory for temporary files",
};

pub(super) const MAX_BYTES: SettingRow =
    SettingRow { key: "max_bytes", expected: "a whole number of bytes, 0 for no rotation", default: "0" };

pub(super) const BACKUP_COUNT: SettingRow = SettingRow {
    key: "backup_count",
    expected: "a whole number of old files to keep",
    default: "0: the file is reopened at max_bytes and grows on",
};

pub(super) const TIME_FORMAT: SettingRow =
    SettingRow { key: "time_format", expected: "a strftime pattern such as %Y-%m-%d %H:%M:%S", default: "no prefix" };

pub(super) const FSYNC: SettingRow = SettingRow {
    key: "fsync",
    expected: "never, interval (within a second of each write) or rotate (before a file is moved away)",
    default: "never",
};

pub(super) const COMPRESS: SettingRow = SettingRow { key: "compress", expected: "gzip, zstd or none", default: "none" };

pub(super) const MAX_AGE: SettingRow = SettingRow {
    key: "max_age",
    expected: "a whole number of days after which an old file is removed, 0 for never",
    default: "0",
};

pub(super) const MAX_TOTAL_BYTES: SettingRow = SettingRow {
    key: "max_total_bytes",
    expected: "a whole number of bytes for all old files together, 0 for any",
    default: "0",
};

pub(super) const ROW: StreamClassRow = StreamClassRow {
    name: "FileStream",
    summary: "Appends to a file; rotates it by size; puts the time before each line.",
    settings: &[FILENAME, MAX_BYTES, BACKUP_COUNT, TIME_FORMAT, COMPRESS, MAX_AGE, MAX_TOTAL_BYTES, FSYNC],
    note: None,
    build,
};

fn build(settings: &Settings<'_>) -> Result<StreamSetup, StreamError> {
    Ok(StreamSetup { target: sized_file(settings)?, look: time_prefix(settings)? })
}

/// A file that is rotated by size, if at all.
pub(super) fn sized_file(settings: &Settings<'_>) -> Result<Target, StreamError> {
    let backup_count = count_of_backups(settings, &BACKUP_COUNT)?;
    let rotation = match settings.count(&MAX_BYTES)? {
        0 => Rotation::Never,
        max_bytes => Rotation::BySize { max_bytes, backup_count },
    };
    file(settings, rotation, Moves::Told)
}

/// The file of `filename`.
pub(super) fn file(settings: &Settings<'_>, rotation: Rotation, moves: Moves) -> Result<Target, StreamError> {
    let path = settings.text(&FILENAME).map(PathBuf::from);
    if path.as_ref().is_some_and(|path| path.file_name().is_none()) {
        return Err(settings.bad(&FILENAME, FILENAME.expected));
    }
    let upkeep = Upkeep { rotation, moves, retention: retention(settings)?, fsync: fsync(settings)? };
    Ok(Target::File { path, upkeep })
}

fn retention(settings: &Settings<'_>) -> Result<Retention, StreamError> {
    let some = |count: u64| (count > 0).then_some(count);
    let compress = match settings.text(&COMPRESS) {
        None | Some("" | "none") => None,
        Some(word) => Some(Format::of_word(word).ok_or_else(|| settings.bad(&COMPRESS, COMPRESS.expected))?),
    };
    Ok(Retention {
        max_age: some(settings.count(&MAX_AGE)?).map(|days| Duration::from_secs(days.saturating_mul(DAY))),
        max_total_bytes: some(settings.count(&MAX_TOTAL_BYTES)?),
        compress,
    })
}

fn fsync(settings: &Settings<'_>) -> Result<Fsync, StreamError> {
    match settings.text(&FSYNC) {
        None | Some("never") => Ok(Fsync::Never),
        Some("interval") => Ok(Fsync::Interval),
        Some("rotate") => Ok(Fsync::Rotate),
        Some(_) => Err(settings.bad(&FSYNC, FSYNC.expected)),
    }
}

/// `backup_count`; more than 32 bits hold is as good as all.
pub(super) fn count_of_backups(settings: &Settings<'_>, row: &SettingRow) -> Result<u32, StreamError> {
    Ok(u32::try_from(settings.count(row)?).unwrap_or(u32::MAX))
}

/// The look that `time_format` asks for.
pub(super) fn time_prefix(settings: &Settings<'_>) -> Result<Look, StreamError> {
    match settings.text(&TIME_FORMAT) {
        None | Some("") => Ok(Look::Raw),
        Some(pattern) => time_format(settings, pattern).map(Look::Prefixed),
    }
}

/// A pattern given as `time_format`.
pub(super) fn time_format(settings: &Settings<'_>, pattern: &str) -> Result<TimeFormat, StreamError> {
    TimeFormat::new(pattern).map_err(|error| settings.bad(&TIME_FORMAT, &format!("{} ({error})", TIME_FORMAT.expected)))
}
