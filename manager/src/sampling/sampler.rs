//! Reads processes and remembers between two looks what the next one needs: CPU times, what seldom changes, and, when it is to
//! keep them, open files.

use std::collections::HashMap;
use std::io;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::param::{clock_ticks_per_second, page_size};
use rustix::system::sysinfo;
use rustix::time::{ClockId, clock_gettime};
use thiserror::Error;

use super::info::{ProcessInfo, Usage};
use super::proc_dir::{Buffers, Numbers, ProcDir, Unread};
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

/// For how long user and program are believed of a process that runs the same program as before: a process that takes another
/// user, or writes over its arguments, is seen as such after this time.
const FACTS_LIFE: Duration = Duration::from_secs(10);

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
    /// Processes whose files may stay open.
    keep: usize,
    users: Users,
    buffers: Buffers,
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
    facts: Facts,
    children: HashMap<i32, Remembered>,
    files: Option<Numbers>,
}

/// What seldom changes.
#[derive(Debug, Clone)]
struct Facts {
    username: Option<String>,
    cmdline: Option<String>,
    /// Of which program; `None`: it could not be told.
    program: Option<u64>,
    read_at: Instant,
}

/// Which processes are looked at in one look, and which of their files may stay open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// The process.
    Alone,
    /// And its direct children.
    WithChildren,
    /// One of those.
    Child,
}

/// The directory of a process, opened when it is needed.
struct Door {
    pid: i32,
    dir: Option<ProcDir>,
}

impl Door {
    fn open(&mut self) -> Result<&ProcDir, SampleError> {
        if self.dir.is_none() {
            self.dir = Some(ProcDir::open(self.pid).map_err(|unread| unreadable(self.pid, unread))?);
        }
        self.dir.as_ref().ok_or(SampleError::Gone)
    }
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
        Self::keeping(0)
    }

    /// The same for somebody who looks again and again: two files of each of so many processes stay open. What has ended is to
    /// be forgotten with [`Sampler::forget_unseen`] then.
    pub fn keeping(processes: usize) -> Self {
        let (remembered, users, buffers) = (HashMap::new(), Users::default(), Buffers::default());
        Self { host: Host::new(), boot: boot_time(since_boot()), remembered, keep: processes, users, buffers }
    }

    /// A process and its direct children, ended ones left out.
    ///
    /// # Errors
    /// [`SampleError::Gone`] if it has ended, also if nobody has reaped it yet.
    pub fn process(&mut self, pid: i32) -> Result<ProcessInfo, SampleError> {
        self.look(pid, Scope::WithChildren)
    }

    /// A process without its children: what `dstats` shows of the daemon. What was remembered of its children is
    /// forgotten.
    ///
    /// # Errors
    /// As [`Sampler::process`].
    pub fn alone(&mut self, pid: i32) -> Result<ProcessInfo, SampleError> {
        self.look(pid, Scope::Alone)
    }

    /// Forgets a process that was reaped. Not needed for correctness, only for memory.
    pub fn forget(&mut self, pid: i32) {
        self.remembered.remove(&pid);
    }

    /// Forgets all processes that were not looked at since then.
    pub fn forget_unseen(&mut self, since: Instant) {
        self.remembered.retain(|_, seen| seen.own.at >= since);
    }

    /// How many processes are remembered, children not counted.
    pub fn remembered(&self) -> usize {
        self.remembered.len()
    }

    fn look(&mut self, pid: i32, scope: Scope) -> Result<ProcessInfo, SampleError> {
        let boottime = since_boot();
        let boot = boot_time(boottime);
        if boot.abs_diff(self.boot) > CLOCK_STEP {
            self.boot = boot;
        }
        let mut before = self.remembered.remove(&pid);
        let looked = self.look_at(pid, before.as_mut(), scope, boottime);
        let (result, now) = match looked {
            Ok((info, now)) => (Ok(info), now.or(before)),
            Err(SampleError::Gone) => (Err(SampleError::Gone), None),
            Err(other) => (Err(other), before),
        };
        if let Some(now) = now {
            self.remember(pid, now);
        }
        result
    }

    /// What is to be seen, and what the next look needs; `None`: nothing that a look could be compared with.
    fn look_at(
        &mut self,
        pid: i32,
        mut before: Option<&mut Remembered>,
        scope: Scope,
        boottime: Duration,
    ) -> Result<(ProcessInfo, Option<Remembered>), SampleError> {
        let mut door = Door { pid, dir: None };
        let kept = before.as_mut().and_then(|before| before.files.take());
        let may_keep = scope != Scope::Child && (kept.is_some() || self.remembered.len() < self.keep);
        let (files, numbers) = self.numbers(&mut door, kept)?;
        let at = Instant::now();
        let facts = self.facts(&mut door, before.as_deref(), numbers.map(|(stat, _)| stat.program), at)?;
        let (username, cmdline) = (facts.username.clone(), facts.cmdline.clone());
        let mut info = ProcessInfo { pid, usage: None, username, cmdline, children: Vec::new(), children_left_out: 0 };
        let mut children = HashMap::new();
        if scope == Scope::WithChildren {
            let threads = numbers.map(|(stat, _)| stat.threads);
            let dir = door.open()?;
            let text = if threads == Some(1) { dir.children_of_one_thread(pid) } else { dir.children() };
            let text = seen(pid, text)?.unwrap_or_default();
            let known = before.as_mut().map(|before| std::mem::take(&mut before.children)).unwrap_or_default();
            children = self.look_at_children(&mut info, &text, known, boottime)?;
        }
        let Some((stat, memory)) = numbers else {
            return Ok((info, None));
        };
        let own = Mark { start_ticks: stat.start_ticks, own_ticks: stat.own_ticks, at };
        let cpu_percent = before.map_or(0.0, |before| self.host.cpu_percent(before.own, own));
        info.usage = Some(self.host.usage(&stat, memory, cpu_percent, self.boot, boottime));
        Ok((info, Some(Remembered { own, facts, children, files: files.filter(|_| may_keep) })))
    }

    /// The files of numbers, those kept from the last look or others, and what they say. Files that were kept belong to that
    /// process; its number may be another's by now.
    fn numbers(&mut self, door: &mut Door, kept: Option<Numbers>) -> Result<(Option<Numbers>, Seen), SampleError> {
        let kept = kept.map(|files| (numbers(&files, door.pid, &mut self.buffers), files));
        match kept.filter(|(read, _)| !matches!(read, Err(SampleError::Gone))) {
            Some((read, files)) => Ok((Some(files), read?)),
            None => {
                let files = seen(door.pid, door.open()?.numbers())?;
                let read = files.as_ref().map(|files| numbers(files, door.pid, &mut self.buffers));
                Ok((files, read.transpose()?.flatten()))
            }
        }
    }

    /// User and program, as they were found before or read now.
    fn facts(
        &mut self,
        door: &mut Door,
        before: Option<&Remembered>,
        program: Option<u64>,
        now: Instant,
    ) -> Result<Facts, SampleError> {
        let known = before.map(|before| &before.facts).filter(|facts| {
            let is_young = now.saturating_duration_since(facts.read_at) < FACTS_LIFE;
            is_young && program.is_some() && facts.program == program
        });
        if let Some(known) = known {
            return Ok(known.clone());
        }
        let pid = door.pid;
        let dir = door.open()?;
        let status = seen(pid, dir.text("status"))?;
        let cmdline = seen(pid, dir.file("cmdline"))?.as_deref().and_then(program_name);
        let username = status.as_deref().and_then(real_uid).map(|uid| self.users.name(uid));
        Ok(Facts { username, cmdline, program, read_at: now })
    }

    fn look_at_children(
        &mut self,
        info: &mut ProcessInfo,
        text: &str,
        mut known: HashMap<i32, Remembered>,
        boottime: Duration,
    ) -> Result<HashMap<i32, Remembered>, SampleError> {
        let mut pids: Vec<i32> = pids(text).collect();
        pids.sort_unstable();
        info.children_left_out = pids.len().saturating_sub(CHILDREN_LIMIT);
        let mut found = HashMap::new();
        for pid in pids.into_iter().take(CHILDREN_LIMIT) {
            match self.look_at(pid, known.get_mut(&pid), Scope::Child, boottime) {
                Ok((child, now)) => {
                    found.extend(now.map(|now| (pid, now)));
                    info.children.push(child);
                }
                // It ended between the two reads, or is a zombie.
                Err(SampleError::Gone) => {}
                Err(other) => return Err(other),
            }
        }
        Ok(found)
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

fn parsed<T>(pid: i32, file: &'static str, text: &str, parse: fn(&str) -> Option<T>) -> Result<T, SampleError> {
    parse(text).ok_or_else(|| SampleError::Malformed { pid, file, text: text.to_owned() })
}

/// What `stat` and `statm` say; `None`: we may not look.
pub(super) type Seen = Option<(Stat, Memory)>;

/// Reads both and takes them apart.
pub(super) fn numbers(files: &Numbers, pid: i32, buffers: &mut Buffers) -> Result<Seen, SampleError> {
    let Some([stat, statm]) = seen(pid, files.read(buffers))? else {
        return Ok(None);
    };
    let stat = parsed(pid, "stat", stat, Stat::parse)?;
    if stat.ended {
        return Err(SampleError::Gone);
    }
    Ok(Some((stat, parsed(pid, "statm", statm, Memory::parse)?)))
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
