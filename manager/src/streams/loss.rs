//! Output that is in no log because it was overwritten before it could be written there: how much, when, and why. Pure.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use ringmaster_protocol::ring::Stream;
use rustix::io::Errno;

/// Why output was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LossReason {
    /// Nobody read it.
    Away,
    /// The log could not be written.
    Unwritten {
        /// The error of the system.
        errno: i32,
    },
    /// circusd ran and the log was in order, but it did not keep up.
    TooSlow,
}

impl LossReason {
    /// From the error with which a log could not be written.
    pub(super) fn of(error: &std::io::Error) -> Self {
        Self::Unwritten { errno: error.raw_os_error().unwrap_or(Errno::IO.raw_os_error()) }
    }
}

impl std::fmt::Display for LossReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Away => f.write_str("circusd was away"),
            Self::TooSlow => f.write_str("not read in time"),
            Self::Unwritten { errno } => match Errno::from_raw_os_error(*errno) {
                Errno::NOSPC => f.write_str("disk full"),
                Errno::DQUOT => f.write_str("disk quota exceeded"),
                Errno::IO => f.write_str("input/output error"),
                Errno::ROFS => f.write_str("read-only file system"),
                Errno::NOENT => f.write_str("directory missing"),
                Errno::ACCESS | Errno::PERM => f.write_str("permission denied"),
                other => write!(f, "{}", std::io::Error::from(other)),
            },
        }
    }
}

/// One gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loss {
    /// How much.
    pub bytes: u64,
    /// When what comes before it was written, or the process began; nanoseconds of the Unix epoch.
    pub since_ns: u64,
    /// When what comes after it arrived; likewise.
    pub until_ns: u64,
    /// Why.
    pub reason: LossReason,
}

impl Loss {
    /// The line of the log that tells of it, times in `zone` (RFC 3339, to the second).
    pub(super) fn line(&self, stream: Stream, zone: &TimeZone) -> String {
        let shown = |ns: u64| {
            let time = Timestamp::from_nanosecond(i128::from(ns)).unwrap_or(Timestamp::UNIX_EPOCH);
            time.to_zoned(zone.clone()).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
        };
        let (bytes, reason) = (self.bytes, self.reason);
        let (since, until) = (shown(self.since_ns), shown(self.until_ns.max(self.since_ns)));
        format!("[ringmaster: {bytes} bytes lost from {} between {since} and {until}: {reason}]\n", stream.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_how_much_when_and_why() {
        let errno = Errno::NOSPC.raw_os_error();
        let second = 1_000_000_000;
        let reason = LossReason::Unwritten { errno };
        let loss = Loss { bytes: 123_456, since_ns: second, until_ns: 62 * second, reason };
        assert_eq!(
            loss.line(Stream::Stdout, &TimeZone::UTC),
            "[ringmaster: 123456 bytes lost from stdout between 1970-01-01T00:00:01+00:00 and 1970-01-01T00:01:02+00:00: disk full]\n"
        );
    }

    #[test]
    fn every_reason_has_words() {
        for (errno, words) in [
            (Errno::DQUOT, "disk quota exceeded"),
            (Errno::IO, "input/output error"),
            (Errno::ROFS, "read-only file system"),
            (Errno::LOOP, "Too many levels of symbolic links (os error 40)"),
        ] {
            assert_eq!(LossReason::Unwritten { errno: errno.raw_os_error() }.to_string(), words);
        }
        assert_eq!(LossReason::Away.to_string(), "circusd was away");
    }
}
