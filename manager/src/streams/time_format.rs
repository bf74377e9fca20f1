//! `time_format`: Python's strftime patterns, in local time, with the last result kept.

use jiff::Timestamp;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;

/// A pattern that has been tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TimeFormat {
    /// In jiff's dialect.
    pattern: String,
    /// Nanoseconds within which all times look the same.
    grain_ns: u64,
}

impl TimeFormat {
    /// RFC 3339 with microseconds and the offset from UTC.
    pub(super) fn rfc_3339() -> Self {
        Self { pattern: "%Y-%m-%dT%H:%M:%S.%6f%:z".to_owned(), grain_ns: 1000 }
    }

    /// As syslog(3) writes it.
    pub(super) fn syslog() -> Self {
        Self { pattern: "%b %e %H:%M:%S".to_owned(), grain_ns: 1_000_000_000 }
    }

    /// Checks and translates a pattern.
    pub(super) fn new(pattern: &str) -> Result<Self, jiff::Error> {
        let pattern = translate(pattern);
        strtime::format(&pattern, &Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC))?;
        let grain_ns = if shows_fractions(&pattern) { 1 } else { 1_000_000_000 };
        Ok(Self { pattern, grain_ns })
    }

    fn text(&self, realtime_ns: u64, zone: &TimeZone) -> Result<String, jiff::Error> {
        let time = Timestamp::from_nanosecond(i128::from(realtime_ns))?.to_zoned(zone.clone());
        strtime::format(&self.pattern, &time)
    }
}

/// Python and glibc against jiff: `%f` is always six digits; `%c %x %X %r` look as in the C locale.
fn translate(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len());
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('f') => out.push_str("%6f"),
            Some('c') => out.push_str("%a %b %e %H:%M:%S %Y"),
            Some('x') => out.push_str("%m/%d/%y"),
            Some('X') => out.push_str("%H:%M:%S"),
            Some('r') => out.push_str("%I:%M:%S %p"),
            Some(other) => out.extend(['%', other]),
            None => out.push('%'),
        }
    }
    out
}

/// Whether the pattern may show less than a second: asked on the safe side.
fn shows_fractions(pattern: &str) -> bool {
    pattern.contains(['f', 'N'])
}

/// The prefix that was made last. Lines of one batch mostly share it.
#[derive(Debug)]
pub(super) struct PrefixCache {
    zone: TimeZone,
    pattern: String,
    grain: u64,
    pid: i32,
    text: String,
    /// Length of the time in `text`.
    time: usize,
}

impl PrefixCache {
    /// For the local time zone of the system.
    pub(super) fn new(zone: TimeZone) -> Self {
        Self { zone, pattern: String::new(), grain: u64::MAX, pid: 0, text: String::new(), time: 0 }
    }

    /// Whose times are shown.
    pub(super) fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// `<time> [<pid>] | ` (spec h).
    pub(super) fn prefix(&mut self, format: &TimeFormat, realtime_ns: u64, pid: i32) -> &[u8] {
        self.make(format, realtime_ns, pid);
        self.text.as_bytes()
    }

    /// The time alone.
    pub(super) fn time(&mut self, format: &TimeFormat, realtime_ns: u64, pid: i32) -> &str {
        self.make(format, realtime_ns, pid);
        self.text.get(..self.time).unwrap_or_default()
    }

    fn make(&mut self, format: &TimeFormat, realtime_ns: u64, pid: i32) {
        let grain = realtime_ns / format.grain_ns;
        if self.grain != grain || self.pid != pid || self.pattern != format.pattern {
            // A time beyond year 9999 cannot be shown; the pid still can.
            let time = format.text(realtime_ns, &self.zone).unwrap_or_default();
            self.text = format!("{time} [{pid}] | ");
            self.time = time.len();
            self.pattern.clone_from(&format.pattern);
            (self.grain, self.pid) = (grain, pid);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2024-07-14 17:31:59.000456789 UTC.
    const TIME: u64 = 1_720_978_319_000_456_789;

    fn shown(pattern: &str) -> String {
        let format = TimeFormat::new(pattern).unwrap();
        format.text(TIME, &TimeZone::UTC).unwrap()
    }

    /// The expectations are what Python 3.11 prints in the C locale.
    #[test]
    fn patterns_look_as_in_python() {
        assert_eq!(shown("%Y-%m-%d %H:%M:%S"), "2024-07-14 17:31:59");
        assert_eq!(shown("%H:%M:%S.%f"), "17:31:59.000456");
        assert_eq!(shown("%c"), "Sun Jul 14 17:31:59 2024");
        assert_eq!(shown("%x %X %r"), "07/14/24 17:31:59 05:31:59 PM");
        assert_eq!(shown("%j %U %w %y %I %p %b %A"), "196 28 0 24 05 PM Jul Sunday");
        assert_eq!(shown("\"%Y\" 100%%f"), "\"2024\" 100%f");
    }

    #[test]
    fn a_pattern_that_means_nothing_is_an_error() {
        assert!(TimeFormat::new("%!").is_err());
        assert!(TimeFormat::new("%").is_err());
    }

    #[test]
    fn the_cache_never_shows_another_lines_time() {
        let (coarse, fine) = (TimeFormat::new("%S").unwrap(), TimeFormat::new("%S.%f").unwrap());
        let mut cache = PrefixCache::new(TimeZone::UTC);
        let mut shown =
            |format: &TimeFormat, time, pid| String::from_utf8(cache.prefix(format, time, pid).to_vec()).unwrap();
        assert_eq!(shown(&coarse, TIME, 7), "59 [7] | ");
        assert_eq!(shown(&coarse, TIME + 1_000_000_000, 7), "00 [7] | ");
        assert_eq!(shown(&coarse, TIME, 8), "59 [8] | ");
        assert_eq!(shown(&fine, TIME, 8), "59.000456 [8] | ");
        assert_eq!(shown(&fine, TIME + 1000, 8), "59.000457 [8] | ");
    }
}
