//! How many files this process may hold open. It starts no other process, so its soft limit is its own affair.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors that are for anything but processes: sockets, subscribers, a log.
const OTHERS: u64 = 512;

/// Open files of one process in [`crate::sampling`].
const EACH: u64 = 2;

/// Raises the soft limit as far as `wanted` processes need it and the hard one allows, and gives for how many it is enough.
pub fn allow(wanted: usize) -> usize {
    let needed = u64::try_from(wanted).unwrap_or(u64::MAX).saturating_mul(EACH).saturating_add(OTHERS);
    let limit = getrlimit(Resource::Nofile);
    let aim = limit.maximum.map_or(needed, |maximum| maximum.min(needed));
    let current = limit.current.unwrap_or(u64::MAX);
    // Refused, it stays as it was.
    let raised = aim > current && setrlimit(Resource::Nofile, Rlimit { current: Some(aim), ..limit }).is_ok();
    enough_for(if raised { aim } else { current }).min(wanted)
}

fn enough_for(descriptors: u64) -> usize {
    usize::try_from(descriptors.saturating_sub(OTHERS) / EACH).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_descriptors_are_for_others() {
        assert_eq!((enough_for(1024), enough_for(512), enough_for(0)), (256, 0, 0));
    }
}
