//! Pace: when a pipe that is written to all the time is looked at again, and when the manager is told of what came.
//!
//! A pipe that was quiet is waited for, so that the first line after a pause is taken at once. While one has something at every
//! look it rests in between: its output gathers, nobody is woken for each line, and the writer is spared the work of waking.
//! The rest is the time in which the pipe becomes half full at the speed that it has just shown, so that the writer never
//! waits for us, and it is never longer than [`REST_MOST`]. It becomes shorter as long as the pipe is found full, as happens when
//! we are late ourselves. The first look that finds nothing ends it.
//!
//! Pure arithmetic; what follows from it is in `core/rest.rs`.

use crate::limits::{NEWS, PIPE_USUAL, REST_LEAST, REST_MOST, REST_USUAL};
use ringmaster_protocol::ring::PAGE;
use std::time::Duration;

/// Why a pipe was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// It was readable.
    Readable,
    /// A rest was over.
    Rested,
}

/// When to look again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// When the pipe is readable.
    Readable,
    /// Then (`CLOCK_BOOTTIME`), whether or not it is.
    At(u64),
}

/// The pace of one pipe.
#[derive(Debug)]
pub(super) struct Pace {
    looked_ns: u64,
    /// How long the last rest was to be; 0: there was none.
    rest_ns: u64,
    /// Bytes that the pipe takes.
    room: u64,
    /// A larger pipe was asked for.
    pub asked_for_room: bool,
}

impl Pace {
    /// That of a pipe nobody has looked at.
    pub fn new() -> Self {
        Self { looked_ns: 0, rest_ns: 0, room: PIPE_USUAL, asked_for_room: false }
    }

    /// The pipe takes so many bytes now.
    pub fn has_room(&mut self, room: u64) {
        self.room = room;
    }

    /// A look at `now_ns` took `bytes`, which was all there was.
    pub fn next(&mut self, look: Look, bytes: u64, now_ns: u64) -> Next {
        let since = now_ns.saturating_sub(self.looked_ns);
        self.looked_ns = now_ns;
        let mut rest = match bytes {
            0 => 0,
            _ if look == Look::Readable && since > ns(REST_MOST) => 0,
            _ => (since.saturating_mul(self.room / 2) / bytes).min(ns(REST_MOST)),
        };
        if bytes.saturating_add(PAGE) > self.room {
            // It may have been full for long, so this was no measure of its speed.
            rest = rest.min(self.rest_ns / 2);
        }
        self.rest_ns = if rest < ns(REST_LEAST) { 0 } else { rest };
        if self.rest_ns == 0 { Next::Readable } else { Next::At(now_ns.saturating_add(rest)) }
    }

    /// The ring had no room for more at `now_ns`, but has by now: the shell looks again at once when the pipe was readable.
    pub fn soon(look: Look, now_ns: u64) -> Next {
        match look {
            Look::Readable => Next::Readable,
            Look::Rested => Next::At(now_ns.saturating_add(ns(REST_LEAST))),
        }
    }

    /// Whether a larger pipe is worth it for one that rests until `until`: the usual one is full too soon.
    pub fn wants_room(&self, until: u64) -> bool {
        !self.asked_for_room && until.saturating_sub(self.looked_ns) < ns(REST_USUAL)
    }
}

/// What came and was not told yet.
#[derive(Debug, Default)]
pub(super) struct News {
    told_ns: u64,
    untold: u64,
}

impl News {
    /// `bytes` more have come.
    pub fn add(&mut self, bytes: u64) {
        self.untold = self.untold.saturating_add(bytes);
    }

    /// Whether it is time to tell of a stream that rests: a while has passed, or an eighth of its ring is new.
    pub fn is_due(&self, now_ns: u64, capacity: u64) -> bool {
        now_ns.saturating_sub(self.told_ns) >= ns(NEWS) || self.untold >= capacity / 8
    }

    /// All is told; gives whether there was anything.
    pub fn tell(&mut self, now_ns: u64) -> bool {
        if self.untold > 0 {
            self.told_ns = now_ns;
        }
        std::mem::take(&mut self.untold) > 0
    }
}

fn ns(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn the_first_line_after_a_pause_does_not_wait_and_neither_does_the_next_pause() {
        let mut pace = Pace::new();
        assert_eq!(pace.next(Look::Readable, 64, 10 * MS), Next::Readable);
        assert_eq!(pace.next(Look::Readable, 64, 12 * MS), Next::Readable);
        // A burst: half a pipe in 512 µs.
        assert_eq!(pace.next(Look::Readable, 64, 12 * MS + 1000), Next::At(12 * MS + 513_000));
        assert_eq!(pace.next(Look::Rested, 64, 14 * MS), Next::At(15 * MS), "a late look is no pause");
        assert_eq!(pace.next(Look::Rested, 0, 15 * MS), Next::Readable);
    }

    #[test]
    fn the_rest_is_half_a_pipe_long() {
        let mut pace = Pace::new();
        pace.next(Look::Readable, 64, 10 * MS);
        // 48 KiB in 150 µs: half a pipe of 64 KiB in 100.
        assert_eq!(pace.next(Look::Rested, 48 << 10, 10 * MS + 150_000), Next::At(10 * MS + 250_000));
        assert!(pace.wants_room(10 * MS + 250_000));
        pace.has_room(4 * PIPE_USUAL);
        assert_eq!(pace.next(Look::Rested, 48 << 10, 10 * MS + 300_000), Next::At(10 * MS + 700_000));
        // So fast that a rest is not worth it.
        assert_eq!(pace.next(Look::Rested, 200 << 10, 10 * MS + 350_000), Next::Readable);
    }

    #[test]
    fn who_writes_does_not_wait_for_a_late_look() {
        let mut pace = Pace::new();
        pace.next(Look::Readable, PIPE_USUAL, 10 * MS);
        assert_eq!(pace.next(Look::Readable, PIPE_USUAL, 11 * MS), Next::Readable, "a full pipe begins no rest");
        assert_eq!(pace.next(Look::Readable, 64, 11 * MS + 1000), Next::At(11 * MS + 513_000));
        // However late each look is, the rests become shorter while the pipe is full.
        assert_eq!(pace.next(Look::Rested, PIPE_USUAL, 15 * MS), Next::At(15 * MS + 256_000));
        assert_eq!(pace.next(Look::Rested, PIPE_USUAL, 19 * MS), Next::At(19 * MS + 128_000));
        assert_eq!(pace.next(Look::Rested, PIPE_USUAL, 23 * MS), Next::At(23 * MS + 64_000));
        assert_eq!(pace.next(Look::Rested, PIPE_USUAL, 27 * MS), Next::Readable);
    }

    #[test]
    fn news_are_told_by_time_and_by_size() {
        let mut news = News::default();
        news.add(1);
        assert!(news.is_due(10 * MS, 2 << 20), "the first");
        assert!(news.tell(10 * MS));
        assert!(!news.tell(10 * MS), "twice");
        news.add(1000);
        assert!(!news.is_due(10 * MS + 1, 2 << 20));
        assert!(news.is_due(11 * MS, 2 << 20));
        news.add(256 << 10);
        assert!(news.is_due(10 * MS + 1, 2 << 20));
    }
}
