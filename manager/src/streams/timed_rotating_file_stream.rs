//! `TimedRotatingFileStream`: appends to a file and moves it away at the first write after a deadline (spec h). No timer.

use super::file_stream::{
    COMPRESS, FILENAME, FSYNC, MAX_AGE, MAX_TOTAL_BYTES, TIME_FORMAT, count_of_backups, file, time_prefix,
};
use super::rotation::Rotation;
use super::schedule::{Schedule, Unit};
use super::settings::{SettingRow, Settings, StreamError};
use super::sink::Moves;
use super::{StreamClassRow, StreamSetup};
use crate::options::python;
use jiff::tz::TimeZone;

const ROTATE_WHEN: SettingRow = SettingRow {
    key: "rotate_when",
    expected: "S, M, H, D, MIDNIGHT or a day from W0 (Monday) to W6",
    default: "none: it is required",
};

const ROTATE_INTERVAL: SettingRow =
    SettingRow { key: "rotate_interval", expected: "a whole number of at least 1", default: "1" };

const UTC: SettingRow =
    SettingRow { key: "utc", expected: "any text but an empty one, no, false, off or 0", default: "local time" };

const BACKUP_COUNT: SettingRow =
    SettingRow { key: "backup_count", expected: "a whole number of old files to keep", default: "0: all are kept" };

pub(super) const ROW: StreamClassRow = StreamClassRow {
    name: "TimedRotatingFileStream",
    summary: "Appends to a file; moves it away by the clock; puts the time before each line.",
    settings: &[
        FILENAME,
        ROTATE_WHEN,
        ROTATE_INTERVAL,
        BACKUP_COUNT,
        UTC,
        TIME_FORMAT,
        COMPRESS,
        MAX_AGE,
        MAX_TOTAL_BYTES,
        FSYNC,
    ],
    note: None,
    build,
};

fn build(settings: &Settings<'_>) -> Result<StreamSetup, StreamError> {
    let unit = Unit::parse(settings.text(&ROTATE_WHEN).unwrap_or_default())
        .ok_or_else(|| settings.bad(&ROTATE_WHEN, ROTATE_WHEN.expected))?;
    let interval = match settings.text(&ROTATE_INTERVAL) {
        None => 1,
        Some(_) => u32::try_from(settings.count(&ROTATE_INTERVAL)?).unwrap_or(u32::MAX),
    };
    if interval == 0 {
        return Err(settings.bad(&ROTATE_INTERVAL, ROTATE_INTERVAL.expected));
    }
    // In Circus "False" is a text like any other, and true.
    let utc = settings.text(&UTC).is_some_and(|text| !text.is_empty() && python::to_bool(text) != Some(false));
    let rotation = Rotation::ByTime(Schedule {
        unit,
        interval,
        backup_count: count_of_backups(settings, &BACKUP_COUNT)?,
        zone: if utc { TimeZone::UTC } else { crate::time_zone::local() },
    });
    Ok(StreamSetup { target: file(settings, rotation, Moves::Told)?, look: time_prefix(settings)? })
}
