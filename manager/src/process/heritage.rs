//! What a child gets beside its command: circusd's own umask and limit of open files, and the configured limits.

use crate::options::RlimitValue;
use ringmaster_protocol::message::{RLIMITS, Rlimit};

/// What children inherit of circusd, although the core makes them: as circusd was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heritage {
    /// circusd's umask (spec a.4).
    pub umask: u32,
    /// `RLIMIT_NOFILE`.
    pub files: Rlimit,
}

impl Heritage {
    /// That of this process as it is, for a circusd that is part of another program and changes nothing of it.
    pub fn of_this_process(umask: Option<u32>) -> Self {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        let number = |limit: Option<u64>| limit.unwrap_or(u64::MAX);
        let files = Rlimit { resource: NOFILE, soft: number(limit.current), hard: number(limit.maximum) };
        Self { umask: umask.or_else(own_umask).unwrap_or(USUAL_UMASK), files }
    }
}

/// Where /proc does not tell.
const USUAL_UMASK: u32 = 0o022;

/// Read, because umask(2) tells it only to those who change it (proc(5), since Linux 4.7).
fn own_umask() -> Option<u32> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Umask:"))?;
    u32::from_str_radix(line.trim(), 8).ok()
}

#[cfg(test)]
impl Heritage {
    /// That of an ordinary login.
    pub fn for_test() -> Self {
        let files = Rlimit { resource: NOFILE, soft: 1024, hard: 4096 };
        Self { umask: 0o22, files }
    }
}

/// One configured limit; `None`: Linux has none of that name.
pub(super) fn rlimit(name: &str, value: RlimitValue) -> Option<Rlimit> {
    let limit = match value {
        // Nobody may raise this one to infinity: the most there is (spec a.5).
        RlimitValue::Infinity if name == "nofile" => hard_limit_of_files(),
        RlimitValue::Infinity => u64::MAX,
        RlimitValue::At(limit) => limit,
    };
    let (_, resource) = RLIMITS.iter().find(|(known, _)| *known == name)?;
    Some(Rlimit { resource: *resource, soft: limit, hard: limit })
}

/// `RLIMIT_NOFILE` on Linux.
pub const NOFILE: u32 = 7;

fn hard_limit_of_files() -> u64 {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum.unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::RLIMIT_NAMES;

    #[test]
    fn every_limit_that_can_be_configured_has_a_number() {
        for name in RLIMIT_NAMES {
            assert!(rlimit(name, RlimitValue::At(1)).is_some(), "{name}");
        }
    }
}
