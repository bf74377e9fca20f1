//! Rotation by time: when a file ends, and the names of old files (spec h, and the behaviour of Circus 0.19 seen from outside).
//!
//! Pure but for [`keep`] and [`move_away`]. Unlike Circus: midnight is the local midnight also on days of 23 or 25 hours; `W<n>`
//! is always the end of the next such day, today's included (Circus rotates at once when it is started later in the week);
//! an old file of the same name is never overwritten (Circus deletes it); an empty file is not rotated.

use super::compression::{names, plain_name};
use super::failpoint::{self, Failpoint};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Span, Timestamp, Zoned};
use std::ffi::OsString;
use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};

/// How many old files may want the same name: two in a night on which the clock goes back, a few after steps of the clock.
const SAME_NAME: u32 = 100;

/// What an interval is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Second,
    Minute,
    Hour,
    /// 24 hours from the last rotation.
    Day,
    /// Ends at each midnight; the interval only moves the date in the name (as in Circus).
    Midnight,
    /// Ends with that day of each week, 0 for Monday; the interval only moves the date in the name (as in Circus).
    Weekday(i8),
}

impl Unit {
    /// From `rotate_when`, in any case.
    pub(super) fn parse(text: &str) -> Option<Self> {
        match text.trim().to_ascii_uppercase().as_bytes() {
            b"S" => Some(Self::Second),
            b"M" => Some(Self::Minute),
            b"H" => Some(Self::Hour),
            b"D" => Some(Self::Day),
            b"MIDNIGHT" => Some(Self::Midnight),
            [b'W', day @ b'0'..=b'6'] => Some(Self::Weekday((day - b'0').cast_signed())),
            _ => None,
        }
    }

    fn seconds(self) -> i64 {
        match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 3600,
            Self::Day | Self::Midnight => 86_400,
            Self::Weekday(_) => 7 * 86_400,
        }
    }

    /// The date in the name of an old file (spec h).
    fn pattern(self) -> &'static str {
        match self {
            Self::Second => "%Y%m%d%H%M%S",
            Self::Minute => "%Y%m%d%H%M",
            Self::Hour => "%Y%m%d%H",
            Self::Day | Self::Midnight | Self::Weekday(_) => "%Y%m%d",
        }
    }

    /// Digits of that date.
    fn digits(self) -> usize {
        match self {
            Self::Second => 14,
            Self::Minute => 12,
            Self::Hour => 10,
            Self::Day | Self::Midnight | Self::Weekday(_) => 8,
        }
    }
}

/// When a file ends and what is kept of the old ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Schedule {
    pub(super) unit: Unit,
    /// Units in an interval; at least 1.
    pub(super) interval: u32,
    /// Old files that are kept; 0: all.
    pub(super) backup_count: u32,
    /// Whose midnights and dates.
    pub(super) zone: TimeZone,
}

impl Schedule {
    /// The end of an interval that begins at `from`.
    pub(super) fn deadline(&self, from: Timestamp) -> Timestamp {
        let whole = Timestamp::from_second(from.as_second()).unwrap_or(from);
        let days = match self.unit {
            Unit::Second | Unit::Minute | Unit::Hour | Unit::Day => None,
            Unit::Midnight => Some(1),
            Unit::Weekday(day) => {
                let today = whole.to_zoned(self.zone.clone()).weekday().to_monday_zero_offset();
                Some((day - today).rem_euclid(7) + 1)
            }
        };
        let later = || whole.checked_add(self.length()).unwrap_or(Timestamp::MAX);
        days.map_or_else(later, |days| self.midnight(whole, days).unwrap_or_else(later))
    }

    fn length(&self) -> SignedDuration {
        SignedDuration::from_secs(self.unit.seconds().saturating_mul(i64::from(self.interval)))
    }

    /// The beginning of the day so many days after that of `from`; `None` beyond year 9999.
    fn midnight(&self, from: Timestamp, days: i8) -> Option<Timestamp> {
        let day = from.to_zoned(self.zone.clone());
        let day: Zoned = day.checked_add(Span::new().days(days)).ok()?;
        Some(day.start_of_day().ok()?.timestamp())
    }

    /// What is put after the name of a file whose interval ended at `deadline`: when the interval began.
    pub(super) fn stamp(&self, deadline: Timestamp) -> String {
        let end = deadline.to_zoned(self.zone.clone());
        let begin = match self.unit {
            Unit::Second | Unit::Minute | Unit::Hour => end.checked_sub(self.length()),
            Unit::Day | Unit::Midnight | Unit::Weekday(_) => {
                let days = self.unit.seconds() / 86_400 * i64::from(self.interval);
                // A span holds no more than about 20,000 years.
                Span::new().try_days(days).and_then(|span| end.checked_sub(span))
            }
        };
        begin.unwrap_or(end).strftime(self.unit.pattern()).to_string()
    }

    /// The order of an old file, by what follows the name and its dot; `None`: none of ours.
    pub(super) fn order<'a>(&self, suffix: &'a str) -> Option<(&'a str, u32)> {
        let (date, number) = match suffix.split_once('.') {
            Some((date, number)) => (date, number.parse().ok()?),
            None => (suffix, 0),
        };
        let all_digits = date.bytes().all(|byte| byte.is_ascii_digit());
        (all_digits && date.len() == self.unit.digits()).then_some((date, number))
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".");
    name.push(suffix);
    PathBuf::from(name)
}

/// Moves `path` to the name of an old file, or to that name with `.1`, `.2` … when it is taken.
pub(super) fn move_away(path: &Path, stamp: &str) -> std::io::Result<()> {
    let plain = std::iter::once(stamp.to_owned());
    let numbered = (1..SAME_NAME).map(|number| format!("{stamp}.{number}"));
    let free = plain
        .chain(numbered)
        .map(|suffix| beside(path, &suffix))
        .find(|name| names(name).all(|name| name.symlink_metadata().is_err()));
    let Some(free) = free else {
        return Err(Error::new(ErrorKind::AlreadyExists, format!("there are {SAME_NAME} old files of {stamp}")));
    };
    failpoint::hit(Failpoint::Rename);
    match std::fs::rename(path, free) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}

/// Removes the oldest of the old files, so that `backup_count` stay.
pub(super) fn keep(path: &Path, schedule: &Schedule) -> std::io::Result<()> {
    let (Some(name), Some(directory)) = (path.file_name(), path.parent()) else {
        return Ok(());
    };
    let Some(count) = usize::try_from(schedule.backup_count).ok().filter(|count| *count > 0) else {
        return Ok(());
    };
    let prefix = format!("{}.", name.to_string_lossy());
    let mut old = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let suffix = name.strip_prefix(&prefix).map(|suffix| plain_name(suffix).0);
        if let Some((date, number)) = suffix.and_then(|suffix| schedule.order(suffix)) {
            old.push((date.to_owned(), number, directory.join(&name)));
        }
    }
    old.sort();
    let surplus = old.len().saturating_sub(count);
    for (_, _, path) in old.into_iter().take(surplus) {
        std::fs::remove_file(path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(when: &str, interval: u32, zone: &str) -> Schedule {
        Schedule { unit: Unit::parse(when).unwrap(), interval, backup_count: 0, zone: TimeZone::posix(zone).unwrap() }
    }

    const BERLIN: &str = "CET-1CEST,M3.5.0,M10.5.0/3";

    /// When an interval that begins at `from` ends in Berlin, and how its file is called then.
    fn end(when: &str, interval: u32, from: &str) -> (String, String) {
        let schedule = schedule(when, interval, BERLIN);
        let deadline = schedule.deadline(from.parse().unwrap());
        let shown = deadline.to_zoned(schedule.zone.clone());
        (shown.strftime("%a %d %H:%M:%S").to_string(), schedule.stamp(deadline))
    }

    fn pair(deadline: &str, stamp: &str) -> (String, String) {
        (deadline.to_owned(), stamp.to_owned())
    }

    /// 2026-07-15 is a Wednesday. What Circus 0.19 does, but for W0 and W2: see the module.
    #[test]
    fn deadlines_and_names() {
        let from = "2026-07-15T10:20:30.7+02:00";
        assert_eq!(end("s", 2, from), pair("Wed 15 10:20:32", "20260715102030"));
        assert_eq!(end("M", 1, from), pair("Wed 15 10:21:30", "202607151020"));
        assert_eq!(end("h", 2, from), pair("Wed 15 12:20:30", "2026071510"));
        assert_eq!(end("D", 2, from), pair("Fri 17 10:20:30", "20260715"));
        assert_eq!(end("midnight", 1, from), pair("Thu 16 00:00:00", "20260715"));
        assert_eq!(end("MIDNIGHT", 3, from), pair("Thu 16 00:00:00", "20260713"));
        assert_eq!(end("W3", 1, from), pair("Fri 17 00:00:00", "20260710"));
        assert_eq!(end("w6", 2, from), pair("Mon 20 00:00:00", "20260706"));
        assert_eq!(end("W0", 1, from), pair("Tue 21 00:00:00", "20260714"));
        assert_eq!(end("W2", 1, from), pair("Thu 16 00:00:00", "20260709"));
    }

    /// On 2026-03-29 the clock goes from 2 to 3.
    #[test]
    fn midnight_is_midnight_when_the_clock_changes() {
        let from = "2026-03-29T00:00:05+01:00";
        assert_eq!(end("MIDNIGHT", 1, from), pair("Mon 30 00:00:00", "20260329"));
        assert_eq!(end("D", 1, from), pair("Mon 30 01:00:05", "20260329"));
        assert_eq!(end("MIDNIGHT", 1, "2026-03-28T12:00:00+01:00"), pair("Sun 29 00:00:00", "20260328"));
    }

    #[test]
    fn utc_has_its_own_midnight() {
        let schedule = schedule("MIDNIGHT", 1, "UTC0");
        let deadline = schedule.deadline("2026-07-15T00:30:00+02:00".parse().unwrap());
        assert_eq!(deadline, "2026-07-15T00:00:00Z".parse().unwrap());
        assert_eq!(schedule.stamp(deadline), "20260714");
    }

    #[test]
    fn words_that_mean_no_unit() {
        for text in ["", "X", "W", "W7", "MIDNIGHT2", "W00", "Ss"] {
            assert_eq!(Unit::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_huge_interval_is_as_good_as_never() {
        let schedule = schedule("W1", u32::MAX, "UTC0");
        let deadline = schedule.deadline(Timestamp::UNIX_EPOCH);
        assert_eq!(schedule.stamp(deadline).len(), 8);
        let never = Schedule { unit: Unit::Day, ..schedule };
        assert_eq!(never.deadline(Timestamp::UNIX_EPOCH), Timestamp::MAX);
    }

    #[test]
    fn the_newest_stay_and_other_files_too() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        for _ in 0..3 {
            std::fs::write(&path, "x").unwrap();
            move_away(&path, "20260102").unwrap();
        }
        let others = ["log.2026010", "log.20260101.x", "log.1", "logs.20260101", "log.bak"];
        for name in others.iter().chain(&["log.20260101", "log.20260103"]) {
            std::fs::write(directory.path().join(name), "x").unwrap();
        }
        let mut schedule = schedule("D", 1, "UTC0");
        keep(&path, &schedule).unwrap();
        assert!(directory.path().join("log.20260101").exists(), "0 keeps all");
        schedule.backup_count = 2;
        keep(&path, &schedule).unwrap();
        let mut left: Vec<String> = std::fs::read_dir(directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        let mut expected: Vec<&str> = others.into_iter().chain(["log.20260102.2", "log.20260103"]).collect();
        expected.sort_unstable();
        assert_eq!(left, expected);
    }
}
