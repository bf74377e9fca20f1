//! Reads processes and remembers their CPU times between two looks.

use std::collections::HashMap;
use std::io;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::param::{clock_ticks_per_second, page_size};
use rustix::system::sysinfo;
use rustix::time::{ClockId, clock_gettime};
use thiserror::Error;

use super::info::{ProcessInfo, Usage};
use super::proc_dir::{ProcDir, Unread};
use super::proc_text::{Memory, Stat, pids, program_name, real_uid};
use super::users::Users;

/// Children shown for one process. A fork bomb must not become a reply of many megabytes.
const CHILDREN_LIMIT: usize = 1024;

/// Processes remembered. Beyond it the one not looked at for the longest time is forgotten, and starts again
/// with 0 % CPU.
const REMEMBERED_LIMIT: usize = 16 * 1024;

/// How far the wall clock may move before start times are counted from it anew. Below that, a start time
/// stays the same from sample to sample.
const CLOCK_STEP: Duration = Duration::from_millis(500);

/// Why there is nothing to say about a process.
#[derive(Debug, Error)]
pub enum SampleError {
    /// It has ended, reaped or not. The text is what Circus puts in place of the object (spec c.7).
    #[error("No such process (stopped?)")]
    Gone,
    /// `/proc` could not be read for another reason.
    #[error("cannot read /proc/{pid}: {reason}")]
    Unreadable {
        /// The process.
        pid: i32,
        /// What the operating system says.
        reason: io::Error,
    },
    /// A file is not what proc(5) describes.
    #[error("cannot understand /proc/{pid}/{file}: '{text}'")]
    Malformed {
        /// The process.
        pid: i32,
        /// Name of the file.
        file: &'static str,
        /// The text of the file.
        text: String,
    },
}

/// Looks at processes when asked. One per daemon: CPU percentages count from this sampler's previous look.
///
/// Calls block for some tens of microseconds per process; the first look at a uid also for a user lookup.
#[derive(Debug)]
pub struct Sampler {
    host: Host,
    /// Wall-clock time of boot, since the epoch.
    boot: Duration,
    remembered: HashMap<i32, Remembered>,
    users: Users,
}

/// What does not change while we run.
#[derive(Debug)]
pub(super) struct Host {
    memory: u64,
    page: u64,
    ticks_per_second: u64,
}

/// The previous look at a process and at its children. Children live in here so that they are forgotten when
/// they are no longer seen.
#[derive(Debug)]
struct Remembered {
    own: Mark,
    children: HashMap<i32, Mark>,
}

/// CPU time of one process at one moment. The start time tells it from a later process with the same pid.
#[derive(Debug, Clone, Copy)]
struct Mark {
    start_ticks: u64,
    own_ticks: u64,
    at: Instant,
}

impl Default for Sampler {
    fn default() -> Self {
        Self::new()
    }
}

impl Sampler {
    /// A sampler that remembers nothing yet. Reads no process.
    pub fn new() -> Self {
        Self { host: Host::new(), boot: boot_time(since_boot()), remembered: HashMap::new(), users: Users::default() }
    }

    /// A process and its direct children, ended ones left out.
    ///
    /// # Errors
    /// [`SampleError::Gone`] if it has ended, also if nobody has reaped it yet.
    pub fn process(&mut self, pid: i32) -> Result<ProcessInfo, SampleError> {
        let result = self.look(pid, true);
        self.after(pid, result)
    }

    /// A process without its children: what `dstats` shows of the daemon. What was remembered of its children is
    /// forgotten.
    ///
    /// # Errors
    /// As [`Sampler::process`].
    pub fn alone(&mut self, pid: i32) -> Result<ProcessInfo, SampleError> {
        let result = self.look(pid, false);
        self.after(pid, result)
    }

    /// Forgets a process that was reaped. Not needed for correctness, only for memory.
    pub fn forget(&mut self, pid: i32) {
        self.remembered.remove(&pid);
    }

    /// How many processes are remembered, children not counted.
    pub fn remembered(&self) -> usize {
        self.remembered.len()
    }

    fn after(&mut self, pid: i32, result: Result<ProcessInfo, SampleError>) -> Result<ProcessInfo, SampleError> {
        if matches!(result, Err(SampleError::Gone)) {
            self.forget(pid);
        }
        result
    }

    fn look(&mut self, pid: i32, with_children: bool) -> Result<ProcessInfo, SampleError> {
        let boottime = since_boot();
        let boot = boot_time(boottime);
        if boot.abs_diff(self.boot) > CLOCK_STEP {
            self.boot = boot;
        }
        let dir = ProcDir::open(pid).map_err(|unread| unreadable(pid, unread))?;
        let previous = self.remembered.get(&pid);
        let (mut info, mark) = self.host.read(pid, &dir, previous.map(|seen| seen.own), self.boot, boottime)?;
        info.username = self.username(pid, &dir)?;
        let mut children = HashMap::new();
        if with_children {
            self.look_at_children(&mut info, &dir, &mut children, boottime)?;
        }
        if let Some(own) = mark {
            self.remember(pid, Remembered { own, children });
        }
        Ok(info)
    }

    fn look_at_children(
        &mut self,
        info: &mut ProcessInfo,
        dir: &ProcDir,
        marks: &mut HashMap<i32, Mark>,
        boottime: Duration,
    ) -> Result<(), SampleError> {
        let text = seen(info.pid, dir.children())?.unwrap_or_default();
        let mut pids: Vec<i32> = pids(&text).collect();
        pids.sort_unstable();
        info.children_left_out = pids.len().saturating_sub(CHILDREN_LIMIT);
        for pid in pids.into_iter().take(CHILDREN_LIMIT) {
            let previous = self.remembered.get(&info.pid).and_then(|seen| seen.children.get(&pid)).copied();
            match self.child(pid, previous, boottime) {
                Ok((child, mark)) => {
                    marks.extend(mark.map(|mark| (pid, mark)));
                    info.children.push(child);
                }
                // It ended between the two reads, or is a zombie.
                Err(SampleError::Gone) => {}
                Err(other) => return Err(other),
            }
        }
        Ok(())
    }

    fn child(
        &mut self,
        pid: i32,
        previous: Option<Mark>,
        boottime: Duration,
    ) -> Result<(ProcessInfo, Option<Mark>), SampleError> {
        let dir = ProcDir::open(pid).map_err(|unread| unreadable(pid, unread))?;
        let (mut info, mark) = self.host.read(pid, &dir, previous, self.boot, boottime)?;
        info.username = self.username(pid, &dir)?;
        Ok((info, mark))
    }

    fn username(&mut self, pid: i32, dir: &ProcDir) -> Result<Option<String>, SampleError> {
        let status = seen(pid, dir.text("status"))?;
        Ok(status.as_deref().and_then(real_uid).map(|uid| self.users.name(uid)))
    }

    fn remember(&mut self, pid: i32, seen: Remembered) {
        if self.remembered.len() >= REMEMBERED_LIMIT && !self.remembered.contains_key(&pid) {
            let oldest = self.remembered.iter().min_by_key(|(_, seen)| seen.own.at).map(|(pid, _)| *pid);
            oldest.and_then(|pid| self.remembered.remove(&pid));
        }
        self.remembered.insert(pid, seen);
    }
}

impl Host {
    pub(super) fn new() -> Self {
        let info = sysinfo();
        Self {
            memory: info.totalram.saturating_mul(info.mem_unit.into()),
            page: u64::try_from(page_size()).unwrap_or(u64::MAX),
            ticks_per_second: clock_ticks_per_second().max(1),
        }
    }

    /// Everything but user name and children, and the mark for the next look.
    fn read(
        &self,
        pid: i32,
        dir: &ProcDir,
        previous: Option<Mark>,
        boot: Duration,
        boottime: Duration,
    ) -> Result<(ProcessInfo, Option<Mark>), SampleError> {
        let mut info =
            ProcessInfo { pid, usage: None, username: None, cmdline: None, children: Vec::new(), children_left_out: 0 };
        let mut mark = None;
        let texts = (seen(pid, dir.text("stat"))?, seen(pid, dir.text("statm"))?);
        if let (Some(stat), Some(memory)) = texts {
            let stat = parsed(pid, "stat", stat, Stat::parse)?;
            if stat.ended {
                return Err(SampleError::Gone);
            }
            let memory = parsed(pid, "statm", memory, Memory::parse)?;
            let now = Mark { start_ticks: stat.start_ticks, own_ticks: stat.own_ticks, at: Instant::now() };
            let cpu_percent = previous.map_or(0.0, |previous| self.cpu_percent(previous, now));
            info.usage = Some(self.usage(&stat, memory, cpu_percent, boot, boottime));
            mark = Some(now);
        }
        info.cmdline = seen(pid, dir.file("cmdline"))?.as_deref().and_then(program_name);
        Ok((info, mark))
    }

    pub(super) fn usage(
        &self,
        stat: &Stat,
        memory: Memory,
        cpu_percent: f64,
        boot: Duration,
        boottime: Duration,
    ) -> Usage {
        let resident = memory.resident_pages.saturating_mul(self.page);
        let start = self.time(stat.start_ticks);
        Usage {
            resident,
            virtual_memory: memory.virtual_pages.saturating_mul(self.page),
            cpu_percent,
            memory_percent: memory_percent(resident, self.memory),
            cpu_time: self.time(stat.own_ticks.saturating_add(stat.reaped_ticks)),
            nice: stat.nice,
            create_time: (boot.saturating_add(start).as_secs_f64() * 100.0).round() / 100.0,
            age: boottime.saturating_sub(start).as_secs_f64(),
        }
    }

    fn time(&self, ticks: u64) -> Duration {
        let rest = (ticks % self.ticks_per_second).saturating_mul(1_000_000_000) / self.ticks_per_second;
        Duration::from_secs(ticks / self.ticks_per_second).saturating_add(Duration::from_nanos(rest))
    }

    /// Percent of one CPU between two looks at the same process, to one place; 0 for another process.
    fn cpu_percent(&self, previous: Mark, now: Mark) -> f64 {
        let wall = now.at.saturating_duration_since(previous.at).as_secs_f64();
        if previous.start_ticks != now.start_ticks || wall <= 0.0 {
            return 0.0;
        }
        let used = self.time(now.own_ticks.saturating_sub(previous.own_ticks)).as_secs_f64();
        (used / wall * 1000.0).round() / 10.0
    }
}

/// Percent to three places. Integers until the last step: 100000 thousandths at most, well within a `u32`.
fn memory_percent(resident: u64, total: u64) -> f64 {
    let total = u128::from(total.max(1));
    let thousandths = (u128::from(resident) * 100_000 + total / 2) / total;
    f64::from(u32::try_from(thousandths).unwrap_or(u32::MAX)) / 1000.0
}

/// The clock that process start times are counted with (proc(5), `starttime`).
pub(super) fn since_boot() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

pub(super) fn boot_time(boottime: Duration) -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().saturating_sub(boottime)
}

/// A file we may not read is `None`: its fields are `N/A`.
pub(super) fn seen<T>(pid: i32, read: Result<T, Unread>) -> Result<Option<T>, SampleError> {
    match read {
        Ok(text) => Ok(Some(text)),
        Err(Unread::Forbidden) => Ok(None),
        Err(other) => Err(unreadable(pid, other)),
    }
}

pub(super) fn parsed<T>(
    pid: i32,
    file: &'static str,
    text: String,
    parse: fn(&str) -> Option<T>,
) -> Result<T, SampleError> {
    parse(&text).ok_or(SampleError::Malformed { pid, file, text })
}

pub(super) fn unreadable(pid: i32, unread: Unread) -> SampleError {
    match unread {
        Unread::Gone => SampleError::Gone,
        Unread::Forbidden => SampleError::Unreadable { pid, reason: io::Error::from(io::ErrorKind::PermissionDenied) },
        Unread::Failed(reason) => SampleError::Unreadable { pid, reason },
    }
}

#[cfg(test)]
mod tests;
