//! Memory for rings, and what a process wants when its ring is full and nobody reads.
//!
//! While all rings together, filled to the brim, fit under the cap, a ring may be filled to the brim. When they do not, a
//! ring may hold as much as is free at that moment, but always [`RING_FLOOR`]: the more is taken, the less a single one may
//! take, so that one greedy child leaves half of it free, two leave a third, `n` that are equally greedy leave a share of
//! `1/(n+1)` (the dynamic threshold of shared packet buffers: Choudhury and Hahne, 1998). No ring takes from another, and
//! idle ones cost nothing. At most the cap and a floor for each ring are held (I7, ADR 8).

use super::event::Effect;
use super::thin::thin;
use super::{Core, Effects};
use crate::limits::{RING_FLOOR, SPILL_STEP};
use ringmaster_protocol::message::{Keeping, Overflow, ProcessId, Spawn};
use ringmaster_protocol::ring::{PAGE, Stream};

/// What happens when a ring is full and nobody reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenFull {
    /// The oldest bytes make room.
    DropOldest,
    /// What comes is taken and dropped.
    DropNewest,
    /// The child waits.
    Block,
}

/// Where the rings of a process lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Home {
    /// In the instance directory, which is memory.
    Memory,
    /// In a directory of the client's choice, under a quota.
    Disk,
}

impl WhenFull {
    /// As a request has it.
    pub fn of(spawn: &Spawn) -> Self {
        match (spawn.keeping(), spawn.overflow) {
            (Some(Keeping::DropNewest), _) => Self::DropNewest,
            (Some(Keeping::Spill { .. }) | None, Overflow::DropOldest) => Self::DropOldest,
            (Some(Keeping::Spill { .. }) | None, Overflow::Block) => Self::Block,
        }
    }
}

/// The account of all rings in memory, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Memory {
    cap: u64,
    /// What they may come to hold.
    most: u64,
    /// What they hold.
    held: u64,
}

impl Memory {
    pub fn new(cap: u64) -> Self {
        Self { cap, most: 0, held: 0 }
    }

    /// Whether the rings do not all fit.
    fn is_short(&self) -> bool {
        self.most > self.cap
    }

    /// What one ring may hold now.
    pub fn limit(&self, home: Home) -> u64 {
        match home {
            Home::Memory if self.is_short() => self.cap.saturating_sub(self.held).max(RING_FLOOR),
            Home::Memory | Home::Disk => u64::MAX,
        }
    }

    /// A ring that held `before` holds `after` now.
    pub fn account(&mut self, home: Home, before: u64, after: u64) {
        match home {
            Home::Memory => self.held = (self.held + after).saturating_sub(before),
            Home::Disk => {}
        }
    }

    /// How much must be free in one piece before it is given back; `None`: it is kept for the next lap.
    fn step(&self, home: Home) -> Option<u64> {
        match home {
            Home::Disk => Some(SPILL_STEP),
            Home::Memory if self.is_short() => Some(PAGE),
            Home::Memory => None,
        }
    }
}

impl Core {
    /// Opens or closes the account of a process.
    pub(super) fn enter_rings(&mut self, id: ProcessId, out: &mut Effects) {
        let Some(process) = self.processes.get(&id).filter(|process| process.home() == Home::Memory) else {
            return;
        };
        let was_short = self.memory.is_short();
        let (most, held) = process.captures.memory();
        self.memory.most += most;
        self.memory.held += held;
        let thinned: Vec<ProcessId> = match (was_short, self.memory.is_short()) {
            (_, false) => Vec::new(),
            (true, true) => vec![id],
            // From now on nobody keeps free pages for the next lap.
            (false, true) => self.processes.keys().copied().collect(),
        };
        for id in thinned {
            Stream::ALL.into_iter().for_each(|stream| self.thin(id, stream, out));
        }
    }

    pub(super) fn leave_rings(&mut self, process: &super::process::Process) {
        if process.home() == Home::Memory {
            let (most, held) = process.captures.memory();
            self.memory.most = self.memory.most.saturating_sub(most);
            self.memory.held = self.memory.held.saturating_sub(held);
        }
    }

    /// Gives back the pages of what is read and dropped, when that is worth it.
    pub(super) fn thin(&mut self, id: ProcessId, stream: Stream, out: &mut Effects) {
        let Some(process) = self.processes.get_mut(&id) else {
            return;
        };
        let (Some(step), Some(ring)) = (self.memory.step(process.home()), process.captures.ring(stream)) else {
            return;
        };
        if let Some(holes) = thin(ring, step) {
            out.push(Effect::Thin { process: id, stream, holes });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greedy_leave_room_and_never_take_more_than_there_is() {
        let cap = 1 << 20;
        for greedy in [1_u64, 2, 7, 200] {
            let mut memory = Memory { cap, most: u64::MAX, held: 0 };
            let mut held = vec![0_u64; usize::try_from(greedy).unwrap()];
            for _ in 0..100_000 {
                for ring in &mut held {
                    if *ring + 100 <= memory.limit(Home::Memory) {
                        memory.account(Home::Memory, *ring, *ring + 100);
                        *ring += 100;
                    }
                }
            }
            let (least, most) = (held.iter().min().unwrap(), held.iter().max().unwrap());
            assert!(most - least <= 100, "{greedy}: {least} to {most}");
            let fair = (cap / (greedy + 1)).max(RING_FLOOR);
            assert!(most.abs_diff(fair) <= 300, "{greedy}: {most}, expected {fair}");
            assert!(memory.held <= cap.max(greedy * RING_FLOOR));
        }
    }

    #[test]
    fn without_need_there_is_no_limit() {
        let mut memory = Memory::new(100);
        memory.most = 100;
        assert_eq!((memory.limit(Home::Memory), memory.step(Home::Memory)), (u64::MAX, None));
        memory.most = 101;
        assert_eq!(memory.step(Home::Memory), Some(PAGE));
        assert_eq!((memory.limit(Home::Disk), memory.step(Home::Disk)), (u64::MAX, Some(SPILL_STEP)));
    }
}
