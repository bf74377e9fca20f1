//! The two clocks of the core.

use crate::core::Now;
use rustix::time::{ClockId, Timespec, clock_gettime};

/// Both at once.
pub fn now() -> Now {
    Now {
        boot_ns: nanoseconds(clock_gettime(ClockId::Boottime)),
        real_ns: nanoseconds(clock_gettime(ClockId::Realtime)),
    }
}

fn nanoseconds(time: Timespec) -> u64 {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let rest = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(rest)
}

/// A moment of `CLOCK_BOOTTIME` in the ticks of proc(5), in which the system tells the starts of processes.
pub fn ticks(boot_ns: u64) -> u64 {
    let (per_second, second) = (rustix::param::clock_ticks_per_second(), 1_000_000_000);
    boot_ns / second * per_second + boot_ns % second * per_second / second
}

/// Not to wait at all.
pub const NOW: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// How long to wait for a deadline.
pub fn until(deadline_ns: u64, now: Now) -> Timespec {
    let left = deadline_ns.saturating_sub(now.boot_ns);
    Timespec {
        tv_sec: i64::try_from(left / 1_000_000_000).unwrap_or(i64::MAX),
        tv_nsec: i64::try_from(left % 1_000_000_000).unwrap_or(0),
    }
}
