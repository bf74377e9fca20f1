//! The few numbers of a process that monitoring wants, without a memory of earlier looks.

use super::proc_dir::{Buffers, ProcDir, Unread};
use super::sampler::{Host, SampleError, boot_time, numbers, seen, since_boot, unreadable};
use std::time::Duration;

/// One process, at one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figures {
    /// User and system time, reaped children included.
    pub cpu: Duration,
    /// Resident memory in bytes.
    pub resident: u64,
    /// Virtual memory in bytes.
    pub virtual_memory: u64,
    /// Open file descriptors; `None` if we may not look.
    pub open_files: Option<u64>,
    /// Seconds since the epoch when it started.
    pub started: f64,
}

/// Looks at processes, each time for the first time. Calls block for some tens of microseconds a process.
#[derive(Debug)]
pub struct Look {
    host: Host,
    boot: Duration,
}

impl Default for Look {
    fn default() -> Self {
        Self::now()
    }
}

impl Look {
    /// Times of starts are counted from the wall clock of now.
    pub fn now() -> Self {
        Self { host: Host::new(), boot: boot_time(since_boot()) }
    }

    /// A process, without its children.
    ///
    /// # Errors
    /// It has ended, or may not be looked at.
    pub fn at(&self, pid: i32) -> Result<Figures, SampleError> {
        let unread = |unread| unreadable(pid, unread);
        let dir = ProcDir::open(pid).map_err(unread)?;
        let files = dir.numbers().map_err(unread)?;
        let seen_now = numbers(&files, pid, &mut Buffers::default())?;
        let (stat, memory) = seen_now.ok_or_else(|| unread(Unread::Forbidden))?;
        let usage = self.host.usage(&stat, memory, 0.0, self.boot, Duration::ZERO);
        Ok(Figures {
            cpu: usage.cpu_time,
            resident: usage.resident,
            virtual_memory: usage.virtual_memory,
            open_files: seen(pid, dir.open_files())?,
            started: usage.create_time,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ourselves() {
        let own = i32::try_from(std::process::id()).unwrap();
        let look = Look::now();
        let before = look.at(own).unwrap();
        let files: Vec<_> = (0..10).map(|_| std::fs::File::open("/dev/null").unwrap()).collect();
        let after = look.at(own).unwrap();
        // Other tests of this process open and close files, too, but never so few.
        assert!(before.open_files.unwrap() >= 3 && after.open_files.unwrap() >= 10, "{before:?} {after:?}");
        assert!(before.resident > 0 && before.virtual_memory >= before.resident && after.cpu >= before.cpu);
        assert!(before.started > 0.0);
        drop(files);
    }

    #[test]
    fn nobody() {
        assert!(matches!(Look::now().at(i32::MAX), Err(SampleError::Gone)));
    }
}
